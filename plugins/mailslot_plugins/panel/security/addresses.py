"""Whom a request is from, and what it calls this device."""

from __future__ import annotations

import re
import socket
from functools import cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Final

from mailslot.net.endpoint import Endpoint, Security

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import Scope

LOOPBACK: Final = "loopback"
"""All of this machine's own addresses, for `neighbourhood`: whoever has one has all of 127.0.0.0/8."""

_BY_PROXY: Final = frozenset({b"forwarded", b"via", b"x-real-ip"})
"""Headers that a proxy adds (RFC 7239, RFC 9110 section 7.6.3, and what nginx's manual has), besides X-Forwarded-*."""

_HOST: Final = re.compile(
    r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9.-]{1,255}))(?::[0-9]{1,5})?"
)  # RFC 9110 section 7.2


def is_loopback(address: str) -> bool:
    """Whether an address is this machine's own, as text; one that is none is not."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return (mapped or found).is_loopback


def is_local(scope: Scope) -> bool:
    """Whether a request comes from this machine, and from nobody beyond a proxy on it."""
    forwarded = any(name in _BY_PROXY or name.startswith(b"x-forwarded-") for name, _ in scope["headers"])
    return is_loopback(peer(scope)) and not forwarded


def peer(scope: Scope) -> str:
    """Return the address that a request comes from; empty where nobody knows."""
    return str(scope["client"][0]) if scope.get("client") else ""


def neighbourhood(address: str) -> str:
    """Return what one person can easily have many addresses in.

    Of IPv6 that is the network, /64; of IPv4 the address; of this machine all that it has by itself, as `LOOPBACK`.
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


def is_ours(host: str, names: Collection[str]) -> bool:
    """Whether a ``Host`` is what this device may be called by.

    A page elsewhere can have its own name lead here (DNS rebinding) and would then be of the same origin as the panel.
    It cannot do so with an address, nor with a name that the device or its administrator has given itself.

    Args:
        host: the header's value.
        names: names that the administrator has set, as `ascii_name` returns them.
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
    """Return a host name in lower case, its letters beyond ASCII as A-labels (RFC 5890)."""
    return Endpoint(host, 1, Security.NONE).ascii_host


@cache
def own_names() -> tuple[str, ...]:
    """Return the names that this machine has by itself, also as mDNS tells them (RFC 6762)."""
    name = socket.gethostname().rstrip(".").lower()
    # A certificate holds ASCII only (RFC 5280 section 4.2.1.6).
    if not name.isascii() or not name:
        return ()
    return (name, f"{name.partition('.')[0]}.local")
