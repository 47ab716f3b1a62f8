"""Which addresses a token, a code or a secret may be sent to."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mailslot.errors import InputError

if TYPE_CHECKING:
    from urllib.parse import SplitResult


def check_address(address: str, name: str, *, issuer: bool = False) -> None:
    """Refuse an address that cannot be an OAuth endpoint.

    Args:
        address: what is to be one: https, or http on a loopback address.
        name: what to call it in the sentence, such as ``"token endpoint"``.
        issuer: whether it is an issuer identifier, which has no query either (RFC 8414 section 2).

    Raises:
        InputError: it is none.
    """
    reason = _reason(address, issuer=issuer)
    if reason:
        raise InputError(f"The {name} {address!a} cannot be used: {reason}.", stage="token")


def is_loopback(address: str) -> bool:
    """Whether an address is on this machine itself, by its name or by the address it is given as."""
    host = urlsplit(address).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(address: str) -> str:
    """Return the host and port of an address that was checked, as they stand in it."""
    return urlsplit(address).netloc


def origin_of(address: str) -> str:
    """Return scheme, host and port of an address that was checked, so that texts can be compared (RFC 6454, 6.2)."""
    parts = urlsplit(address)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    return f"{parts.scheme}://{host}" + ("" if parts.port in {None, usual} else f":{parts.port}")


def _reason(address: str, *, issuer: bool) -> str:
    if not address:
        return "it is empty"
    # Whatever is no plain URI is refused before it is parsed: parsers differ about the rest.
    if not address.isascii() or not address.isprintable() or any(c in ' \\<>"{}|^`' for c in address):
        return "it holds characters that no address has"
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return "it is not an address"
    if parts.scheme not in {"https", "http"} or not parts.hostname or port == 0:
        return "it must begin with https:// and name a host"
    return _forbidden(parts, address, issuer=issuer)


def _forbidden(parts: SplitResult, address: str, *, issuer: bool) -> str:
    if "@" in parts.netloc:
        return "it holds a user name"
    if "#" in address:
        return "it holds a fragment (#), which no endpoint has"
    if issuer and "?" in address:
        return "it holds a query (?), which no issuer has"
    if parts.scheme == "http" and not is_loopback(address):
        return "secrets would cross the network in clear; it must begin with https://"
    return ""
