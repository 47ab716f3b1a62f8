"""Connections from browsers: how many at a time, for how long, and hypercorn speaking HTTP on each.

Hypercorn takes as many as come, and for as long as they stay; enough of them that say nothing would leave no file
descriptor for mail. So they are accepted here, and each is handed to the part of hypercorn that serves one.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.typing import ConnectionState

from mailslot.service.log import described
from mailslot_plugins.panel.security import limits
from mailslot_plugins.panel.security.addresses import is_loopback, neighbourhood

if TYPE_CHECKING:
    import ssl

    from hypercorn.typing import ASGIFramework
    from starlette.types import ASGIApp

MOST: Final = 128
"""Connections at a time."""

MOST_OF_ONE: Final = 24
"""Connections from one address, or one network of IPv6, at a time; a browser opens six."""

GREETING: Final = 10.0
"""Seconds within which the first octet must have come, and then all of TLS's handshake."""

IDLE: Final = 10.0
"""Seconds within which all headers of a request must have come, and between two requests."""

LONGEST: Final = 600.0
"""Seconds after which a connection ends with the answer that is under way: browsers just open another."""

GRACE: Final = 1.0
"""Seconds that answers which are under way may still take when the service ends."""

_UNREAD: Final = 30_000
"""Milliseconds that what we have sent may stay unread (RFC 5482)."""

_TLS_HANDSHAKE: Final = b"\x16"  # RFC 8446 section 5.1
_SENTENCE: Final = b"This device speaks https here: write https:// in front of its address.\n"
_PLAIN: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
    % (len(_SENTENCE), _SENTENCE)
)

logger = logging.getLogger(__name__)


class Connections:
    """All connections to one socket.

    Args:
        application: what answers.
        listener: a TCP socket that listens; it stays open.
        context: TLS; None for plain HTTP.
    """

    def __init__(self, application: ASGIApp, listener: socket.socket, context: ssl.SSLContext | None) -> None:
        self._app = ASGIWrapper(cast("ASGIFramework", application))
        self._listener = listener
        self._context = context
        self._stop = anyio.Event()
        self._peers = Counter[str]()
        self._config = Config()
        self._config.errorlog = None
        self._config.include_server_header = False
        self._config.keep_alive_timeout = IDLE
        self._config.ssl_handshake_timeout = GREETING
        self._config.h11_max_incomplete_size = limits.HEAD
        self._config.h2_max_header_list_size = limits.HEAD
        self._config.h2_max_concurrent_streams = 16

    async def run(self) -> None:
        """Accept connections until cancelled; those that are open then end within two times `GRACE`."""
        self._listener.settimeout(0)
        async with anyio.create_task_group() as group:
            try:
                while True:
                    connection, address = await self._accepted()
                    if self._is_full(address):
                        connection.close()
                    else:
                        self._peers[neighbourhood(address)] += 1
                        group.start_soon(self._kept, connection, address)
            finally:
                self._stop.set()

    async def _accepted(self) -> tuple[socket.socket, str]:
        while True:
            await anyio.wait_readable(self._listener)
            try:
                connection, address = self._listener.accept()
            except BlockingIOError:
                continue
            except OSError as error:
                # Its peer has left already, or there are no more descriptors, of which time gives some back.
                logger.debug("A connection could not be accepted: %s", error)
                await anyio.sleep(GRACE)
                continue
            connection.settimeout(0)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD)
            return connection, str(address[0])

    def _is_full(self, address: str) -> bool:
        of_one = 0 if is_loopback(address) else self._peers[neighbourhood(address)]
        return self._peers.total() >= MOST or of_one >= MOST_OF_ONE

    async def _kept(self, connection: socket.socket, address: str) -> None:
        """Serve a connection; whatever goes wrong on it concerns no other."""
        try:
            # When the service ends, `_end` sees to it that this does.
            with anyio.CancelScope(shield=True):
                await self._serve(connection)
        except Exception as error:  # noqa: BLE001 - a stranger's doing
            logger.debug("A connection has failed: %s", described(error))
        finally:
            connection.close()
            self._peers[neighbourhood(address)] -= 1
            self._peers += Counter()  # forgets those that have none left

    async def _serve(self, connection: socket.socket) -> None:
        name = "asyncio" if _on_asyncio() else "trio"
        context = import_module(f"hypercorn.{name}.worker_context").WorkerContext(None)
        async with anyio.create_task_group() as group:
            group.start_soon(self._end, connection, context, group.cancel_scope)
            if self._context is None or await _begins_tls(connection):
                await (self._by_asyncio if name == "asyncio" else self._by_trio)(connection, context)
            group.cancel_scope.cancel()

    async def _end(self, connection: socket.socket, context: Any, scope: anyio.CancelScope) -> None:  # noqa: ANN401 - either backend's
        """End a connection when the service ends, or the connection is old: first in peace."""
        with anyio.move_on_after(LONGEST):
            await self._stop.wait()
        await context.terminated.set()
        await anyio.sleep(GRACE)
        # Hypercorn cannot be cancelled while it sends, so the line is cut.
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        await anyio.sleep(GRACE)
        scope.cancel()

    async def _by_asyncio(self, connection: socket.socket, context: Any) -> None:  # noqa: ANN401 - hypercorn's
        from hypercorn.asyncio.tcp_server import TCPServer  # noqa: PLC0415 - one backend is enough

        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol,
            connection,
            ssl=self._context,
            ssl_handshake_timeout=None if self._context is None else GREETING,
            ssl_shutdown_timeout=None if self._context is None else GRACE,
        )
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        await TCPServer(self._app, loop, self._config, context, ConnectionState({}), reader, writer)

    async def _by_trio(self, connection: socket.socket, context: Any) -> None:  # noqa: ANN401 - hypercorn's
        import trio  # noqa: PLC0415 - it comes with an extra
        from hypercorn.trio.tcp_server import TCPServer  # noqa: PLC0415

        stream: Any = trio.SocketStream(trio.socket.from_stdlib_socket(connection))
        if self._context is not None:
            stream = trio.SSLStream(stream, self._context, server_side=True, https_compatible=True)
        try:
            await TCPServer(self._app, self._config, context, ConnectionState({}), stream)
        finally:
            await trio.aclose_forcefully(stream)


async def _begins_tls(connection: socket.socket) -> bool:
    """Return whether TLS is spoken, before `GREETING` is over; who speaks plain HTTP is told so."""
    first = b""
    with anyio.move_on_after(GREETING):
        await anyio.wait_readable(connection)
        first = connection.recv(1, socket.MSG_PEEK)
    if first and first != _TLS_HANDSHAKE:
        connection.send(_PLAIN)
        connection.shutdown(socket.SHUT_WR)
        # Closed with something unread, it would be reset, and the sentence perhaps never be seen.
        with anyio.move_on_after(GRACE):
            await anyio.wait_readable(connection)
            connection.recv(limits.HEAD)
    return first == _TLS_HANDSHAKE


def _on_asyncio() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
