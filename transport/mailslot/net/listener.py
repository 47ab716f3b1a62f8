"""Listening sockets, accepted connections, and the limits on their number."""

from __future__ import annotations

import errno
import ipaddress
import logging
import math
import socket
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel

from mailslot.errors import InputError
from mailslot.net.accepted import AcceptedConnection
from mailslot.net.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from anyio.abc import TaskGroup

logger = logging.getLogger(__name__)

RECEIVE_SIZE: Final = 32_768
"""Octets received at once; small, since many connections may each have a buffer of this size."""

_FEW_CONNECTIONS: Final = 50
_SMALL_RECEIVE_SIZE: Final = 8_192
"""Octets received at once on each connection beyond a few."""

_BACKLOG: Final = 128

_TURN: Final = 32
"""Connections accepted before other tasks get a turn."""

_OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_RECOVERY_TIME: Final = 0.2
"""Seconds to wait if the system has no room for another connection."""
_TELL_AGAIN_AFTER: Final = 60.0
"""Seconds after which that is logged again; clients that come all the time would fill the log."""

_NO_SUCH_FAMILY: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The maximum simultaneous connections, whether or not their clients have signed in.

    Attributes:
        per_address: connections from one IP address.
        per_listener: connections of the whole listener.
    """

    per_address: int = 20
    per_listener: int = 250


class Listener:
    """The listening sockets of one listener.

    Attributes:
        name: the name.
        port: the port, even if the system has chosen it.
        limits: the limits on connections.
        refused: the number of connections that were closed at once because there were too many.
    """

    def __init__(self, name: str, sockets: Sequence[socket.socket], limits: ConnectionLimits) -> None:
        """Take over listening non-blocking sockets; `open_listener` creates them."""
        self.name = name
        self.limits = limits
        self.refused = 0
        self.port: int = sockets[0].getsockname()[1]
        self._sockets = list(sockets)
        self._by_address: Counter[str] = Counter()
        self._open: set[AcceptedConnection] = set()
        self._told_at = -math.inf
        # One task receives at a time, and takes the octets out before another one does.
        self._buffer = memoryview(bytearray(RECEIVE_SIZE))

    @property
    def connections(self) -> int:
        """The number of connections."""
        return len(self._open)

    async def wait_for_client(self) -> bool:
        """Return True once a client wants to connect, which `serve` then accepts; False once `close` was called."""
        async with anyio.create_task_group() as group:
            for listening in self._sockets:
                group.start_soon(_wait_readable, listening, group.cancel_scope)
        return any(listening.fileno() >= 0 for listening in self._sockets)

    async def serve(self, handle: Callable[[AcceptedConnection], Awaitable[None]], *, too_many: bytes = b"") -> None:
        """Accept connections until `close` is called and the last connection has ended.

        Args:
            handle: called for each connection, which is closed once it returns. Its errors are logged.
            too_many: the octets to send to a client before closing its connection, if there are too many.
        """
        try:
            async with anyio.create_task_group() as group:
                for listening in self._sockets:
                    group.start_soon(self._accept_all, listening, handle, too_many, group)
        finally:
            # A task that is cancelled before it has begun closes nothing.
            self.close()
            for connection in self._open:
                connection.close()

    def close(self) -> None:
        """Accept no more connections; existing ones continue."""
        for listening in self._sockets:
            if listening.fileno() >= 0:
                anyio.notify_closing(listening)
                listening.close()

    async def _accept_all(
        self,
        listening: socket.socket,
        handle: Callable[[AcceptedConnection], Awaitable[None]],
        too_many: bytes,
        group: TaskGroup,
    ) -> None:
        # `close` may be called at any time.
        while listening.fileno() >= 0:
            try:
                await anyio.wait_readable(listening)
            except anyio.ClosedResourceError:
                return
            for _ in range(_TURN):
                try:
                    accepted, _ = listening.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    await self._recover(error)
                    break
                self._take(accepted, handle, too_many, group)
            await anyio.lowlevel.checkpoint()

    async def _recover(self, error: OSError) -> None:
        # Otherwise the client has gone before it was accepted, which accept(2) also reports.
        if error.errno in _OUT_OF_RESOURCES:
            now = anyio.current_time()
            if now - self._told_at >= _TELL_AGAIN_AFTER:
                self._told_at = now
                logger.warning("The listener %s cannot accept a connection: %s", self.name, error)
            await anyio.sleep(_RECOVERY_TIME)

    def _take(
        self,
        accepted: socket.socket,
        handle: Callable[[AcceptedConnection], Awaitable[None]],
        too_many: bytes,
        group: TaskGroup,
    ) -> None:
        try:
            accepted.settimeout(0)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = self._peer_of(accepted)
            if self._has_room_for(peer.address):
                buffer = self._buffer if self.connections < _FEW_CONNECTIONS else self._buffer[:_SMALL_RECEIVE_SIZE]
                connection = AcceptedConnection(accepted, peer, buffer)
                self._by_address[peer.address] += 1
                self._open.add(connection)
                group.start_soon(self._serve_one, connection, handle)
                return
            self.refused += 1
            accepted.send(too_many)
        except OSError:
            pass  # the client has gone already
        accepted.close()

    def _has_room_for(self, address: str) -> bool:
        limits = self.limits
        return self._by_address[address] < limits.per_address and self.connections < limits.per_listener

    def _peer_of(self, accepted: socket.socket) -> Peer:
        address, port = accepted.getpeername()[:2]
        local_address, local_port = accepted.getsockname()[:2]
        return Peer(self.name, plain_address(address), port, plain_address(local_address), local_port)

    async def _serve_one(
        self, connection: AcceptedConnection, handle: Callable[[AcceptedConnection], Awaitable[None]]
    ) -> None:
        try:
            await handle(connection)
        except Exception:
            # An error on one connection must not affect the others.
            logger.exception("A connection to the listener %s ended by an error", self.name)
        finally:
            connection.close()
            self._open.discard(connection)
            address = connection.peer.address
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]


async def _wait_readable(listening: socket.socket, others: anyio.CancelScope) -> None:
    """Wait until a socket has a connection, or is closed; then end the tasks that wait for others."""
    if listening.fileno() >= 0:
        with suppress(anyio.ClosedResourceError):
            await anyio.wait_readable(listening)
    others.cancel()


async def open_listener(name: str, host: str, port: int, limits: ConnectionLimits | None = None) -> Listener:
    """Listen on every address that a host name has.

    Args:
        name: the listener's name.
        host: an IP address or a host name; empty for all addresses.
        port: the port; 0 for one that the system chooses.
        limits: the limits on connections.

    Raises:
        InputError: the address cannot be used; its `key` is ``"listen"``.
    """
    sockets: list[socket.socket] = []
    try:
        found = await anyio.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
            try:
                sockets.append(_listen(family, (address[0], port or (sockets[0].getsockname()[1] if sockets else 0))))
            except OSError as error:
                # Many machines without IPv6 have an IPv6 address for localhost.
                if error.errno not in _NO_SUCH_FAMILY or len(found) == 1:
                    raise
        if not sockets:
            raise OSError(errno.EADDRNOTAVAIL, "this machine has no such address")
    except (OSError, UnicodeError) as error:
        for each in sockets:
            each.close()
        raise InputError(
            f"The listener {name} cannot be opened at {host}:{port}: {_reason(error)}.",
            stage="connect",
            key="listen",
            detail=repr(error),
        ) from error
    return Listener(name, sockets, limits or ConnectionLimits())


def plain_address(address: str) -> str:
    """Return an IP address without a zone, and as IPv4 if it is an IPv4 address in IPv6 (RFC 4291 section 2.5.5.2)."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def _listen(family: int, address: tuple[str, int]) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
        listening.settimeout(0)
    except OSError:
        listening.close()
        raise
    return listening


def _reason(error: Exception) -> str:
    if isinstance(error, socket.gaierror | UnicodeError):
        return "there is no such name or address"
    reasons = {
        errno.EADDRINUSE: "another program uses this port already",
        errno.EACCES: "ports below 1024 need more rights than this program has",
        errno.EADDRNOTAVAIL: "this machine has no such address",
    }
    code = error.errno if isinstance(error, OSError) else None
    return reasons.get(code or 0) or str(error)
