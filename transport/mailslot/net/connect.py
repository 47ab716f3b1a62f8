"""Name resolution and connecting, with both address families raced (RFC 8305)."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.errors import NetworkError
from mailslot.net.endpoint import format_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailslot.net.endpoint import Endpoint

ATTEMPT_DELAY: Final = 0.25
"""Seconds before the next address is tried beside one that has not answered (RFC 8305 section 5)."""

MAX_ADDRESSES: Final = 16
"""Addresses that are tried; a name with more is misconfigured or hostile."""

_UNREACHABLE_ERRORS: Final = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL})


async def resolve(endpoint: Endpoint, timeout: float) -> list[str]:
    """Resolve the host name.

    Args:
        endpoint: where to connect to.
        timeout: seconds to wait for the answer.

    Returns:
        IP addresses in the order to try them: the system's, with the families interleaved
        (RFC 8305 section 4). An address literal is returned as it is.

    Raises:
        NetworkError: stage `resolve`.
    """
    host = endpoint.ascii_host
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return [host]
    try:
        with anyio.fail_after(timeout):
            found = await anyio.getaddrinfo(host, endpoint.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        timed_out = isinstance(error, TimeoutError)
        why = f"did not answer within {format_seconds(timeout)}" if timed_out else "knows no address for it"
        raise NetworkError(
            f"The mail server's name {endpoint.host} could not be resolved: the name service {why}.",
            stage="resolve",
            cause="name_not_found",
            retryable=True,
            detail=repr(error),
            waited=timeout if timed_out else None,
        ) from error
    addresses = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
    return _interleave(addresses)[:MAX_ADDRESSES]


def addresses_of_other_family(addresses: Sequence[str], than: str) -> list[str]:
    """Return the addresses whose family differs from that of `than`."""
    return [address for address in addresses if (":" in address) != (":" in than)]


async def connect(endpoint: Endpoint, addresses: Sequence[str], timeout: float) -> socket.socket:
    """Connect to the first of `addresses` that answers.

    Args:
        endpoint: where to; its port is used.
        addresses: IP addresses, at least one.
        timeout: seconds for all of them together.

    Returns:
        a connected socket that does not block.

    Raises:
        NetworkError: stage `connect`.
    """
    errors: list[OSError] = []
    waited: float | None = None
    try:
        with anyio.fail_after(timeout):
            connected = await _race(addresses, endpoint.port, errors)
    except TimeoutError as error:
        errors.append(error)
        connected, waited = None, timeout
    if connected is None:
        raise _connect_error(endpoint, addresses, errors, waited)
    return connected


async def _race(addresses: Sequence[str], port: int, errors: list[OSError]) -> socket.socket | None:
    if len(addresses) == 1:
        try:
            return await _connect_to(addresses[0], port)
        except OSError as error:
            errors.append(error)
            return None
    winner: socket.socket | None = None

    async def attempt(address: str, failed: anyio.Event) -> None:
        nonlocal winner
        try:
            connected = await _connect_to(address, port)
        except OSError as error:
            errors.append(error)
            failed.set()
            return
        if winner is None:
            winner = connected
            group.cancel_scope.cancel()
        else:
            connected.close()

    try:
        async with anyio.create_task_group() as group:
            for address in addresses:
                failed = anyio.Event()
                group.start_soon(attempt, address, failed)
                with anyio.move_on_after(ATTEMPT_DELAY):
                    await failed.wait()
    except BaseException:
        if winner is not None:
            winner.close()
        raise
    return winner


async def _connect_to(address: str, port: int) -> socket.socket:
    """Return a socket connected to an IP address; raises `OSError` where that fails."""
    connecting = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        connecting.settimeout(0)
        # Without Nagle's algorithm: commands are sent in groups already.
        connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        error_code = connecting.connect_ex((address, port))
        if error_code in {errno.EINPROGRESS, errno.EWOULDBLOCK}:
            await anyio.wait_writable(connecting)
            error_code = connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error_code:
            raise OSError(error_code, os.strerror(error_code))
    except BaseException:
        connecting.close()
        raise
    return connecting


def _connect_error(
    endpoint: Endpoint, addresses: Sequence[str], errors: Sequence[OSError], waited: float | None
) -> NetworkError:
    if any(isinstance(error, ConnectionRefusedError) for error in errors):
        cause, why = "connection_refused", "refused the connection"
    elif any(isinstance(error, TimeoutError) for error in errors):
        cause, why = (
            "connection_timeout",
            "did not answer" if waited is None else f"did not answer within {format_seconds(waited)}",
        )
    elif any(error.errno in _UNREACHABLE_ERRORS for error in errors):
        cause, why = "network_unreachable", "cannot be reached over the network"
    else:
        cause, why = "network_unreachable", "could not be connected to"
    return NetworkError(
        f"The mail server {endpoint.host} {why} on port {endpoint.port}.",
        stage="connect",
        cause=cause,
        retryable=True,
        detail=f"{', '.join(addresses)}: {'; '.join(str(error) or type(error).__name__ for error in errors)}",
        waited=waited if cause == "connection_timeout" else None,
    )


def _interleave(addresses: Sequence[str]) -> list[str]:
    if not addresses:
        return []
    same = [address for address in addresses if (":" in address) == (":" in addresses[0])]
    other = [address for address in addresses if (":" in address) != (":" in addresses[0])]
    return [address for pair in zip_longest(same, other) for address in pair if address is not None]
