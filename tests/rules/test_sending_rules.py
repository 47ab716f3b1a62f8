"""The rules for destinations, and delays."""

from __future__ import annotations

from datetime import datetime

import pytest

from mailslot.plugin import InputError
from mailslot_plugins.addressbook.book import AddressBook
from mailslot_plugins.addressbook.entry import Entry
from mailslot_plugins.rules.delay import end_of_delay, parse_delay
from mailslot_plugins.rules.section import SECTION
from mailslot_plugins.rules.sending_rules import SendingRules

FAX = "FAX=+12027653000@gateway.example"
BOOK = AddressBook(
    {
        "alice": Entry("alice", "", ("alice@example.com",), (), ("office",)),
        "books": Entry("books", "", ("a@bücher.example",)),
        "branch": Entry("branch", "", (), (FAX,), ("office",)),
        "carol": Entry("carol", "", ("carol@bücher.example",), (), ("editors",)),
    }
)


@pytest.mark.parametrize(
    ("rules", "address", "user", "rule"),
    [
        (SendingRules(), "bob@example.net", "", ""),
        (SendingRules(deny=("*@example.net",)), "bob@EXAMPLE.net", "", "deny=*@example.net"),
        (SendingRules(allow=("bob@example.net",), deny=("*@example.net",)), "bob@example.net", "", "deny="),
        (SendingRules(deny=("@office",), book=BOOK), "Alice@example.com", "", "deny=@office"),
        (SendingRules(deny=("@office",), book=BOOK), '"alice"@example.com', "", "deny=@office"),
        (SendingRules(deny=("@editors",), book=BOOK), "carol@xn--bcher-kva.example", "", "deny=@editors"),
        (SendingRules(deny=("bob@example.net",)), r'"b\ob"@example.net', "", "deny=bob@example.net"),
        (SendingRules(deny=("*@example.net",)), "bob@example。net。", "", "deny=*@example.net"),
        (SendingRules(allow=("*@example.com",)), "bob@example.com", "", ""),
        (SendingRules(allow=("*@example.com",)), "bob@example.net", "", "allow=*@example.com"),
        (SendingRules(allow=("@office",), book=BOOK), FAX, "", ""),
        (SendingRules(allow=("@nobody",), book=BOOK), "alice@example.com", "", "allow=@nobody"),
        (SendingRules(destinations="book", book=BOOK), "ALICE@example.com", "", ""),
        (SendingRules(destinations="book", book=BOOK), "carol@xn--bcher-kva.example", "", ""),
        (SendingRules(destinations="book", book=BOOK), "bob@example.com", "", "destinations=book"),
        (SendingRules(destinations="self"), "bob@example.com", "Bob@example.com", ""),
        (SendingRules(destinations="self"), "bob@xn--bcher-kva.example", "bob@bücher.example", ""),
        (SendingRules(destinations="self"), "alice@example.com", "bob@example.com", "destinations=self"),
        (SendingRules(destinations="self"), "alice@example.com", "*@example.com", "destinations=self"),
        (SendingRules(deny=("*@example.net",)), "a%example.org@example.net", "", "deny=*@example.net"),
        (SendingRules(allow=("*@example.net",)), "a%example.org@example.net", "", "allow=*@example.net"),
        (SendingRules(deny=("@books",), book=BOOK), "A@xn--bcher-kva.example", "", "deny=@books"),
        (SendingRules(destinations="self"), "alice@example.com", "", "destinations=self"),
    ],
)
def test_a_refused_destination_is_told_its_rule(rules: SendingRules, address: str, user: str, rule: str) -> None:
    refusal = rules.refusal(address, user)
    assert (rule in refusal) if rule else refusal == ""
    assert refusal.count("\n") == 0
    if rule:
        with pytest.raises(InputError) as caught:
            rules.check(["carol@example.org", address], user)
        assert refusal in str(caught.value)
    elif rules.allow != ("*",):
        rules.check([address], user)


def test_the_archive_gets_one_copy() -> None:
    rules = SendingRules(archive=("archive@example.com", "second@example.com"))
    assert rules.copies(["Archive@example.com", "bob@example.com"]) == ("second@example.com",)


@pytest.mark.parametrize(
    ("delay", "now", "end"),
    [
        ("22:00", "2026-11-30 21:59:59", "2026-11-30 22:00:00"),
        ("22:00", "2026-11-30 22:00:00", "2026-12-01 22:00:00"),
        ("7:05", "2026-12-31 23:00:00", "2027-01-01 07:05:00"),
        ("90m", "2026-11-30 23:00:00", "2026-12-01 00:30:00"),
        ("7D", "2026-11-24 12:00:00", "2026-12-01 12:00:00"),
    ],
)
def test_a_delay_ends_at_a_time_of_day_or_after_a_span(delay: str, now: str, end: str) -> None:
    at = datetime.fromisoformat(now).timestamp()
    assert end_of_delay(parse_delay(delay), at) == datetime.fromisoformat(end).timestamp()


@pytest.mark.parametrize("delay", ["", "24:00", "8d", "0m", "22", "22:00:00", "-1h", "now"])
def test_what_is_no_delay_is_refused(delay: str) -> None:
    with pytest.raises(InputError, match="not a delay"):
        parse_delay(delay)


@pytest.mark.parametrize("rule", ["@a b", "*@", "example.com", "*@*"])
def test_what_is_no_rule_is_refused(rule: str) -> None:
    with pytest.raises(ValueError):
        SECTION.keys["deny"].parse([rule])
