"""A class of refusals is known in other words, too, and in other languages."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from diagnosis.replies import parse_reply
from mailslot.causes.judge import judge
from mailslot.causes.refusal import Refusal

if TYPE_CHECKING:
    from mailslot.causes.refusal import Protocol

PLACES: Final[dict[str, dict[str, Any]]] = {
    "sign_in_password": {"stage": "sign_in", "presented": "password"},
    "sign_in_token": {"stage": "sign_in", "presented": "token"},
    "mail_from": {"stage": "envelope", "verb": "MAIL"},
    "rcpt_to": {"stage": "envelope", "verb": "RCPT"},
    "data": {"stage": "data"},
    "greeting": {"stage": "greeting"},
    "pop3_password": {"stage": "sign_in", "presented": "password"},
    "pop3_token": {"stage": "sign_in", "presented": "token"},
    "pop3_greeting": {"stage": "greeting"},
    "pop3_transaction": {"stage": "transaction"},
    "pop3_tls": {"stage": "tls"},
    "capabilities": {"stage": "capabilities"},
    "smtp_tls": {"stage": "tls"},
}

WORDS: Final[dict[str, dict[str, list[str]]]] = tomllib.loads(
    (Path(__file__).parent / "other_words.toml").read_text("utf-8")
)


@pytest.mark.parametrize(
    ("place", "cause", "line"),
    [
        pytest.param(place, cause, line, id=f"{place}-{line}")
        for place, causes in WORDS.items()
        for cause, lines in causes.items()
        for line in lines
    ],
)
def test_a_class_is_known_in_other_words(place: str, cause: str, line: str) -> None:
    protocol: Protocol = "POP3" if line.startswith("-") else "SMTP"
    refusal = Refusal(protocol=protocol, reply=parse_reply(protocol, line), **PLACES[place])
    assert judge(refusal).cause == cause
