"""A fax number is the same one however it is written; what cannot be compared is not guessed."""

from __future__ import annotations

import pytest

from mailslot.slots.gateway.fax_numbers import FaxNumber, fax_number, parse_number
from mailslot.slots.gateway.patterns import matches, parse_pattern
from mailslot_plugins.addressbook.book import AddressBook
from mailslot_plugins.addressbook.entry import Entry
from mailslot_plugins.rules.section import SECTION
from mailslot_plugins.rules.sending_rules import SendingRules

DENIED = "FAX=+493012345@gateway.example"
SPELLINGS = (
    "FAX=+493012345@gateway.example",
    "fax=+49-30-12345@GATEWAY.example",
    "FAX=+49.30.12345@gateway.example",
    '"FAX=+49.30.12345"@gateway.example',
    "FAX=00493012345@gateway.example",
    "/FAX=+493012345/@gateway.example",
    "FAX=+49-30/12345@gateway.example",
    "FAX=+493012345/T33S=17@gateway.example",
    "FAX=+493012345/T33S=17/ATTN=Bob@gateway.example",
    "+493012345@gateway.example",
    "00493012345@gateway.example",
)
OTHERS = (
    "FAX=+493012346@gateway.example",
    "FAX=+493012345@elsewhere.example",
    # Nobody but the gateway knows to which country these belong.
    "FAX=03012345@gateway.example",
    "493012345@gateway.example",
    "12345@gateway.example",
    "bob@gateway.example",
)


@pytest.mark.parametrize(
    ("written", "digits"),
    [
        ("+49 30 12345", "493012345"),
        ("+49 (0)30/123-45", "493012345"),
        ("0049 30 12345", "493012345"),
        ("+1.202.765.3000", "12027653000"),
        ("030 12345", None),
        ("+49", None),
        ("+49 30 x", None),
        ("++493012345", None),
        ("+12345678901234567", None),
        ("", None),
    ],
)
def test_how_people_write_a_number(written: str, digits: str | None) -> None:
    assert parse_number(written) == digits


def test_what_stands_behind_a_number() -> None:
    assert fax_number("FAX=+493012345/T33S=1-7/Attn=Bob") == FaxNumber("493012345", "17", ("attn=bob",))


@pytest.mark.parametrize("address", SPELLINGS)
def test_a_number_is_denied_however_it_is_written(address: str) -> None:
    assert SendingRules(deny=(parse_pattern(DENIED),)).refusal(address)
    assert SendingRules(deny=("+493012345",)).refusal(address).count("deny=+493012345 ") == 1
    book = AddressBook({"branch": Entry("branch", "", (), (DENIED,))})
    assert SendingRules(deny=("@branch",), book=book).refusal(address)


@pytest.mark.parametrize("address", OTHERS)
def test_another_number_is_not_denied(address: str) -> None:
    assert not SendingRules(deny=(parse_pattern(DENIED),)).refusal(address)


def test_a_number_is_denied_at_each_gateway_and_without_its_plus() -> None:
    rules = SendingRules(deny=("+493012345",))
    for address in ("FAX=+493012345@elsewhere.example", "493012345@elsewhere.example"):
        assert rules.refusal(address)
    for address in ("03012345@elsewhere.example", "FAX=+493012346@elsewhere.example", "bob@elsewhere.example"):
        assert not rules.refusal(address)


def test_what_is_allowed_is_no_more_than_what_is_written() -> None:
    assert matches([DENIED], "FAX=+49-30-12345/T33S=17@gateway.example")
    assert not matches([DENIED], "FAX=+493012345/ATTN=Bob@gateway.example")
    assert not matches(["FAX=+493012345/T33S=17@gateway.example"], DENIED)
    with pytest.raises(ValueError):
        SECTION.keys["allow"].parse(["+493012345"])


@pytest.mark.parametrize("rule", ["+49 30/12345", "0049-30-12345"])
def test_a_rule_has_one_form(rule: str) -> None:
    assert SECTION.keys["deny"].parse([rule]) == ("+493012345",)
