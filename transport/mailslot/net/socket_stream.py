"""A connected socket with deadlines, with or without TLS."""

from __future__ import annotations

import math
import ssl
from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel

from mailslot.net.event_loop import new_waiter

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable

    from mailslot.net.waiter import Waiter

_FULL_RECORD: Final = 4_096
"""Octets of a TLS record that another one may follow; a shorter record is taken for the last one."""

_YIELD_AFTER: Final = 65_536
"""Octets received without waiting after which other tasks get a turn."""

_RENEGOTIATION_PAUSE: Final = 0.01

_CALL_COST: Final = 2_048
"""The octets that a call counts as at least."""


class InterruptedWaitError(Exception):
    """`SocketStream.interrupt` has ended a wait; nothing was lost."""


class SocketStream:
    """A connected socket.

    Each call tries the socket first and waits only if that would block. On a fast network most calls need not wait, and
    anyio's streams, with two more layers, take two to three times as long.
    """

    def __init__(self, connected: socket.socket, buffer: memoryview) -> None:
        """Take over a connected non-blocking socket.

        Args:
            connected: the socket.
            buffer: the receive buffer, which determines the octets per call. Streams of one thread may share it.
        """
        self._socket = connected
        self._octets_until_yield = _YIELD_AFTER
        self._buffer = buffer
        self._waiter: Waiter | None = None
        self._waiting: anyio.CancelScope | None = None
        self._interrupted = False

    @property
    def local_host(self) -> str:
        """Our own IP address on this connection."""
        return str(self._socket.getsockname()[0])

    @property
    def peer_certificate(self) -> bytes | None:
        """The other side's certificate in DER, verified if the TLS context says so; None without one."""
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
        self._interrupted = False
        await self._yield_to_loop()
        left = memoryview(data)
        self._octets_until_yield -= _CALL_COST
        while True:
            try:
                left = left[self._socket.send(left) :]
                if not left:
                    return
            except ssl.SSLWantReadError:
                # TLS has to read in order to write, and another task may be waiting to read. Only a renegotiation does
                # that.
                await self._wait(anyio.sleep(_RENEGOTIATION_PAUSE), deadline)
            except (BlockingIOError, ssl.SSLWantWriteError):
                await self._wait(anyio.wait_writable(self._socket), deadline)

    async def receive(self, deadline: float = math.inf) -> bytes:
        """Return some octets.

        Args:
            deadline: when to give up waiting, by `anyio.current_time`.

        Raises:
            EOFError: the other side has closed.
            TimeoutError: the deadline passed.
            OSError: the connection is broken.
        """
        self._interrupted = False
        await self._yield_to_loop()
        while True:
            try:
                data = self._receive_available()
            except (BlockingIOError, ssl.SSLWantReadError):
                await self._wait_for_octets(deadline)
            except ssl.SSLWantWriteError:
                await self._wait(anyio.wait_writable(self._socket), deadline)
            else:
                if not data:
                    raise EOFError("closed by the other side")
                self._octets_until_yield -= max(len(data), _CALL_COST)
                return data

    def _receive_available(self) -> bytes:
        """Return the octets that have arrived; raise if there are none. TLS gives one record for each call."""
        end = size = self._socket.recv_into(self._buffer)
        while size >= _FULL_RECORD and end < len(self._buffer):
            try:
                size = self._socket.recv_into(self._buffer[end:])
            except OSError:
                # A real error will be raised again by the next call.
                break
            end += size
        return bytes(self._buffer[:end])

    async def _yield_to_loop(self) -> None:
        """Give other tasks a turn now and then, and a cancellation the chance to be delivered."""
        if self._octets_until_yield <= 0:
            self._octets_until_yield = _YIELD_AFTER
            await anyio.lowlevel.checkpoint()

    async def _wait_for_octets(self, deadline: float) -> None:
        if self._interrupted:
            raise InterruptedWaitError
        self._octets_until_yield = _YIELD_AFTER
        waiter = self._waiter
        if waiter is None:
            # Whoever waits reads them as soon as it goes on, which is at once.
            waiter = self._waiter = new_waiter(self._socket, lambda: True)
        try:
            await waiter.wait(deadline)
        except waiter.ended_by as error:
            if self._interrupted:
                raise InterruptedWaitError from error
            raise (_closed_error() if self._waiter is None else TimeoutError()) from error

    async def _wait(self, event: Awaitable[None], deadline: float) -> None:
        self._octets_until_yield = _YIELD_AFTER
        scope = self._waiting = anyio.CancelScope(deadline=deadline)
        try:
            with scope:
                await event
        except anyio.BusyResourceError:
            # Another task waits for that already.
            await anyio.sleep(_RENEGOTIATION_PAUSE)
        except anyio.ClosedResourceError as error:
            if self._socket.fileno() < 0:
                raise _closed_error() from error
            if self._interrupted:
                raise InterruptedWaitError from error
            # A wait for octets has ended by its deadline; see `mailslot.net.trio_waiter`.
        finally:
            self._waiting = None
        if scope.cancelled_caught:
            raise InterruptedWaitError if self._interrupted else TimeoutError

    def interrupt(self) -> None:
        """Make another task's call of `receive` or `send` raise `InterruptedWaitError` if it has to wait."""
        self._interrupted = True
        # A wait ends with its waiter; the next one makes another.
        self._drop_waiter()
        if self._waiting is not None:
            self._waiting.cancel()

    def close(self) -> None:
        """Close at once, without waiting; may be called again."""
        if self._socket.fileno() >= 0:
            self._drop_waiter()
            anyio.notify_closing(self._socket)
            self._socket.close()

    def _drop_waiter(self) -> None:
        if self._waiter is not None:
            self._waiter.close()
            self._waiter = None


def _closed_error() -> ConnectionAbortedError:
    return ConnectionAbortedError("closed while it was waited for")
