"""Lists of senders: addresses, and ``@domain`` for all addresses of a domain."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mailslot.slots import keys

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

MAX_LISTED: Final = 50
"""The most entries of a list, as on office devices."""

ADDRESS: Final = re.compile(r"[^\s<>\"(),:;@\[\]\\\x00-\x1f\x7f]{1,64}@[\w.-]{1,253}")
"""An unambiguous address: without quoted strings and other forms that can be read in two ways."""


def parse_sender(value: object) -> str:
    """Return an address, or ``@domain`` for a domain without its subdomains, normalised for comparison.

    Raises:
        ValueError: it is neither.
    """
    text = keys.text(value).casefold()
    address = keys.address(f"somebody{text}" if text.startswith("@") else text)
    return text if text.startswith("@") else address


def sender_list(max_entries: int = MAX_LISTED) -> keys.Parser:
    """Return the parser of a setting that is a list of senders."""
    return replace(keys.list_of(parse_sender, max_items=max_entries), useless=_without_senders)


def _without_senders(entries: Iterable[str]) -> tuple[str, ...]:
    """Return the entries whose domain has no dot, such as ``bob@partner``: no mail comes from there."""
    domains = {entry: entry.rpartition("@")[2] for entry in entries}
    return tuple(
        entry for entry, domain in domains.items() if not {".", ":"}.intersection(domain) and domain != "localhost"
    )


def is_listed(address: str, allowed: Collection[str]) -> bool:
    """Return whether an address or its domain is in a list."""
    folded = address.casefold()
    return folded in allowed or f"@{folded.rpartition('@')[2]}" in allowed
