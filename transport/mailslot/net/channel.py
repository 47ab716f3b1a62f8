"""One connection to a mail server, as sessions use it."""

from __future__ import annotations

import math
import socket
import ssl
import struct
from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel

from mailslot.net.tls import start_tls

if TYPE_CHECKING:
    from asyncio.trsock import TransportSocket
    from collections.abc import Awaitable, Callable

    from mailslot.net.endpoint import Endpoint

RECEIVE: Final = 65_536
"""Octets received at once."""

_LONG: Final = 4_096
"""Octets of a TLS record that others may follow; a shorter one ends what a server has to say."""

_BREATH: Final = 65_536
"""Octets received without a wait, after which other tasks get a turn all the same."""

_CALL: Final = 2_048
"""Octets for which every call counts at least."""

# Where `tcpi_bytes_acked` stands in Linux's struct tcp_info (linux/tcp.h).
_BYTES_ACKED: Final = struct.Struct("120xQ")


class Channel:
    """A connected socket that can be encrypted halfway.

    It is tried first and waited for only where that is in vain: on a fast line, most calls need not wait, and the
    streams of anyio, which hand every octet through two more layers, take two to three times as long a turn.

    Attributes:
        endpoint: where it leads.
    """

    def __init__(self, connected: socket.socket, endpoint: Endpoint) -> None:
        """Take over a connected socket that does not block."""
        self.endpoint = endpoint
        self._socket = connected
        self._acknowledged: int | None = None
        self._breath = _BREATH
        self._buffer = memoryview(bytearray(RECEIVE))

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
        """The server's certificate, in DER, verified or not as the context said; None without TLS."""
        return self._socket.getpeercert(binary_form=True) if isinstance(self._socket, ssl.SSLSocket) else None

    async def send(self, data: bytes | memoryview, deadline: float = math.inf) -> None:
        """Send octets; returns once the system has taken them all.

        Args:
            data: the octets.
            deadline: when to give up waiting, by `anyio.current_time`.

        Raises:
            TimeoutError: the deadline passed.
            OSError: the connection is broken.
        """
        await self._yield_to_loop()
        left = memoryview(data)
        self._breath -= _CALL
        while True:
            try:
                left = left[self._socket.send(left) :]
                if not left:
                    return
            except ssl.SSLWantReadError:
                await self._wait(anyio.wait_readable, deadline)
            except (BlockingIOError, ssl.SSLWantWriteError):
                await self._wait(anyio.wait_writable, deadline)

    async def receive(self, deadline: float = math.inf) -> bytes:
        """Return some octets.

        Args:
            deadline: when to give up waiting, by `anyio.current_time`.

        Raises:
            EOFError: the server has closed its side.
            TimeoutError: the deadline passed.
            OSError: the connection is broken.
        """
        await self._yield_to_loop()
        while True:
            try:
                data = self._take()
            except (BlockingIOError, ssl.SSLWantReadError):
                await self._wait(anyio.wait_readable, deadline)
            except ssl.SSLWantWriteError:
                await self._wait(anyio.wait_writable, deadline)
            else:
                if not data:
                    raise EOFError("closed by the server")
                self._breath -= max(len(data), _CALL)
                return data

    def _take(self) -> bytes:
        """Return what has arrived, or raise where nothing has; TLS gives it out record by record."""
        end = size = self._socket.recv_into(self._buffer)
        while size >= _LONG and end < RECEIVE:
            try:
                size = self._socket.recv_into(self._buffer[end:])
            except OSError:
                # It will come again, if it is a fault at all.
                break
            end += size
        return bytes(self._buffer[:end])

    async def _yield_to_loop(self) -> None:
        """Let other tasks have a turn now and then, and a cancellation come through."""
        if self._breath <= 0:
            self._breath = _BREATH
            await anyio.lowlevel.checkpoint()

    async def _wait(self, ready: Callable[[socket.socket], Awaitable[None]], deadline: float) -> None:
        self._breath = _BREATH
        scope = anyio.CancelScope(deadline=deadline)
        try:
            with scope:
                await ready(self._socket)
        except anyio.BusyResourceError:
            # TLS wants to read in order to write, or the reverse, and another task waits for that already.
            await anyio.sleep(0.01)
        except anyio.ClosedResourceError as error:
            raise ConnectionAbortedError("closed while it was waited for") from error
        if scope.cancelled_caught:
            raise TimeoutError

    async def start_tls(self, context: ssl.SSLContext, timeout: float, *, upgraded: bool) -> None:
        """Encrypt from here on.

        Raises:
            NetworkError: stage `tls`; the channel is closed.
        """
        self._socket = await start_tls(self._socket, self.endpoint, context, timeout, upgraded=upgraded)

    def progressed(self) -> bool:
        """Tell whether the server's system has acknowledged more octets since the last call (see `acknowledged`)."""
        before, self._acknowledged = self._acknowledged, acknowledged(self._socket)
        return before is not None and self._acknowledged != before

    def detach(self) -> socket.socket:
        """Give the connection away; this channel is closed from then on."""
        return socket.socket(fileno=self._socket.detach())

    def close(self) -> None:
        """Close at once; waits for nothing and may be called again."""
        if self._socket.fileno() >= 0:
            anyio.notify_closing(self._socket)
            self._socket.close()


def acknowledged(connected: socket.socket | TransportSocket) -> int | None:
    """Return how many octets the server's system has acknowledged; None where ours does not tell, as only Linux does.

    A piece may be long on its way over a slow line though it moves; only the system sees that.
    """
    if not hasattr(socket, "TCP_INFO"):
        return None
    info = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size)
    return int(_BYTES_ACKED.unpack(info)[0]) if len(info) == _BYTES_ACKED.size else None
