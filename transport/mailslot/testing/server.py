"""A server on loopback that plays a script."""

from __future__ import annotations

import re
import socket
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import zip_longest
from textwrap import indent
from typing import TYPE_CHECKING, Final

import anyio
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSStream

from mailslot.net.endpoint import Endpoint, Security
from mailslot.testing.script import parse_script

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Awaitable, Mapping

    from anyio.abc import ByteStream

    from mailslot.testing.script import Step

_LOST: Final = (OSError, EOFError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)

_LINE_END: Final = re.compile(rb"\n")

_MESSAGE_END: Final = re.compile(rb"(?:\A|(?<=\r\n))\.\r\n")

_WIDTH: Final = 200
"""Octets of a line that an error message shows."""


class ScriptError(AssertionError):
    """The client deviated from the script; the message shows the dialogue of each connection, including credentials."""


@dataclass
class ScriptedServer:
    """A server that plays a script.

    Attributes:
        endpoint: the address at which it listens.
        connections: the number of connections that the client has made.
        messages: the messages that the client sent for `{message}` and `{octets}`, without stuffed dots.
    """

    endpoint: Endpoint
    connections: int = 0
    messages: list[bytes] = field(default_factory=list[bytes])


@asynccontextmanager
async def scripted_server(
    script: str,
    *,
    message: bytes | None = None,
    placeholders: Mapping[str, str] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    security: Security | None = None,
    chunk_size: int | None = None,
    timeout: float = 60,
) -> AsyncGenerator[ScriptedServer]:
    """Serve a script on loopback until the context is left and the client has closed its connections.

    Args:
        script: its lines; see `mailslot.testing`.
        message: the message for `{message}`, `{octets}` and `{size}`, with CRLF line ends. Without it, `C: {message}`
            accepts any message, and the others cannot be used.
        placeholders: the values of further placeholders, by name; values may contain placeholders.
        ssl_context: the server's TLS context, which `!tls` and `!starttls` need.
        security: the encryption of the endpoint; None to derive it from the script's handshakes. Set it for a server
            that refuses STARTTLS.
        chunk_size: the octets that the server sends at a time; None for all of a step.
        timeout: seconds to wait for a line of the client, and for its end of the connection.

    Yields:
        the server.

    Raises:
        ScriptError: when the context is left, the client has deviated from the script; its cause is the exception that
            was raised in the context, if any.
        ValueError: the script is malformed, or has a handshake without an `ssl_context`.
    """
    failure: BaseException | None = None
    async with await anyio.create_tcp_listener(local_host="127.0.0.1", backlog=8) as listener:
        port = listener.extra(SocketAttribute.local_port)
        connections = parse_script(script, message=message, placeholders=placeholders, port=port)
        kinds = {step.kind for steps in connections for step in steps}
        found = Security.TLS if "tls" in kinds else Security.STARTTLS if "starttls" in kinds else Security.NONE
        if found is not Security.NONE and ssl_context is None:
            raise ValueError("the script has a handshake, and there is no ssl_context")
        server = ScriptedServer(Endpoint("127.0.0.1", port, security or found))
        player = _Player(server, connections, ssl_context, chunk_size, timeout)
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, player.serve)
            try:
                yield server
                await player.finish()
            except BaseException as error:  # noqa: BLE001 - raised below, so that the task group does not wrap it
                failure = error
            group.cancel_scope.cancel()
        await player.close()
    if player.deviations and (failure is None or isinstance(failure, Exception)):
        raise ScriptError("\n".join(player.deviations)) from failure
    if failure is not None:
        raise failure


class _DeviationError(Exception):
    """The client deviated from the script."""


@dataclass
class _Player:
    """Plays a script's connections, and records deviations of the client."""

    server: ScriptedServer
    script: list[list[Step]]
    ssl_context: ssl.SSLContext | None
    chunk_size: int | None
    timeout: float
    deviations: list[str] = field(default_factory=list[str])
    _streams: list[ByteStream] = field(default_factory=list["ByteStream"])
    _open: int = 0
    _left: anyio.Event = field(default_factory=anyio.Event)

    def serve(self, stream: ByteStream) -> Awaitable[None]:
        """Play the next connection; not a coroutine function, so that it is counted before its task has begun."""
        self._streams.append(stream)
        self._open += 1
        self.server.connections += 1
        return self._play(_Dialogue(stream, self), self.server.connections)

    async def _play(self, dialogue: _Dialogue, number: int) -> None:
        try:
            if number > len(self.script):
                self.deviations.append(f"The client made connection {number}; the script has {len(self.script)}.")
            else:
                await dialogue.play(self.script[number - 1])
        except _DeviationError as deviation:
            lines = "\n".join(step.text for step in self.script[number - 1][: dialogue.taken + 1])
            self.deviations.append(f"In connection {number}:\n{indent(lines, '    ')}\n{deviation}")
        finally:
            await dialogue.close()
            self._open -= 1
            self._left.set()

    async def finish(self) -> None:
        """Wait until the client has closed all connections, since its last octets may still be in transit."""
        with anyio.move_on_after(self.timeout):
            while self._open:
                self._left = anyio.Event()
                await self._left.wait()
        if self._open:
            self.deviations.append("The client left a connection open.")
        if self.server.connections < len(self.script):
            self.deviations.append(f"The client made {self.server.connections} of {len(self.script)} connections.")

    async def close(self) -> None:
        """Close all connections, also those whose tasks were cancelled before they began."""
        for stream in self._streams:
            await anyio.aclose_forcefully(stream)


class _Dialogue:
    """Plays one connection.

    Attributes:
        taken: the number of completed steps.
    """

    def __init__(self, stream: ByteStream, player: _Player) -> None:
        self.taken = 0
        self._stream = stream
        self._socket: socket.socket = stream.extra(SocketAttribute.raw_socket)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._player = player
        self._received = bytearray()

    async def play(self, steps: list[Step]) -> None:
        """Play the steps, then wait until the client closes the connection.

        Raises:
            _DeviationError: the client deviates from the script.
        """
        try:
            for step in steps:
                await self._take(step)
                self.taken += 1
            while True:
                await self._receive()
        except _LOST as error:
            # A client may close the connection before the server's last lines, but not before its own.
            due = [number for number, step in enumerate(steps) if step.kind == "expect" and number >= self.taken]
            if due:
                self.taken = due[0]
                raise _DeviationError(f"The client left instead ({error!r}).") from None
            if self._received:
                raise _DeviationError(f"The client sent more: {_shown(self._received)}") from None

    async def close(self) -> None:
        # Octets that the client has already sent do not count.
        self._received.clear()
        await anyio.aclose_forcefully(self._stream)

    async def _take(self, step: Step) -> None:
        match step.kind:
            case "send":
                size = self._player.chunk_size or len(step.octets)
                for at in range(0, len(step.octets), size):
                    await self._stream.send(step.octets[at : at + size])
            case "expect":
                with anyio.move_on_after(self._player.timeout) as scope:
                    await self._expect(step)
                if scope.cancelled_caught:
                    raise _DeviationError(f"The client did not send it, but: {_shown(self._received)}")
            case "tls" | "starttls":
                await self._start_tls()
            case "reset":
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                await self.close()
            case "close":
                await self.close()
            case "silence":
                pass

    async def _expect(self, step: Step) -> None:
        if step.text == "C: {octets}":
            while len(self._received) < len(step.octets):
                await self._receive()
            end = len(step.octets)
        else:
            end = await self._find(_MESSAGE_END if step.text == "C: {message}" else _LINE_END)
        sent = bytes(self._received[:end])
        del self._received[:end]
        if not step.matches(sent):
            raise _DeviationError(_difference(step.octets, sent))
        if step.text == "C: {message}":
            self._player.server.messages.append(re.sub(rb"(\A|\r\n)\.", rb"\1", sent[:-3]))
        elif step.text == "C: {octets}":
            self._player.server.messages.append(sent)

    async def _find(self, mark: re.Pattern[bytes]) -> int:
        """Receive until a mark, and return where it ends."""
        seen = 0
        while (found := mark.search(self._received, seen)) is None:
            seen = max(0, len(self._received) - 2)
            await self._receive()
        return found.end()

    async def _receive(self) -> None:
        self._received += await self._stream.receive()

    async def _start_tls(self) -> None:
        if self._received:
            raise _DeviationError(f"The client sent octets ahead of the handshake: {_shown(self._received)}")
        try:
            self._stream = await TLSStream.wrap(
                self._stream, server_side=True, ssl_context=self._player.ssl_context, standard_compatible=False
            )
        except _LOST:
            await self.close()
            raise


def _difference(due: bytes, sent: bytes) -> str:
    """Return the first lines that differ."""
    pairs = zip_longest(due.splitlines(keepends=True), sent.splitlines(keepends=True), fillvalue=b"")
    number, (one, other) = next(found for found in enumerate(pairs, 1) if found[1][0] != found[1][1])
    where = f" in line {number}" if number > 1 else ""
    return f"The client sent something else{where}:\n    due:  {_shown(one)}\n    sent: {_shown(other)}"


def _shown(octets: bytes | bytearray) -> str:
    return repr(bytes(octets[:_WIDTH]))[2:-1] + "…" * (len(octets) > _WIDTH)
