"""Lists of senders: addresses, and ``@domain`` for all addresses of a domain."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mailslot.slots import keys

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_LISTED: Final = 50
"""The most entries of a list, as on office devices."""

ADDRESS: Final = re.compile(r"[^\s<>\"(),:;@\[\]\\\x00-\x1f\x7f]{1,64}@[\w.-]{1,253}")
"""An unambiguous address: without quoted strings and other forms that can be read in two ways."""


def parse_sender(value: object) -> str:
    """Return an address, or ``@domain`` for a domain without its subdomains, normalised for comparison.

    A domain without a dot, such as in ``bob@partner``, is a mistake: no mail comes from such a domain.

    Raises:
        ValueError: it is neither.
    """
    text = keys.text(value).casefold()
    address = keys.address(f"somebody{text}" if text.startswith("@") else text)
    domain = address.rpartition("@")[2]
    if not {".", ":"}.intersection(domain) and domain != "localhost":
        raise ValueError
    return text if text.startswith("@") else address


def sender_list(max_entries: int = MAX_LISTED) -> keys.Parser:
    """Return the parser of a setting that is a list of senders."""
    return keys.list_of(parse_sender, max_items=max_entries)


def is_listed(address: str, allowed: Collection[str]) -> bool:
    """Return whether an address or its domain is in a list."""
    folded = address.casefold()
    return folded in allowed or f"@{folded.rpartition('@')[2]}" in allowed
