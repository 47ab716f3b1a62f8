"""The collection of real refusals is whole: every field is there and means something, no words stand in it twice."""

from __future__ import annotations

import ipaddress
import json
import re
from collections import Counter
from typing import Final, get_args

import pytest

from diagnosis.collected import Half, Part, half_of, smtp_refusals
from mailslot.causes.cause import causes
from mailslot.errors import Stage
from mailslot.smtp.states import Verb

STAGES: Final = {
    Verb.GREETING: "greeting",
    Verb.EHLO: "capabilities",
    Verb.STARTTLS: "tls",
    Verb.AUTH: "sign_in",
    Verb.MAIL: "envelope",
    Verb.RCPT: "envelope",
    Verb.DATA: "data",
    Verb.END_OF_DATA: "data",
}

_ADDRESS: Final = re.compile(r"[\w.+-]+@([\w-]+(?:\.[\w-]+)+)")
_IP: Final = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")
_NO_ADDRESSES: Final = {"4.1.1.1", "4.16.55.1"}
"""A section of an RFC, and the number of a build."""
_DOCUMENTATION: Final = [ipaddress.ip_network(n) for n in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")]


@pytest.mark.parametrize("half", get_args(Part))
def test_every_entry_can_be_replayed_and_is_classified(half: Part) -> None:
    for refusal in smtp_refusals(half):
        assert refusal.protocol == "smtp", refusal
        assert refusal.stage in get_args(Stage), refusal
        assert refusal.stage == STAGES[Verb(refusal.verb)], refusal
        assert 400 <= refusal.code <= 599, refusal
        assert re.fullmatch(r"(?:[245]\.\d{1,3}\.\d{1,3})?", refusal.enhanced), refusal
        assert refusal.text.strip() == refusal.text != "", refusal
        assert refusal.authentication in {"oauth2", "password", "none"}, refusal
        assert len(refusal.accepted_causes) == 1 + len(refusal.accept), refusal
        assert refusal.provider, refusal
        assert refusal.source, refusal
        assert re.fullmatch(r"[a-z]{2}", refusal.language), refusal
        if refusal.challenge:
            assert isinstance(json.loads(refusal.challenge), dict), refusal


@pytest.mark.parametrize("half", get_args(Part))
def test_actor_and_token_helps_follow_from_the_cause(half: Part) -> None:
    for refusal in smtp_refusals(half):
        assert refusal.accepted_causes <= causes().keys(), refusal
        cause = causes()[refusal.cause]
        assert (refusal.actor, refusal.token_helps) == (cause.actor or "", cause.token_helps), refusal


def test_no_entry_is_duplicated() -> None:
    words = Counter(refusal.key for half in get_args(Part) for refusal in smtp_refusals(half))
    assert [key for key, number in words.items() if number > 1] == []


@pytest.mark.parametrize("half", get_args(Half))
def test_every_entry_is_in_the_right_half(half: Half) -> None:
    assert {half_of(refusal.key) for refusal in smtp_refusals(half)} == {half}


@pytest.mark.parametrize("half", get_args(Part))
def test_no_real_person_is_named(half: Part) -> None:
    for refusal in smtp_refusals(half):
        for domain in _ADDRESS.findall(refusal.text):
            assert re.search(r"(?:^|\.)example(?:\.\w+)?$", domain) or domain in {"icloud.com", "yahoo.com"}, refusal
        for address in set(_IP.findall(refusal.text)) - _NO_ADDRESSES:
            assert any(ipaddress.ip_address(address) in network for network in _DOCUMENTATION), refusal
