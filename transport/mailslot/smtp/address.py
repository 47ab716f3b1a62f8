"""Envelope addresses: validated, and in the form in which they are sent."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import idna

from mailslot.errors import InputError
from mailslot.smtp.limits import MAX_DOMAIN, MAX_LOCAL_PART, MAX_PATH

# atext of RFC 5321 section 4.1.2 with UTF-8 (RFC 6531 section 3.3); dots anywhere, since some mailboxes have them.
_DOT_ATOM: Final = re.compile(r"[^\s()<>\[\]:;@\\,\"]+")
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_DOMAIN: Final = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?)*"
)
_LITERAL: Final = re.compile(r"\[(?:IPv6:[0-9A-Fa-f:.]+|[0-9.]+)\]")


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox in an envelope.

    Attributes:
        original: the address as the caller gave it; receipts use it.
        wire: the address as it is sent between ``<`` and ``>``, with the domain as A-labels, so that only a local part
            can need SMTPUTF8; empty for the null sender.
    """

    original: str
    wire: str

    @property
    def smtputf8(self) -> bool:
        """Whether it needs SMTPUTF8 (RFC 6531 section 3.2)."""
        return not self.wire.isascii()

    @property
    def canonical(self) -> str:
        """The form in which addresses are compared: in lower case, and without quotation marks.

        A local part means the same with and without them (RFC 5321 section 4.1.2).
        """
        local, _, domain = self.wire.rpartition("@")
        if local.startswith('"'):
            local = re.sub(r"\\(.)", r"\1", local[1:-1])
        return f"{local}@{domain}".casefold()


def parse_address(text: str, role: str) -> Address:
    """Check an envelope address (RFC 5321 section 4.1.2, RFC 6531 section 3.3).

    Args:
        text: ``local@domain``, with the domain in Unicode, as A-labels, or as an address literal.
        role: how errors name it, ``"sender"`` or ``"recipient"``.

    Raises:
        InputError: it is not an address, is too long, or could end a command.
    """
    if not isinstance(text, str):
        raise _address_error(text, role, "it is not text")
    return _parse(text, role)


@lru_cache(maxsize=256)
def _parse(text: str, role: str) -> Address:
    # Cached, since a device sends to few addresses again and again.
    local, at, domain = text.rpartition("@")
    if not at or not local or not domain:
        raise _address_error(text, role, "it is not of the form name@domain")
    if not (_DOT_ATOM.fullmatch(local) or _QUOTED.fullmatch(local)):
        raise _address_error(text, role, "the part before the @ holds characters that it may not hold")
    domain = _wire_domain(domain, text, role)
    wire = f"{local}@{domain}"
    if len(local.encode("utf-8", "surrogatepass")) > MAX_LOCAL_PART:
        raise _address_error(text, role, f"the part before the @ is longer than {MAX_LOCAL_PART} octets")
    if len(domain) > MAX_DOMAIN or len(wire.encode("utf-8", "surrogatepass")) > MAX_PATH - 2:
        raise _address_error(text, role, "it is too long")
    if not wire.isprintable():
        raise _address_error(text, role, "it holds a character that cannot be seen")
    return Address(text, wire)


def parse_sender(text: str) -> Address:
    """Check a reverse-path; the empty string is the null sender (RFC 5321 section 4.5.5).

    Raises:
        InputError: as for `parse_address`.
    """
    return Address("", "") if text == "" else parse_address(text, "sender")


def _wire_domain(domain: str, text: str, role: str) -> str:
    if _LITERAL.fullmatch(domain) or _DOMAIN.fullmatch(domain):
        return domain
    if domain.isascii():
        raise _address_error(text, role, "the part after the @ is not a domain")
    try:
        # Of a name written with a dot at its end, IDNA keeps the dot, which no envelope may have.
        return idna.encode(domain, uts46=True).decode("ascii").removesuffix(".")
    except idna.IDNAError:
        raise _address_error(text, role, "the part after the @ is not a domain") from None


def _address_error(text: object, role: str, why: str) -> InputError:
    shown = ascii(text)
    if len(shown) > 100:
        shown = shown[:100] + "…"
    return InputError(f"The {role} address {shown} cannot be used: {why}.", stage="envelope")
