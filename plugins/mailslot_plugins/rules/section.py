"""The settings of the rules for sending, ``[rules]``; they apply to scans, faxes and mail of other devices."""

from __future__ import annotations

from typing import Final

from mailslot.plugin import Key, Section, keys
from mailslot.slots.gateway.fax_numbers import parse_number
from mailslot.slots.gateway.patterns import ANY, parse_pattern
from mailslot_plugins.addressbook.entry import parse_name
from mailslot_plugins.rules.delay import parse_delay


def _rule(value: object) -> str:
    text = keys.text(value)
    return f"@{parse_name(text)}" if text.startswith("@") else parse_pattern(text)


def _refusing_rule(value: object) -> str:
    text = keys.text(value)
    digits = None if "@" in text else parse_number(text)
    return _rule(text) if digits is None else f"+{digits}"


_PATTERNS: Final = keys.list_of(_rule)

SECTION: Final = Section(
    "rules",
    {
        "allow": Key(
            "a list of addresses, *@domain, names of the address book such as @accounting, or *",
            _PATTERNS,
            default=(ANY,),
            set_by="administrator",
            suggested_by="addressbook",
        ),
        "deny": Key(
            "a list of addresses, *@domain, names of the address book such as @accounting, or fax numbers such as "
            "+12027653000",
            keys.list_of(_refusing_rule),
            default=(),
            set_by="administrator",
            suggested_by="addressbook",
        ),
        "destinations": Key(
            "any, book (only addresses of the address book) or self (only the address of the person who sends)",
            keys.one_of("any", "book", "self"),
            default="any",
            set_by="administrator",
        ),
        "sender": Key(
            "account, or user: the person who sends is in From, which the mail server must allow",
            keys.one_of("account", "user"),
            default="account",
            set_by="administrator",
        ),
        "archive": Key(
            "a list of addresses that get a blind copy of everything",
            keys.list_of(keys.address),
            default=(),
            set_by="administrator",
        ),
        "delay": Key(
            "a time of day such as 22:00, or a span such as 90m, 2h or 1d, until which mail waits", parse_delay
        ),
    },
)
"""The table ``[rules]``."""
