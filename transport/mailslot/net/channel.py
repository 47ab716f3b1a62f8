"""One connection to a mail server, as sessions use it."""

from __future__ import annotations

import math
import socket
import ssl
import struct
from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel

from mailslot.net.event_loop import new_waiter
from mailslot.net.tls import start_tls

if TYPE_CHECKING:
    from asyncio.trsock import TransportSocket
    from collections.abc import Awaitable

    from mailslot.net.endpoint import Endpoint
    from mailslot.net.waiter import Waiter

RECEIVE_SIZE: Final = 65_536
"""Octets received at once."""

_FULL_RECORD: Final = 4_096
"""Octets of a TLS record that another one may follow; a shorter record is taken for the last one."""

_LARGEST_RECORD: Final = 16_384
"""Octets of a TLS record at most (RFC 8446 section 5.1). With room for them, TLS keeps nothing of a record back, so
that a wait for the socket misses none."""

_YIELD_AFTER: Final = 65_536
"""Octets received without waiting after which other tasks get a turn."""

_CALL_COST: Final = 2_048
"""The octets that a call counts as, in addition to those that it receives."""

_RENEGOTIATION_PAUSE: Final = 0.01
"""Seconds until a write that TLS has postponed for a read is tried again."""

_WOULD_BLOCK: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

# Where `tcpi_bytes_acked` stands in Linux's struct tcp_info (linux/tcp.h).
_BYTES_ACKED: Final = struct.Struct("120xQ")


class Channel:
    """A connected socket that can be upgraded to TLS.

    Each call tries the socket first and waits only if that would block. On a fast network most calls need not wait, and
    anyio's streams, with two more layers, take two to three times as long.

    Attributes:
        endpoint: the server.
    """

    def __init__(self, connected: socket.socket, endpoint: Endpoint) -> None:
        """Take over a connected socket that does not block."""
        self.endpoint = endpoint
        self._socket = connected
        self._last_acknowledged: int | None = None
        self._octets_until_yield = _YIELD_AFTER
        self._buffer = memoryview(bytearray(RECEIVE_SIZE))
        self._arrived: bytes | None = None
        self._waiter: Waiter | None = None
        self._wait_ended_by: type[Exception] | tuple[()] = ()

    @property
    def local_host(self) -> str:
        """Our own IP address on this connection."""
        return str(self._socket.getsockname()[0])

    @property
    def remote_host(self) -> str | None:
        """The server's IP address; None once it has broken the connection."""
        try:
            return str(self._socket.getpeername()[0])
        except OSError:
            return None

    @property
    def peer_certificate(self) -> bytes | None:
        """The server's certificate in DER, verified if the TLS context says so; None without TLS."""
        return self._socket.getpeercert(binary_form=True) if isinstance(self._socket, ssl.SSLSocket) else None

    async def send(self, data: bytes | memoryview, timeout: float = math.inf) -> None:
        """Send octets; returns once the system has taken them all.

        Args:
            data: the octets.
            timeout: seconds to wait at most.

        Raises:
            TimeoutError: that was not enough.
            OSError: the connection is broken.
        """
        if self._octets_until_yield <= 0:
            # Other tasks get a turn now and then, and a cancellation is delivered.
            self._octets_until_yield = _YIELD_AFTER
            await anyio.lowlevel.checkpoint()
        self._octets_until_yield -= _CALL_COST
        try:
            sent = self._socket.send(data)
        except _WOULD_BLOCK:
            sent = 0
        if sent < len(data):
            await self._send_slowly(memoryview(data)[sent:], anyio.current_time() + timeout)

    async def _send_slowly(self, left: memoryview, deadline: float) -> None:
        while left:
            try:
                left = left[self._socket.send(left) :]
            except ssl.SSLWantReadError:
                # TLS has to read in order to write, and another task may be waiting to read. Only a renegotiation
                # does that.
                await self._wait(anyio.sleep(_RENEGOTIATION_PAUSE), deadline)
            except (BlockingIOError, ssl.SSLWantWriteError):
                await self._wait(anyio.wait_writable(self._socket), deadline)

    async def receive(self, deadline: float = math.inf) -> bytes:
        """Return some octets.

        Args:
            deadline: when to give up waiting, by `anyio.current_time`.

        Raises:
            EOFError: the server has closed its side.
            TimeoutError: the deadline passed.
            OSError: the connection is broken.
        """
        while self._arrived is None:
            try:
                # Where others are to have a turn, octets are waited for even if they have come.
                if self._octets_until_yield <= 0 or not self._read_arrived():
                    self._octets_until_yield = _YIELD_AFTER
                    if self._waiter is None:
                        self._waiter = new_waiter(self._socket, self._read_arrived)
                        self._wait_ended_by = self._waiter.ended_by
                    await self._waiter.wait(deadline)
            except ssl.SSLWantWriteError:
                await self._wait(anyio.wait_writable(self._socket), deadline)
            except self._wait_ended_by as error:
                raise (_closed_error() if self._waiter is None else TimeoutError()) from error
        data, self._arrived = self._arrived, None
        if not data:
            raise _end_of_stream_error()
        return data

    def receive_nowait(self) -> bytes | None:
        """Return the octets that have arrived; None if there are none.

        Raises:
            EOFError: the server has closed its side.
            OSError: the connection is broken.
        """
        try:
            if self._arrived is None and not self._read_arrived():
                return None
        except ssl.SSLWantWriteError:
            return None
        data, self._arrived = self._arrived, None
        if not data:
            raise _end_of_stream_error()
        return data

    def _read_arrived(self) -> bool:
        """Read the octets that have arrived; return False if there are none. TLS gives one record for each call."""
        try:
            end = size = self._socket.recv_into(self._buffer)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        while size >= _FULL_RECORD and end <= RECEIVE_SIZE - _LARGEST_RECORD:
            try:
                size = self._socket.recv_into(self._buffer[end:])
            except OSError:
                # A real error will be raised again by the next call.
                break
            end += size
        self._arrived = bytes(self._buffer[:end])
        self._octets_until_yield -= end + _CALL_COST
        return True

    async def _wait(self, event: Awaitable[None], deadline: float) -> None:
        self._octets_until_yield = _YIELD_AFTER
        scope = anyio.CancelScope(deadline=deadline)
        try:
            with scope:
                await event
        except anyio.ClosedResourceError as error:
            if self._socket.fileno() < 0:
                raise _closed_error() from error
            # A wait for octets has ended by its deadline; see `mailslot.net.trio_waiter`.
        if scope.cancelled_caught:
            raise TimeoutError

    async def start_tls(self, context: ssl.SSLContext, timeout: float, *, after_starttls: bool) -> None:
        """Start TLS; see `mailslot.net.tls.start_tls`.

        Raises:
            NetworkError: stage `tls`; the channel is closed.
        """
        self._drop_waiter()
        self._socket = await start_tls(self._socket, self.endpoint, context, timeout, after_starttls=after_starttls)

    def made_progress(self) -> bool:
        """Tell whether the peer has acknowledged more octets since the last call; see `acknowledged_octets`."""
        before, self._last_acknowledged = self._last_acknowledged, acknowledged_octets(self._socket)
        return before is not None and self._last_acknowledged != before

    def detach(self) -> socket.socket:
        """Return the socket, which the caller then owns; the channel is closed."""
        self._drop_waiter()
        return socket.socket(fileno=self._socket.detach())

    def close(self) -> None:
        """Close at once, without waiting; may be called again."""
        if self._socket.fileno() >= 0:
            self._drop_waiter()
            anyio.notify_closing(self._socket)
            self._socket.close()

    def _drop_waiter(self) -> None:
        self._octets_until_yield = _YIELD_AFTER
        if self._waiter is not None:
            self._waiter.close()
            self._waiter = None


def _closed_error() -> ConnectionAbortedError:
    return ConnectionAbortedError("closed while it was waited for")


def _end_of_stream_error() -> EOFError:
    return EOFError("closed by the server")


def acknowledged_octets(connected: socket.socket | TransportSocket) -> int | None:
    """Return how many octets the peer has acknowledged; None on systems other than Linux, which do not tell.

    On a slow network one piece may take long although it makes progress; only the kernel sees that.
    """
    if not hasattr(socket, "TCP_INFO"):
        return None
    info = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size)
    return int(_BYTES_ACKED.unpack(info)[0]) if len(info) == _BYTES_ACKED.size else None
