"""Checks of endpoint URLs, to which tokens, codes and secrets are sent."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mailslot.errors import InputError

if TYPE_CHECKING:
    from urllib.parse import SplitResult


def check_endpoint_url(url: str, name: str, *, issuer: bool = False) -> None:
    """Check that a URL can be an OAuth endpoint.

    Args:
        url: the URL; it must be https, or http on a loopback address.
        name: its name in the sentence, such as ``"token endpoint"``.
        issuer: whether it is an issuer identifier, which must not have a query (RFC 8414 section 2).

    Raises:
        InputError: it cannot.
    """
    reason = _why_unusable(url, issuer=issuer)
    if reason:
        # In front of an @ there may be a password.
        shown = name if "@" in url else f"{name} {url!a}"
        raise InputError(f"The {shown} cannot be used: {reason}.", stage="token")


def is_loopback(url: str) -> bool:
    """Whether the host of a URL is ``localhost`` or a loopback address."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(url: str) -> str:
    """Return the host and port of a checked URL, as written."""
    return urlsplit(url).netloc


def origin_of(url: str) -> str:
    """Return the scheme, host and port of a checked URL, normalized for comparison (RFC 6454, 6.2)."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    return f"{parts.scheme}://{host}" + ("" if parts.port in {None, usual} else f":{parts.port}")


def _why_unusable(url: str, *, issuer: bool) -> str:
    if not url:
        return "it is empty"
    # Anything but a plain URI is refused before parsing, since parsers differ about the rest.
    if not url.isascii() or not url.isprintable() or any(c in ' \\<>"{}|^`' for c in url):
        return "it holds characters that no address has"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "it is not an address"
    if parts.scheme not in {"https", "http"} or not parts.hostname or port == 0:
        return "it must begin with https:// and name a host"
    return _why_forbidden(parts, url, issuer=issuer)


def _why_forbidden(parts: SplitResult, url: str, *, issuer: bool) -> str:
    if "@" in parts.netloc:
        return "it holds a user name"
    if "#" in url:
        return "it holds a fragment (#), which no endpoint has"
    if issuer and "?" in url:
        return "it holds a query (?), which no issuer has"
    if parts.scheme == "http" and not is_loopback(url):
        return "secrets would cross the network in clear; it must begin with https://"
    return ""
