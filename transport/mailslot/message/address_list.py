"""Parsing the addresses in another program's header."""

from __future__ import annotations

import re
from email.utils import getaddresses
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_ATOMS: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
_ADDRESS_ALONE: Final = re.compile(rf"({_ATOMS}@{_ATOMS})|<({_ATOMS}@{_ATOMS})>")


def read_addresses(values: Iterable[str]) -> list[tuple[str, str]]:
    """Return the display names and addresses in fields such as To, after RFC 5322 section 3.4.

    Args:
        values: the fields' values, unfolded. They may be anything.

    Returns:
        the pairs, whose addresses may be invalid; none if comments or groups are nested so deeply that only an attacker
        can have written them.
    """
    given = list(values)
    # What most devices write needs no parser, which takes twenty times as long.
    if len(given) == 1 and (alone := _ADDRESS_ALONE.fullmatch(given[0])) is not None:
        return [("", alone[1] or alone[2])]
    try:
        return getaddresses(given)
    except RecursionError:
        return []
