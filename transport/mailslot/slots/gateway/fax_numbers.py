"""The telephone number in an address of a fax machine, so that a number is the same one however it is written.

These are one number: ``FAX=+12027653000@gateway.example`` (RFC 3191), ``FAX=+1-202-765-3000``, ``+1.202.765.3000`` and
``0012027653000`` at the same domain, and ``+1 202 765 3000``, as people write it in a rule.

Only international numbers can be compared. Which country a number such as ``030123`` belongs to, what is dialled there
for another country, if it is not 00, and whether ``4930123`` is international, is known to the gateway alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_FAX: Final = re.compile(r"/?fax=(.*)", re.IGNORECASE | re.DOTALL)
_NUMBER: Final = re.compile(r"(\+|00)?([1-9][0-9]{6,14})", re.ASCII)
"""E.164 allows fifteen digits; no country has subscribers' numbers with fewer than seven."""

_SEPARATORS: Final = str.maketrans("", "", " .-()")
_TRUNK: Final = "(0)"
"""What is dialled within the country only, as in +49 (0)30 123."""


@dataclass(frozen=True, slots=True)
class FaxNumber:
    """A number, and what stands behind it.

    Attributes:
        digits: the country code and the number.
        sub_address: the sub-address (T33S, RFC 3191 section 2), such as a person's; empty if there is none.
        others: the other elements, in lower case, which are for the gateway (RFC 3192 section 3).
    """

    digits: str
    sub_address: str = ""
    others: tuple[str, ...] = ()

    def reaches(self, other: FaxNumber) -> bool:
        """Whether it stands for another one: without a sub-address, it stands for all sub-addresses of its number."""
        return self.digits == other.digits and self.sub_address in {"", other.sub_address}


def parse_number(text: str, *, bare: bool = False) -> str | None:
    """Return the digits of an international number, however it is written; None if it is not one.

    Args:
        text: the text.
        bare: whether it may lack the + or 00 at its beginning.
    """
    found = _NUMBER.fullmatch(text.strip().replace(_TRUNK, "").replace("/", "").translate(_SEPARATORS))
    return found[2] if found is not None and (bare or found[1]) else None


def fax_number(local_part: str, *, bare: bool = False) -> FaxNumber | None:
    """Return the number in the local part of an address; None if it is not an international one.

    Args:
        local_part: such as ``FAX=+12027653000/T33S=1387``, or ``+12027653000``; without quotation marks.
        bare: as for `parse_number`.
    """
    prefixed = _FAX.fullmatch(local_part)
    number, *elements = (prefixed[1] if prefixed else local_part).strip("/").split("/")
    # In +49 30/123, the slash is a separator.
    while elements and "=" not in elements[0]:
        number += elements.pop(0)
    digits = parse_number(number, bare=bare)
    if digits is None:
        return None
    named = [element.partition("=") for element in elements]
    subs = [value.translate(_SEPARATORS) for name, _, value in named if name.casefold() == "t33s"]
    others = sorted(f"{name}={value}".casefold() for name, _, value in named if name.casefold() != "t33s")
    return FaxNumber(digits, "/".join(subs), tuple(others))
