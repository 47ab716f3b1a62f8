"""A POP3 server on loopback that sends what a test wants, at the time it wants."""

from __future__ import annotations

import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSStream

from mailslot import Endpoint, Password, Security

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

    from anyio.abc import ByteStream

    Handler = Callable[["ServerConnection"], Awaitable[None]]

_DISCONNECTED = (OSError, EOFError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)

AUTH = Password("scanner@example.com", "correct-horse")


class ServerConnection:
    """The server's side of one connection.

    Attributes:
        received: all that it sent.
        disconnected: set once it has closed its side.
    """

    def __init__(self, stream: ByteStream) -> None:
        self.received = b""
        self.disconnected = anyio.Event()
        self._stream = stream
        self._socket: socket.socket = stream.extra(SocketAttribute.raw_socket)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read = 0

    @property
    def lines(self) -> list[str]:
        """The lines that it sent."""
        return self.received.decode("utf-8", "replace").split("\r\n")[:-1]

    async def send(self, *octets: bytes) -> None:
        await self._stream.send(b"".join(octets))

    async def trickle(self, octets: bytes, seconds: float) -> None:
        """Send octets one by one."""
        for at in range(len(octets)):
            await self.send(octets[at : at + 1])
            await anyio.sleep(seconds)

    async def forever(self, octets: bytes) -> None:
        """Send the same until the client disconnects."""
        while True:
            await self.send(octets)

    async def receive(self) -> None:
        """Receive some octets."""
        self.received += await self._stream.receive()

    async def read_line(self) -> str:
        """Return its next line."""
        while (end := self.received.find(b"\r\n", self._read)) < 0:
            await self.receive()
        line = self.received[self._read : end]
        self._read = end + 2
        return line.decode()

    async def start_tls(self, context: ssl.SSLContext) -> None:
        self._stream = await TLSStream.wrap(
            self._stream, server_side=True, ssl_context=context, standard_compatible=False
        )

    async def close(self) -> None:
        await anyio.aclose_forcefully(self._stream)

    async def reset(self) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self.close()

    async def sign_in(self, capabilities: bytes = b"") -> None:
        """Greet, and accept any USER and PASS."""
        await self.send(b"+OK ready\r\n")
        while (line := await self.read_line()) != "PASS correct-horse":
            if line == "CAPA":
                await self.send(b"+OK\r\n" + capabilities + b".\r\n" if capabilities else b"-ERR\r\n")
            else:
                await self.send(b"+OK\r\n")
        await self.send(b"+OK\r\n")

    async def drain(self) -> None:
        """Receive everything until the client disconnects."""
        try:
            while True:
                self.received += await self._stream.receive()
        except _DISCONNECTED:
            self.disconnected.set()


class Server:
    """A server that plays one part for each connection.

    Attributes:
        endpoint: where it listens.
        clients: those who connected, in order.
    """

    def __init__(
        self, parts: tuple[Handler, ...], context: ssl.SSLContext | None, port: int, security: Security
    ) -> None:
        self.endpoint = Endpoint("localhost", port, security)
        self.clients: list[ServerConnection] = []
        self._parts = parts
        self._context = context
        self._streams: list[ByteStream] = []

    def serve(self, stream: ByteStream) -> Awaitable[None]:
        """Play the next part; a plain function, so that a connection is known before its task has begun."""
        self._streams.append(stream)
        return self._serve(stream)

    async def _serve(self, stream: ByteStream) -> None:
        client = ServerConnection(stream)
        self.clients.append(client)
        try:
            if self.endpoint.security is Security.TLS and self._context is not None:
                await client.start_tls(self._context)
            await self._parts[len(self.clients) - 1](client)
        except _DISCONNECTED:
            pass
        await client.drain()
        await client.close()

    async def close(self) -> None:
        """Close all connections, also those whose tasks were cancelled before they began."""
        for stream in self._streams:
            await anyio.aclose_forcefully(stream)

    async def wait_for_disconnects(self) -> None:
        """Wait until all clients have closed their connections."""
        with anyio.fail_after(60):
            for client in self.clients:
                await client.disconnected.wait()

    @property
    def client(self) -> ServerConnection:
        """The only one."""
        (client,) = self.clients
        return client


@asynccontextmanager
async def run_hostile_server(
    *parts: Handler, context: ssl.SSLContext | None = None, security: Security = Security.TLS
) -> AsyncIterator[Server]:
    """Serve until the context is left, and see to it that the client has closed all its connections by then.

    Args:
        parts: what to do with each connection.
        context: the server's certificate; None where it speaks in the clear whatever the client wants.
        security: what the client wants.
    """
    failure: BaseException | None = None
    async with await anyio.create_tcp_listener(local_host="127.0.0.1", backlog=8) as listener:
        server = Server(parts, context, listener.extra(SocketAttribute.local_port), security)
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, server.serve)
            try:
                yield server
                await server.wait_for_disconnects()
            except BaseException as error:  # noqa: BLE001 - raised below, so that the task group does not wrap it
                failure = error
            group.cancel_scope.cancel()
        await server.close()
    if failure is not None:
        raise failure
