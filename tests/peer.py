"""The other side of a transcript: a server on loopback that says what is written and hears whether we do."""

from __future__ import annotations

import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSStream

from mailslot import Endpoint, Security
from transcripts import Client, Server

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Sequence

    from anyio.abc import ByteStream

    from transcripts import Step, Transcript

_LOST: Final = (OSError, EOFError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


class Deviation(Exception):  # noqa: N818 - it is what a client did, not what failed
    """The client did not do what is written."""


class Peer:
    """A server that plays a transcript.

    Attributes:
        endpoint: where it listens.
        connections: how many were made to it.
        playing: how many of them go on.
        deviations: what the client did otherwise than written; looked at when the peer is left.
    """

    def __init__(self, transcript: Transcript, context: ssl.SSLContext | None, port: int, *, cut: bool) -> None:
        self.endpoint = Endpoint("127.0.0.1", port, Security(transcript.security))
        self.connections = 0
        self.playing = 0
        self._idle = anyio.Event()
        self.deviations: list[str] = []
        self._scripts = transcript.at(port).connections
        self._context = context
        self._cut = cut
        self._streams: list[ByteStream] = []

    def serve(self, stream: ByteStream) -> Awaitable[None]:
        """Play the next part; a plain function, so that a connection is known before its task has begun."""
        self._streams.append(stream)
        return self._serve(stream)

    async def close(self) -> None:
        """Close all connections, also those whose tasks were cancelled before they began."""
        for stream in self._streams:
            await anyio.aclose_forcefully(stream)

    async def _serve(self, stream: ByteStream) -> None:
        number, self.connections = self.connections, self.connections + 1
        if number >= len(self._scripts):
            await anyio.aclose_forcefully(stream)
            return
        dialogue = _Dialogue(stream, self._context, cut=self._cut)
        self.playing += 1
        try:
            await dialogue.play(self._scripts[number])
        except Deviation as deviation:
            self.deviations.append(f"connection {number + 1}: {deviation}")
        finally:
            await dialogue.close()
            self.playing -= 1
            self._idle.set()

    async def played(self) -> None:
        """Wait until no connection goes on."""
        while self.playing:
            self._idle = anyio.Event()
            await self._idle.wait()


@asynccontextmanager
async def playing(
    transcript: Transcript, context: ssl.SSLContext | None = None, *, cut: bool = False
) -> AsyncIterator[Peer]:
    """Play a transcript's server until the context is left; fails where the client did otherwise than written.

    Args:
        transcript: what is to be said.
        context: the server's certificate, for TLS.
        cut: whether each octet is sent by itself.
    """
    failure: BaseException | None = None
    async with await anyio.create_tcp_listener(local_host="127.0.0.1", backlog=8) as listener:
        peer = Peer(transcript, context, listener.extra(SocketAttribute.local_port), cut=cut)
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, peer.serve)
            try:
                yield peer
                with anyio.move_on_after(60):
                    # What the client did last is still on its way.
                    await peer.played()
            except BaseException as error:  # noqa: BLE001 - raised below, so that the task group does not wrap it
                failure = error
            group.cancel_scope.cancel()
        await peer.close()
    assert not peer.deviations, f"{peer.deviations}; {failure!r}"
    if failure is not None:
        raise failure
    assert not peer.playing, "the client left its connection open"
    due = len(transcript.connections)
    assert peer.connections == due, f"{peer.connections} connections instead of {due}"


class _Dialogue:
    """One connection's part."""

    def __init__(self, stream: ByteStream, context: ssl.SSLContext | None, *, cut: bool) -> None:
        self._stream = stream
        self._socket: socket.socket = stream.extra(SocketAttribute.raw_socket)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._context = context
        self._cut = cut
        self._heard = b""

    async def play(self, steps: Sequence[Step]) -> None:
        for number, step in enumerate(steps):
            try:
                match step:
                    case Server(octets):
                        await self._say(octets)
                    case Client():
                        await self._hear(step)
                    case "tls" | "starttls":
                        await self._start_tls()
                    case "reset":
                        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        return
                    case "close":
                        return
                    case "silence":
                        break
            except _LOST as error:
                # A client may leave before the server's last words, and before nothing else.
                missed = [step.text for step in steps[number:] if isinstance(step, Client)]
                if missed:
                    raise Deviation(f"it left ({error!r}) where {missed[0]!r} was due") from None
                return
        try:
            while True:
                self._heard += await self._stream.receive()
        except _LOST:
            if self._heard:
                raise Deviation(f"{self._heard[:200]!r} where nothing was due") from None

    async def close(self) -> None:
        await anyio.aclose_forcefully(self._stream)

    async def _say(self, octets: bytes) -> None:
        for at in range(0, len(octets), 1 if self._cut else len(octets)):
            await self._stream.send(octets[at : at + 1] if self._cut else octets)

    async def _hear(self, step: Client) -> None:
        def whole() -> bool:
            return len(self._heard) >= len(step.octets) if step.is_message else b"\n" in self._heard

        with anyio.move_on_after(60) as scope:
            while not whole():
                self._heard += await self._stream.receive()
        if scope.cancelled_caught:
            raise Deviation(f"{self._heard[-200:]!r} where {step.text!r} was due")
        end = len(step.octets) if step.is_message else self._heard.index(b"\n") + 1
        heard, self._heard = self._heard[:end], self._heard[end:]
        if not (heard == step.octets if step.is_message else step.pattern.fullmatch(heard)):
            raise Deviation(f"{heard[-200:]!r} where {step.text!r}, {step.octets[-200:]!r}, was due")

    async def _start_tls(self) -> None:
        if self._heard:
            raise Deviation(f"{self._heard!r} ahead of the handshake")
        try:
            self._stream = await TLSStream.wrap(
                self._stream, server_side=True, ssl_context=self._context, standard_compatible=False
            )
        except _LOST:
            await self.close()
            raise
