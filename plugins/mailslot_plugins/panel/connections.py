"""Connections from browsers: they are accepted here, each is served in a task of its own, and none stays for ever.

Enough of them that say nothing would leave no file descriptor for mail, so that there are bounds on how many there are
and for how long.
"""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, Final

import anyio
from anyio.abc import SocketStream
from anyio.streams.tls import TLSStream
from hypercorn.config import Config

from mailslot.service.log import describe_error
from mailslot_plugins.panel.admission import Admission, Admitted
from mailslot_plugins.panel.connection import Connection
from mailslot_plugins.panel.security import limits

if TYPE_CHECKING:
    import ssl

    from anyio.abc import ByteStream
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
        self._application = application
        self._listener = listener
        self._context = context
        self._stop = anyio.Event()
        self._admission = Admission()
        self._config = Config()
        self._config.errorlog = None
        self._config.include_server_header = False
        self._config.keep_alive_timeout = IDLE
        self._config.h11_max_incomplete_size = limits.HEAD

    async def run(self) -> None:
        """Accept connections until cancelled; those that are open then end soon after `GRACE`."""
        self._listener.settimeout(0)
        async with anyio.create_task_group() as group:
            try:
                while True:
                    connection, address = await self._accepted()
                    admitted = self._admission.admit(connection, address)
                    if admitted is None:
                        connection.close()
                    else:
                        group.start_soon(self._keep, admitted)
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

    async def _keep(self, admitted: Admitted) -> None:
        """Serve a connection; whatever goes wrong on it concerns no other."""
        try:
            # When the service ends, `_limit` sees to it that this does.
            with anyio.CancelScope(shield=True):
                await self._serve(admitted)
        except Exception as error:  # noqa: BLE001 - a stranger's doing
            logger.debug("A connection has failed: %s", describe_error(error))
        finally:
            admitted.connection.close()
            self._admission.leave(admitted)

    async def _serve(self, admitted: Admitted) -> None:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            async def heard() -> Message:
                message = await receive()
                if not message.get("more_body"):
                    admitted.mark(busy=True)
                return message

            # Nobody is kept out by requests that were begun and never come to their end.
            admitted.mark(busy=not _has_body(scope))
            try:
                await self._application(scope, heard, send)
            finally:
                admitted.mark(busy=False)

        async with anyio.create_task_group() as group:
            ending = anyio.Event()
            group.start_soon(self._limit, ending, group.cancel_scope)
            if self._context is None or await _begins_tls(admitted.connection):
                await self._answer(admitted.connection, application, ending)
            group.cancel_scope.cancel()

    async def _answer(self, raw: socket.socket, application: ASGIApp, ending: anyio.Event) -> None:
        client, server = raw.getpeername()[:2], raw.getsockname()[:2]
        plain = await SocketStream.from_socket(raw)
        try:
            stream: ByteStream = plain
            if self._context is not None:
                with anyio.fail_after(GREETING):
                    stream = await TLSStream.wrap(plain, server_side=True, ssl_context=self._context)
            tls = self._context is not None
            connection = Connection(application, self._config, stream, tls=tls, client=client, server=server)
            async with anyio.create_task_group() as group:
                group.start_soon(_end, connection, ending)
                await connection.run()
                group.cancel_scope.cancel()
        finally:
            await anyio.aclose_forcefully(plain)

    async def _limit(self, ending: anyio.Event, scope: anyio.CancelScope) -> None:
        """End a connection when the service ends, or the connection is old: first in peace."""
        with anyio.move_on_after(LONGEST):
            await self._stop.wait()
        ending.set()
        await anyio.sleep(GRACE)
        scope.cancel()


def _has_body(scope: Scope) -> bool:
    """Whether a body comes after the headers of a request (RFC 9112 section 6)."""
    return any(name in {b"content-length", b"transfer-encoding"} for name, _ in scope["headers"])


async def _end(connection: Connection, ending: anyio.Event) -> None:
    await ending.wait()
    await connection.end()


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
