"""The collection of real answers is whole: every field is there and means something, no words stand in it twice."""

from __future__ import annotations

import ipaddress
import json
import re
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Final, get_args

import pytest

from diagnosis.collected import Half, Part, half_of
from diagnosis.collected_answers import (
    HALVES,
    PARTS,
    CollectedEntry,
    DisplayedText,
    Pop3Refusal,
    TokenServiceRefusal,
    displayed_texts,
    pop3_refusals,
    token_service_refusals,
)
from mailslot.causes.cause import causes
from mailslot.errors import Stage
from mailslot.pop3.states import Verb

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

STAGES: Final = {
    Verb.GREETING: "greeting",
    Verb.STLS: "tls",
    Verb.AUTH: "sign_in",
    Verb.USER: "sign_in",
    Verb.PASS: "sign_in",
    Verb.STAT: "transaction",
    Verb.LIST: "transaction",
    Verb.UIDL: "transaction",
    Verb.RETR: "transaction",
    Verb.DELE: "transaction",
    Verb.NOOP: "transaction",
    Verb.QUIT: "transaction",
}

REQUESTS: Final = {
    "refresh",
    "device_code",
    "device_authorization",
    "authorization_code",
    "client_credentials",
    "revocation",
}

# The table does not yet tell an organisation's rule against sign-ins by device code from its other rules. Another way
# to obtain the token gets past that one.
COMING: Final = {"device_code_blocked": ("operator", True)}

COLLECTIONS: Final[dict[str, tuple[Callable[[Part], Sequence[CollectedEntry]], int]]] = {
    "pop3": (pop3_refusals, 120),
    "token": (token_service_refusals, 120),
    "shown": (displayed_texts, 80),
}

_ADDRESS: Final = re.compile(r"[\w.+-]+@([\w-]+(?:\.[\w-]+)+)")
_IP: Final = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])")
_DOCUMENTATION: Final = [ipaddress.ip_network(n) for n in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")]


def _everything() -> list[CollectedEntry]:
    return [entry for read, _ in COLLECTIONS.values() for half in PARTS for entry in read(half)]


def _words(entry: CollectedEntry) -> str:
    match entry:
        case Pop3Refusal():
            return entry.text or entry.line
        case TokenServiceRefusal():
            return entry.body
        case DisplayedText():
            return entry.text
    raise AssertionError(entry)


@pytest.mark.parametrize("half", PARTS)
def test_every_pop3_refusal_can_be_replayed(half: Part) -> None:
    for refusal in pop3_refusals(half):
        assert refusal.protocol == "pop3", refusal
        assert refusal.stage in get_args(Stage), refusal
        assert refusal.stage == STAGES[Verb(refusal.verb)], refusal
        assert bool(refusal.mechanism) == (Verb(refusal.verb) is Verb.AUTH), refusal
        assert bool(refusal.text) != bool(refusal.line), refusal
        assert refusal.text.strip() == refusal.text, refusal
        assert refusal.authentication in {"oauth2", "password"}, refusal
        if refusal.challenge:
            assert isinstance(json.loads(refusal.challenge), dict), refusal


@pytest.mark.parametrize("half", PARTS)
def test_every_token_service_response_can_be_replayed(half: Part) -> None:
    for answer in token_service_refusals(half):
        assert answer.request in REQUESTS, answer
        assert answer.grant in {"", "device_code", "authorization_code"}, answer
        assert 200 <= answer.status <= 599, answer
        assert re.match(r"(?:application|text)/\w+", answer.content_type), answer


@pytest.mark.parametrize("half", PARTS)
def test_every_displayed_text_names_its_product(half: Part) -> None:
    for entry in displayed_texts(half):
        assert entry.where, entry
        assert entry.text.strip() == entry.text != "", entry


def test_every_entry_is_classified_by_the_table_of_causes() -> None:
    for entry in _everything():
        assert entry.accepted_causes <= causes().keys() | COMING.keys(), entry
        assert len(entry.accepted_causes) == 1 + len(entry.accept), entry
        cause = causes().get(entry.cause)
        judgement = (cause.actor or "", cause.token_helps) if cause else COMING[entry.cause]
        assert (entry.actor, entry.token_helps) == judgement, entry
        assert entry.source, entry
        assert re.fullmatch(r"[a-z]{2}", entry.language), entry


@pytest.mark.parametrize("name", COLLECTIONS)
def test_no_entry_is_duplicated(name: str) -> None:
    read, least = COLLECTIONS[name]
    words = Counter(entry.key for entry in chain.from_iterable(map(read, PARTS)))
    assert [key for key, number in words.items() if number > 1] == []
    assert len(words) >= least


@pytest.mark.parametrize("name", COLLECTIONS)
@pytest.mark.parametrize("half", HALVES)
def test_every_entry_is_in_the_right_half(name: str, half: Half) -> None:
    read, _ = COLLECTIONS[name]
    assert {half_of(entry.key) for entry in read(half)} == {half}


def test_no_real_person_is_named() -> None:
    for entry in _everything():
        for domain in _ADDRESS.findall(_words(entry)):
            assert re.search(r"(?:^|\.)example(?:\.\w+)?$", domain), entry
        for address in _IP.findall(_words(entry)):
            assert any(ipaddress.ip_address(address) in network for network in _DOCUMENTATION), entry
