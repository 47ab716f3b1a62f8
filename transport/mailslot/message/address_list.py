"""Parsing the addresses in another program's header."""

from __future__ import annotations

from email.utils import getaddresses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def read_addresses(values: Iterable[str]) -> list[tuple[str, str]]:
    """Return the display names and addresses in fields such as To, after RFC 5322 section 3.4.

    Args:
        values: the fields' values, unfolded. They may be anything.

    Returns:
        the pairs, whose addresses may be invalid; none if comments or groups are nested so deeply that only an attacker
        can have written them.
    """
    try:
        return getaddresses(list(values))
    except RecursionError:
        return []
