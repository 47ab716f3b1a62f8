"""The texts of mails in every language."""

from __future__ import annotations

import string
from email import message_from_bytes
from email.policy import default

import pytest

from mailslot.message import Mailbox
from mailslot.slots.section import LANGUAGES
from mailslot_plugins.alerts.kinds import KINDS
from mailslot_plugins.alerts.mail_text import compose
from mailslot_plugins.alerts.state import AlertMail, Report
from mailslot_plugins.status.words import load_words

FILES = tuple(f"mailslot_plugins.{name}" for name in ("alerts", "status", "gateway", "print"))


@pytest.mark.parametrize("package", FILES)
def test_every_text_has_all_languages_and_the_same_placeholders(package: str) -> None:
    for key, texts in load_words(package, "mail_words.toml").items():
        assert set(texts) == set(LANGUAGES), key
        assert len({frozenset(placeholders(text)) for text in texts.values()}) == 1, key


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_every_kind_has_its_advice() -> None:
    texts = load_words("mailslot_plugins.alerts", "mail_words.toml")
    assert {name: texts[f"advice_{name}"]["en"] for name in KINDS} == {
        name: each.advice for name, each in KINDS.items()
    }


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_mail_is_in_the_language_of_the_device() -> None:
    report = Report("reminder", "1-1", "paper_empty", "tray 2", "A4", "error", since=0.0)
    device = {"name": "Kopierer", "location": "2. Stock", "language": "de"}
    for reports, digest, expected in (
        ((report,), False, ("Das Gerät stellt noch immer fest:", "Was zu tun ist: Legen Sie Papier nach.")),
        ((report, report), True, ("Das Gerät hat 2 Zustände festgestellt:", "(Fehler), seit 1970-01-01")),
    ):
        mail = AlertMail("key", ("a@example.com",), reports, 0.0, digest=digest)
        message = compose(mail, device, Mailbox("scanner@example.com"), None)
        octets = b"".join([piece async for piece in message.chunks()])
        text = str(message_from_bytes(octets.replace(b"\r\n", b"\n"), policy=default).get_content())
        assert text.startswith("GERÄTENAME: Kopierer\nSTANDORT: 2. Stock\n")
        for line in expected:
            assert line in text
    assert message.subject == "[Kopierer] 2 Alarme"
