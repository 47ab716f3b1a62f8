"""Accepts connections from browsers; serves each in its own task, for a limited time.

Many silent connections would use up the file descriptors that mail needs, so their number and lifetime are limited.
"""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, Final

import anyio
from anyio.abc import SocketStream
from anyio.streams.tls import TLSStream
from anyio.to_thread import run_sync

from mailslot.service.log import describe_error
from mailslot_plugins.panel.admission import Admission, AdmittedConnection
from mailslot_plugins.panel.security import limits

if TYPE_CHECKING:
    import ssl

    from anyio.abc import ByteStream
    from hypercorn.config import Config
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from mailslot_plugins.panel.connection import Connection

HANDSHAKE_TIMEOUT: Final = 10.0
"""Seconds for the first octet to arrive, and then for the TLS handshake."""

IDLE_TIMEOUT: Final = 10.0
"""Seconds for all headers of a request to arrive, and between two requests."""

MAX_AGE: Final = 600.0
"""Seconds after which a connection is closed after the current response; browsers open another."""

SHUTDOWN_GRACE: Final = 1.0
"""Seconds that the current responses may take when the service ends."""

_USER_TIMEOUT: Final = 30_000
"""Milliseconds that sent data may stay unacknowledged (RFC 5482)."""

_TLS_HANDSHAKE: Final = b"\x16"  # RFC 8446 section 5.1
_SENTENCE: Final = b"This device speaks https here: write https:// in front of its address.\n"
_PLAIN: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
    % (len(_SENTENCE), _SENTENCE)
)

logger = logging.getLogger(__name__)


class Connections:
    """The connections of one listening socket.

    Args:
        application: the ASGI application.
        listener: a listening TCP socket; it stays open.
        context: TLS; None for plain HTTP.

    Attributes:
        context: the context of the next handshake.
    """

    def __init__(self, application: ASGIApp, listener: socket.socket, context: ssl.SSLContext | None) -> None:
        self._application = application
        self._listener = listener
        self.context = context
        self._stop = anyio.Event()
        self._admission = Admission()
        self._hypercorn: tuple[Config, type[Connection]] | None = None

    async def run(self) -> None:
        """Accept connections until cancelled; open ones then end soon after `SHUTDOWN_GRACE`."""
        self._listener.settimeout(0)
        async with anyio.create_task_group() as group:
            try:
                while True:
                    connection, address = await self._accept()
                    admitted = self._admission.admit(connection, address)
                    if admitted is None:
                        connection.close()
                    else:
                        group.start_soon(self._handle, admitted)
            finally:
                self._stop.set()

    async def _accept(self) -> tuple[socket.socket, str]:
        while True:
            await anyio.wait_readable(self._listener)
            try:
                connection, address = self._listener.accept()
            except BlockingIOError:
                continue
            except OSError as error:
                # The peer has left already, or there are no file descriptors left; some will become free.
                logger.debug("A connection could not be accepted: %s", error)
                await anyio.sleep(SHUTDOWN_GRACE)
                continue
            connection.settimeout(0)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT)
            return connection, str(address[0])

    async def _handle(self, admitted: AdmittedConnection) -> None:
        """Serve a connection; its errors do not affect others."""
        try:
            # When the service ends, `_enforce_lifetime` ends this, too.
            with anyio.CancelScope(shield=True):
                await self._serve(admitted)
        except Exception as error:  # noqa: BLE001 - caused by an unknown client
            logger.debug("A connection has failed: %s", describe_error(error))
        finally:
            admitted.connection.close()
            self._admission.release(admitted)

    async def _serve(self, admitted: AdmittedConnection) -> None:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            async def receive_and_mark() -> Message:
                message = await receive()
                if not message.get("more_body"):
                    admitted.mark(busy=True)
                return message

            # A request counts as busy once its body is complete, so incomplete requests keep nobody out.
            admitted.mark(busy=not _has_body(scope))
            try:
                await self._application(scope, receive_and_mark, send)
            finally:
                admitted.mark(busy=False)

        async with anyio.create_task_group() as group:
            ending = anyio.Event()
            group.start_soon(self._enforce_lifetime, ending, group.cancel_scope)
            if self.context is None or await _begins_tls(admitted.connection):
                await self._run_connection(admitted.connection, application, ending)
            group.cancel_scope.cancel()

    async def _run_connection(self, raw: socket.socket, application: ASGIApp, ending: anyio.Event) -> None:
        client, server = raw.getpeername()[:2], raw.getsockname()[:2]
        # First, since asyncio reads and keeps what comes, however much, until the stream is asked for it.
        if self._hypercorn is None:
            self._hypercorn = await run_sync(_load_hypercorn)
        config, connection_class = self._hypercorn
        plain = await SocketStream.from_socket(raw)
        try:
            stream: ByteStream = plain
            if (context := self.context) is not None:
                with anyio.fail_after(HANDSHAKE_TIMEOUT):
                    stream = await TLSStream.wrap(plain, server_side=True, ssl_context=context)
            tls = context is not None
            connection = connection_class(application, config, stream, tls=tls, client=client, server=server)
            async with anyio.create_task_group() as group:
                group.start_soon(_end, connection, ending)
                await connection.run()
                group.cancel_scope.cancel()
        finally:
            await anyio.aclose_forcefully(plain)

    async def _enforce_lifetime(self, ending: anyio.Event, scope: anyio.CancelScope) -> None:
        """End a connection when the service ends or the connection is too old: gracefully, then by cancellation."""
        with anyio.move_on_after(MAX_AGE):
            await self._stop.wait()
        ending.set()
        await anyio.sleep(SHUTDOWN_GRACE)
        scope.cancel()


def _load_hypercorn() -> tuple[Config, type[Connection]]:
    """Return hypercorn's settings, and the connection that uses it; it is loaded for the first connection."""
    from hypercorn.config import Config  # noqa: PLC0415

    from mailslot_plugins.panel.connection import Connection  # noqa: PLC0415

    config = Config()
    config.errorlog = None
    config.include_server_header = False
    config.keep_alive_timeout = IDLE_TIMEOUT
    config.h11_max_incomplete_size = limits.MAX_HEAD
    return config, Connection


def _has_body(scope: Scope) -> bool:
    """Return whether a request has a body (RFC 9112 section 6)."""
    return any(name in {b"content-length", b"transfer-encoding"} for name, _ in scope["headers"])


async def _end(connection: Connection, ending: anyio.Event) -> None:
    await ending.wait()
    await connection.end()


async def _begins_tls(connection: socket.socket) -> bool:
    """Return whether the client begins with TLS within `HANDSHAKE_TIMEOUT`; a plain HTTP client gets an explanation."""
    first = b""
    with anyio.move_on_after(HANDSHAKE_TIMEOUT):
        await anyio.wait_readable(connection)
        first = connection.recv(1, socket.MSG_PEEK)
    if first and first != _TLS_HANDSHAKE:
        connection.send(_PLAIN)
        connection.shutdown(socket.SHUT_WR)
        # With unread data the connection would be reset, and the client might never see the sentence.
        with anyio.move_on_after(SHUTDOWN_GRACE):
            await anyio.wait_readable(connection)
            connection.recv(limits.MAX_HEAD)
    return first == _TLS_HANDSHAKE
