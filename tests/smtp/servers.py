"""Servers on loopback that do what a test says, and messages to send them."""

from __future__ import annotations

import re
import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSStream

from mailslot import Endpoint, Security, connect_smtp
from mailslot.testing import scripted_server

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

    from anyio.abc import ByteStream

    from mailslot import SmtpSession
    from mailslot.testing import ScriptedServer

LOST = (OSError, EOFError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)

SENDER = "scanner@example.com"
TO = ["alice@example.com"]
MESSAGE = b"Subject: Greetings\r\n\r\nHello.\r\n"

HELLO = """S: 220 mail.example.com ready
C: EHLO {any}
S: 250-mail.example.com
S: 250-CHUNKING
S: 250 PIPELINING
"""
GROUP = """C: MAIL FROM:<scanner@example.com>
C: RCPT TO:<alice@example.com>
C: DATA
"""
TAKEN = (
    GROUP
    + """S: 250 ok
S: 250 ok
S: 354 go
C: {message}
S: 250 queued
"""
)


@asynccontextmanager
async def session(
    dialogue: str, message: bytes = MESSAGE, **arguments: Any
) -> AsyncIterator[tuple[SmtpSession, ScriptedServer]]:
    """Connect to a server that plays a script; see `mailslot.testing`."""
    arguments = {"timeout": 5, "final_timeout": 5, **arguments}
    async with (
        scripted_server(dialogue, message=message) as server,
        connect_smtp(server.endpoint, **arguments) as smtp,
    ):
        yield smtp, server


class ServerConnection:
    """The server's side of one connection.

    Attributes:
        received: all octets of messages.
    """

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self.socket: socket.socket = stream.extra(SocketAttribute.raw_socket)
        self.received = bytearray()
        self._heard = bytearray()

    async def say(self, *lines: str) -> None:
        await self.stream.send("".join(f"{line}\r\n" for line in lines).encode())

    async def octets(self, count: int = 65_536) -> bytes:
        """Return some of what came."""
        if not self._heard:
            self._heard += await self.stream.receive(count)
        octets = bytes(self._heard[:count])
        del self._heard[:count]
        return octets

    async def line(self) -> str:
        while b"\n" not in self._heard:
            self._heard += await self.stream.receive()
        line, _, rest = bytes(self._heard).partition(b"\n")
        self._heard[:] = rest
        return line.decode().removesuffix("\r")

    async def lines(self, count: int) -> list[str]:
        return [await self.line() for _ in range(count)]

    async def message(self, end: bytes = b"\r\n.\r\n") -> bytes:
        """Take a message up to and with its end; what follows stays."""
        message = bytearray(b"\r\n")
        seen = 0
        while (at := message.find(end, seen)) < 0:
            seen = max(len(message) - len(end), 0)
            message += await self.octets()
        self._heard[:0] = message[at + len(end) :]
        self.received += message[2 : at + len(end)]
        return bytes(message[2 : at + len(end)])

    async def greet(self, *offers: str) -> None:
        await self.say("220 mail.example.com ready")
        assert (await self.line()).startswith("EHLO ")
        await self.say("250-mail.example.com", *(f"250-{offer}" for offer in offers), "250 HELP")

    async def envelope(self, recipients: int = 1) -> None:
        """Take a group of commands."""
        await self.lines(1 + recipients + 1)
        await self.say(*["250 ok"] * (1 + recipients), "354 go")

    async def start_tls(self, context: ssl.SSLContext) -> None:
        self.stream = await TLSStream.wrap(
            self.stream, server_side=True, ssl_context=context, standard_compatible=False
        )

    async def gone(self) -> bytes:
        """Wait until the client is gone, and return what it sent before."""
        rest = bytes(self._heard)
        try:
            while True:
                rest += await self.stream.receive()
        except LOST:
            return rest

    async def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await anyio.aclose_forcefully(self.stream)


class Server:
    """A server that runs.

    Attributes:
        endpoint: where.
        wires: its connections.
    """

    def __init__(self, port: int, security: Security) -> None:
        self.endpoint = Endpoint("127.0.0.1", port, security)
        self.wires: list[ServerConnection] = []


@asynccontextmanager
async def serving(
    handler: Callable[[ServerConnection], Awaitable[None]],
    security: Security = Security.NONE,
    *,
    receive_buffer: int = 0,
) -> AsyncIterator[Server]:
    """Serve clients until the context is left; a client that goes away is no failure."""
    failures: list[BaseException] = []

    async def serve(stream: ByteStream) -> None:
        wire = ServerConnection(stream)
        server.wires.append(wire)
        try:
            await handler(wire)
        except LOST:
            pass
        except Exception as error:  # noqa: BLE001 - raised below, out of the task group
            failures.append(error)
        finally:
            await anyio.aclose_forcefully(wire.stream)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        if receive_buffer:
            listener.extra(SocketAttribute.raw_socket).setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        server = Server(listener.extra(SocketAttribute.local_port), security)
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, serve)
            try:
                yield server
            except BaseException as error:  # noqa: BLE001 - raised below, out of the task group
                failures.append(error)
            group.cancel_scope.cancel()
    if failures:
        raise failures[0]


class Stream:
    """A message that says what it is, truly or not.

    Args:
        pieces: what comes; an exception is raised in its turn, a number is slept.
        size: what is announced; None for the truth.
    """

    eight_bit = smtputf8 = False

    def __init__(self, *pieces: bytes | Exception | float, size: int | None = None) -> None:
        self._pieces = pieces
        self.size = sum(len(piece) for piece in pieces if isinstance(piece, bytes)) if size is None else size
        self.opened = 0
        self.closed = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        self.opened += 1
        try:
            for piece in self._pieces:
                if isinstance(piece, Exception):
                    raise piece
                if isinstance(piece, float):
                    await anyio.sleep(piece)
                else:
                    yield piece
        finally:
            self.closed += 1


def long(megabytes: float) -> Stream:
    """Return a message of so many megabytes, with dots at the beginnings of lines."""
    line = b"." + b"x" * 97 + b"\r\n"
    return Stream(*[line * 1000] * int(megabytes * 10))


def unstuffed(wire: bytes) -> bytes:
    """Return the message in what went between 354 and the final dot, said in another way than the code does."""
    assert wire.endswith(b"\r\n.\r\n") or wire == b".\r\n"
    return re.sub(rb"^\.", b"", wire[:-3], flags=re.MULTILINE)
