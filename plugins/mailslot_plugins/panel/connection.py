"""One connection from a browser: hypercorn's HTTP/1.1 over an anyio stream, the same on asyncio and trio.

Hypercorn's own TCP servers are not used, for four reasons. On asyncio, a connection closed by the client stays until
its keep-alive timeout. A request that is answered before it was read completely can block its connection. Sending
cannot be cancelled. And clients can switch to HTTP/2, whose many streams would evade the limits on connections.
"""

from __future__ import annotations

import logging
import math
import ssl
from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.events import Closed, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import ConnectionState

from mailslot.exit_guard import ExitGuard
from mailslot.service.log import describe_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    import h11
    from anyio.abc import ByteStream, TaskGroup
    from hypercorn.config import Config
    from hypercorn.events import Event
    from hypercorn.typing import AppWrapper, ASGIFramework
    from hypercorn.typing import Scope as HypercornScope
    from starlette.types import ASGIApp

CLOSE_TIMEOUT: Final = 1.0
"""Seconds that the client has to close the connection after we do, so that it can read our last response."""

_MAX_QUEUED_CHUNKS: Final = 10
"""Chunks of a body that wait for the application."""

_MAX_DRAINED: Final = 256 * 1024
"""Octets that are read while a connection closes: with unread data, it would be reset."""

_LOST: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError)

logger = logging.getLogger(__name__)


class Connection:
    """A connection.

    Args:
        application: the ASGI application.
        config: hypercorn's settings; of its timeouts, only ``keep_alive_timeout`` is used.
        stream: the TCP or TLS stream.
        tls: whether it is a TLS stream.
        client: address and port of the client.
        server: our own address and port.
    """

    def __init__(
        self,
        application: ASGIApp,
        config: Config,
        stream: ByteStream,
        *,
        tls: bool,
        client: tuple[str, int],
        server: tuple[str, int],
    ) -> None:
        self._stream = stream
        self._idle_timeout = config.keep_alive_timeout
        self._tls = tls
        self._context = _Context()
        self._tasks = _Tasks()
        self._reading = anyio.CancelScope()
        self._sending = anyio.Lock()
        self._answered = anyio.Event()
        self._lost = False
        self._protocol = _Http11(
            cast("AppWrapper", ASGIWrapper(cast("ASGIFramework", application))),
            config,
            cast("Any", self._context),
            cast("Any", self._tasks),
            ConnectionState({}),
            tls,
            client,
            server,
            self._send,
        )

    async def run(self) -> None:
        """Serve requests until either side closes the connection; close it in any case."""
        try:
            async with anyio.create_task_group() as group:
                self._tasks.group = group
                self._reading.deadline = anyio.current_time() + self._idle_timeout
                with self._reading:
                    await self._read()
                if self._protocol.stream is not None and not (self._lost or self._reading.cancelled_caught):
                    # The client has closed its direction. It may still wait for the response, but usually it has left.
                    await self._tasks.inbox.put({"type": "http.disconnect"})
                    await self._answered.wait()
                await self._protocol.handle(Closed())
            await self._close()
        finally:
            await anyio.aclose_forcefully(self._stream)

    async def end(self) -> None:
        """Close the connection after the current response, or at once if there is none."""
        await self._context.terminated.set()
        if self._protocol.stream is None:
            self._reading.cancel()

    async def _read(self) -> None:
        while True:
            try:
                octets = await self._stream.receive()
            except anyio.EndOfStream:
                await self._protocol.handle(RawData(b""))
                return
            except _LOST:
                self._lost = True
                return
            await self._protocol.handle(RawData(octets))

    async def _send(self, event: Event) -> None:
        if isinstance(event, RawData):
            await self._send_octets(event.data)
        elif isinstance(event, Updated) and not event.idle:
            self._answered = anyio.Event()
            self._reading.deadline = math.inf
        else:
            self._answered.set()
            if isinstance(event, Closed):
                self._reading.cancel()
            else:
                self._reading.deadline = anyio.current_time() + self._idle_timeout

    async def _send_octets(self, octets: bytes) -> None:
        async with self._sending:
            try:
                if octets and not self._lost:
                    await self._stream.send(octets)
            except _LOST:
                self._lost = True
        if self._lost:
            self._answered.set()
            self._reading.cancel()
            await self._protocol.handle(Closed())

    async def _close(self) -> None:
        """Close gracefully: the client must be able to read our last response before the connection is reset."""
        if self._lost:
            return
        with anyio.move_on_after(CLOSE_TIMEOUT):
            try:
                if self._tls:
                    await self._stream.aclose()
                    return
                await self._stream.send_eof()
                left = _MAX_DRAINED
                while left > 0:
                    left -= len(await self._stream.receive())
            except (anyio.EndOfStream, *_LOST, OSError):
                pass


class _Http11(H11Protocol):
    """HTTP/1.1 and nothing else."""

    async def _check_protocol(self, event: h11.Request) -> None:
        """Ignore requests to upgrade to another protocol."""


class _Inbox:
    """The messages for an application. Once its response is complete or the client has left, `put` does not block."""

    def __init__(self) -> None:
        self._messages = deque[Any]()
        self._last: Any = None
        self._changed = anyio.Event()

    async def put(self, message: Any) -> None:  # noqa: ANN401 - one of many kinds
        if message["type"].endswith(".disconnect"):
            self._last = message
        else:
            while len(self._messages) >= _MAX_QUEUED_CHUNKS and self._last is None:
                await self._changed.wait()
            if self._last is not None:
                return
            self._messages.append(message)
        self._notify()

    async def get(self) -> Any:  # noqa: ANN401 - one of many kinds
        while not self._messages and self._last is None:
            await self._changed.wait()
        if not self._messages:
            return self._last
        message = self._messages.popleft()
        self._notify()
        return message

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


class _Tasks:
    """The task group in which hypercorn starts an application (``hypercorn.typing.TaskGroup``)."""

    group: TaskGroup
    inbox: _Inbox
    """The inbox of the newest application."""

    async def spawn_app(
        self, app: AppWrapper, config: Config, scope: HypercornScope, send: Callable[[Any], Awaitable[None]]
    ) -> Callable[[Any], Awaitable[None]]:
        del config
        self.inbox = inbox = _Inbox()
        self.group.start_soon(_answer, app, scope, inbox, send)
        return inbox.put

    def spawn(self, func: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
        self.group.start_soon(func, *args)


class _Event:
    """An event that can be cleared (``hypercorn.typing.Event``)."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    async def clear(self) -> None:
        self._event = anyio.Event()

    async def set(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()

    def is_set(self) -> bool:
        return self._event.is_set()


class _Context:
    """The worker in which hypercorn runs (``hypercorn.typing.WorkerContext``)."""

    event_class = _Event

    def __init__(self) -> None:
        self.terminated = _Event()

    async def mark_request(self) -> None:
        """Count a request; the number is not limited."""

    @staticmethod
    async def sleep(wait: float) -> None:
        await anyio.sleep(wait)

    @staticmethod
    def time() -> float:
        return anyio.current_time()


async def _answer(
    app: AppWrapper, scope: HypercornScope, inbox: _Inbox, send: Callable[[Any], Awaitable[None]]
) -> None:
    try:
        with ExitGuard():
            await app(scope, inbox.get, send, _unused, _unused)
    except Exception as error:  # noqa: BLE001 - the response is then an error, or truncated
        logger.debug("A response has failed: %s", describe_error(error))
    await send(None)


def _unused(*_: object) -> None:
    raise NotImplementedError
