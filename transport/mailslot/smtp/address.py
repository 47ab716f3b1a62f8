"""Envelope addresses: checked before an octet leaves, and as they stand on the wire."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import idna

from mailslot.errors import InputError
from mailslot.smtp.limits import MAX_DOMAIN, MAX_LOCAL_PART, MAX_PATH

# atext of RFC 5321 section 4.1.2 with UTF-8 (RFC 6531 section 3.3); dots anywhere, since some mailboxes have them.
_ATOMS: Final = re.compile(r"[^\s()<>\[\]:;@\\,\"]+")
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_DOMAIN: Final = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?)*"
)
_LITERAL: Final = re.compile(r"\[(?:IPv6:[0-9A-Fa-f:.]+|[0-9.]+)\]")


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox in an envelope.

    Attributes:
        given: the address as the caller gave it, by which receipts name it.
        wire: the address as it goes between ``<`` and ``>``: the domain as A-labels, so that only a local part
            can need SMTPUTF8; empty for the null sender.
    """

    given: str
    wire: str

    @property
    def smtputf8(self) -> bool:
        """Whether it can only be sent where SMTPUTF8 is offered (RFC 6531 section 3.2)."""
        return not self.wire.isascii()


def parse_address(given: str, what: str) -> Address:
    """Check an envelope address (RFC 5321 section 4.1.2, RFC 6531 section 3.3).

    Args:
        given: ``local@domain``, with the domain in Unicode, as A-labels, or as an address literal.
        what: how to call it in an error, ``"sender"`` or ``"recipient"``.

    Raises:
        InputError: it is no address, is too long, or could end a command.
    """
    if not isinstance(given, str):
        raise _refuse(given, what, "it is not text")
    return _parse(given, what)


@lru_cache(maxsize=256)
def _parse(given: str, what: str) -> Address:
    # Kept, since a device writes to few addresses, again and again.
    local, at, domain = given.rpartition("@")
    if not at or not local or not domain:
        raise _refuse(given, what, "it is not of the form name@domain")
    if not (_ATOMS.fullmatch(local) or _QUOTED.fullmatch(local)):
        raise _refuse(given, what, "the part before the @ holds characters that it may not hold")
    domain = _wire_domain(domain, given, what)
    wire = f"{local}@{domain}"
    if len(local.encode("utf-8", "surrogatepass")) > MAX_LOCAL_PART:
        raise _refuse(given, what, f"the part before the @ is longer than {MAX_LOCAL_PART} octets")
    if len(domain) > MAX_DOMAIN or len(wire.encode("utf-8", "surrogatepass")) > MAX_PATH - 2:
        raise _refuse(given, what, "it is too long")
    if not wire.isprintable():
        raise _refuse(given, what, "it holds a character that cannot be seen")
    return Address(given, wire)


def parse_sender(given: str) -> Address:
    """Check a reverse-path; the empty string is the null sender (RFC 5321 section 4.5.5).

    Raises:
        InputError: as for `parse_address`.
    """
    return Address("", "") if given == "" else parse_address(given, "sender")


def _wire_domain(domain: str, given: str, what: str) -> str:
    if _LITERAL.fullmatch(domain) or _DOMAIN.fullmatch(domain):
        return domain
    if domain.isascii():
        raise _refuse(given, what, "the part after the @ is not a domain")
    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except idna.IDNAError:
        raise _refuse(given, what, "the part after the @ is not a domain") from None


def _refuse(given: object, what: str, why: str) -> InputError:
    shown = ascii(given)
    if len(shown) > 100:
        shown = shown[:100] + "…"
    return InputError(f"The {what} address {shown} cannot be used: {why}.", stage="envelope")
