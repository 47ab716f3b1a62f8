"""Lists of senders, as devices have them: addresses, and ``@domain`` for everybody there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mailslot.slots import keys

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_LISTED: Final = 50
"""Entries of a list, as many as devices have."""

ADDRESS: Final = re.compile(r"[^\s<>\"(),:;@\[\]\\\x00-\x1f\x7f]{1,64}@[\w.-]{1,253}")
"""An address of a sender that is taken at its word: nothing quoted and nothing else that could be read in two ways."""


def parse_sender(value: object) -> str:
    """Return an address, or ``@domain`` for everybody there but not in its subdomains, as it is compared.

    Raises:
        ValueError: it is neither.
    """
    text = keys.text(value).casefold()
    if text.startswith("@"):
        keys.address(f"somebody{text}")
        return text
    return keys.address(text)


def sender_list(most: int = MAX_LISTED) -> keys.Parser:
    """Return what reads a setting that is a list of senders.

    Args:
        most: how many entries it may have.
    """
    return keys.list_of(parse_sender, max_items=most)


def is_allowed(address: str, allowed: Collection[str]) -> bool:
    """Whether an address is in a list, by itself or by its domain; nobody is in an empty one."""
    plain = address.casefold()
    return plain in allowed or f"@{plain.rpartition('@')[2]}" in allowed
