"""The client address of a request, the host name that it uses for this device, and our own addresses."""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from functools import cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Final

from mailslot.net.endpoint import Endpoint, Security

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import Scope

LOOPBACK: Final = "loopback"
"""All loopback addresses, for `client_network`: a local client can use all of 127.0.0.0/8."""

_BY_PROXY: Final = frozenset({b"forwarded", b"via", b"x-real-ip"})
"""Headers added by proxies (RFC 7239, RFC 9110 section 7.6.3, nginx's manual), in addition to X-Forwarded-*."""

_HOST: Final = re.compile(
    r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9.-]{1,255}))(?::[0-9]{1,5})?"
)  # RFC 9110 section 7.2

# Nothing is sent there: connecting a UDP socket only chooses the address that would be used (RFC 5737, RFC 3849).
_SOMEWHERE: Final = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def is_loopback(address: str) -> bool:
    """Return whether a text is a loopback address."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return (mapped or found).is_loopback


def is_local(scope: Scope) -> bool:
    """Return whether a request comes from this machine, and not through a proxy on it."""
    forwarded = any(name in _BY_PROXY or name.startswith(b"x-forwarded-") for name, _ in scope["headers"])
    return is_loopback(client_address(scope)) and not forwarded


def client_address(scope: Scope) -> str:
    """Return the client address of a request; empty if unknown."""
    return str(scope["client"][0]) if scope.get("client") else ""


def client_network(address: str) -> str:
    """Return the range of addresses that one client can easily have.

    For IPv6 it is the /64 network, for IPv4 the address, and for this machine `LOOPBACK`.
    """
    if is_loopback(address):
        return LOOPBACK
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return str(found)
    return str(found.ipv4_mapped or ip_network((found, 64), strict=False))


def is_own_host(host: str, names: Collection[str]) -> bool:
    """Return whether a ``Host`` header is a valid name of this device.

    Another site can point its own name at this device (DNS rebinding) and would then have the same origin as the panel.
    It cannot do so with an IP address, nor with a name that the device has or that the administrator has set.

    Args:
        host: the header's value.
        names: the names that the administrator has set, as returned by `ascii_name`.
    """
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    literal, name = match[1], (match[2] or "").rstrip(".").lower()
    try:
        ip_address(literal or name)
    except ValueError:
        pass
    else:
        return True
    known = {*own_names(), *names}
    return literal is None and (name == "localhost" or name.endswith(".localhost") or name in known)


def ascii_name(host: str) -> str:
    """Return a host name in lower case, with A-labels for non-ASCII letters (RFC 5890)."""
    return Endpoint(host, 1, Security.NONE).ascii_host


@cache
def own_names() -> tuple[str, ...]:
    """Return this machine's host names, including the mDNS one (RFC 6762)."""
    name = socket.gethostname().rstrip(".").lower()
    # A certificate holds ASCII only (RFC 5280 section 4.2.1.6).
    if not name.isascii() or not name:
        return ()
    return (name, f"{name.partition('.')[0]}.local")


def own_addresses(bound: str) -> tuple[str, ...]:
    """Return the addresses at which the panel can be reached.

    Args:
        bound: the address that the panel listens on; ``0.0.0.0`` or ``::`` for all.
    """
    if bound not in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound to
        return (bound.partition("%")[0],)
    found: list[str] = []
    for family, somewhere in _SOMEWHERE:
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((somewhere, 9))
            found.append(str(probe.getsockname()[0]).partition("%")[0])
    return tuple(dict.fromkeys((*found, "127.0.0.1")))
