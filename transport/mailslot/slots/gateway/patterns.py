"""Patterns of addresses: an address, ``*@domain``, or ``*`` for any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError
from mailslot.slots import keys
from mailslot.slots.gateway.fax_numbers import FaxNumber, fax_number
from mailslot.smtp.address import Address, parse_address

if TYPE_CHECKING:
    from collections.abc import Iterable

ANY: Final = "*"

_ROUTING: Final = frozenset("%!@")


def parse_pattern(value: object) -> str:
    """Parse a pattern, and return it with its domain as A-labels.

    Raises:
        ValueError: it is not a pattern.
    """
    text = keys.text(value)
    if text == ANY:
        return text
    local, _, domain = text.rpartition("@")
    try:
        normalized = parse_address(f"x@{domain}" if local == "*" else text, "recipient").wire
    except InputError:
        raise ValueError from None
    return f"*@{normalized.rpartition('@')[2].lower()}" if local == "*" else normalized


def domain_of(address: str) -> str:
    """Return the domain of an address in lower case, as A-labels; empty if the text is not an address."""
    try:
        return parse_address(address, "sender").wire.rpartition("@")[2].lower()
    except InputError:
        return ""


def matches(patterns: Iterable[str], address: str, *, denied: bool = False) -> bool:
    """Whether an address matches one of the patterns, ignoring case, quotation marks and how a fax number is written.

    A fax number without a sub-address stands for all sub-addresses of it.

    ``*@domain`` does not stand for addresses such as ``victim%elsewhere.example@domain``: the servers of the domain may
    send them on to another one, for a client that has signed in (Postfix: ``allow_untrusted_routing``).

    Args:
        patterns: from `parse_pattern`.
        address: the address; text that is not an address matches no pattern.
        denied: whether what matches is refused: then what stands behind a fax number for the gateway alone, which
            nobody else understands, does not make it another one.
    """
    try:
        canonical = parse_address(address, "recipient").canonical
    except InputError:
        return False
    local, _, domain = canonical.rpartition("@")
    general = {ANY} if _ROUTING.intersection(local) else {ANY, f"*@{domain}"}
    number = fax_number(local)
    return any(
        pattern in general
        or (own := _canonical(pattern)) == canonical
        or (number is not None and _is_number(own, domain, number, denied=denied))
        for pattern in patterns
    )


def _is_number(pattern: str, domain: str, number: FaxNumber, *, denied: bool) -> bool:
    local, _, own_domain = pattern.rpartition("@")
    own = fax_number(local) if own_domain == domain else None
    return own is not None and own.reaches(number) and (denied or own.others == number.others)


def _canonical(pattern: str) -> str:
    # It is in the form of the envelope already, so this need not be parsed for each address.
    return Address(pattern, pattern).canonical
