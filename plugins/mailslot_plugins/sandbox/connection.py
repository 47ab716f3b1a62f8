"""A client's connection to the sandbox: reads commands, sends replies, and injects faults."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import anyio
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSStream

from mailslot.plugin import Transcript
from mailslot.wire.lines import LineBuffer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Sequence

    from anyio.abc import ByteStream

ConnectionEnd = Literal["close", "reset"]

_CHUNK_SIZE: Final = 65_536
_MAX_LINE: Final = 65_536
_RESET: Final = struct.pack("ii", 1, 0)


class ConnectionEndedError(Exception):
    """The connection is closed, by either side."""

    def __init__(self, ending: ConnectionEnd = "close") -> None:
        super().__init__(ending)
        self.ending: ConnectionEnd = ending


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault to inject at one moment of a dialogue.

    A moment is a command with its reply, named by the verb, or ``greeting``, ``TLS`` (the handshake), ``challenge``
    (each), ``sign_in`` (the reply to a finished authentication), ``content`` (before DATA's message is read) or
    ``message`` (the reply to a complete message).

    Attributes:
        at: the moment.
        nth: the number of this moment on a connection, counted from 1; 0 for every one.
        protocol: ``smtp`` or ``pop3``; empty for both.
        connection: the number of the connection of that protocol, counted from 1; 0 for every one.
        delay: seconds to wait first; ``math.inf`` for silence.
        act: False to neither execute the command nor reply.
        replace: octets to send instead of the reply.
        keep: the number of octets of the reply to send; with `ending`, the connection then closes at once.
        append: octets to send after the reply.
        split: whether to write octet by octet.
        pause: seconds between two octets that are split.
        ending: how the connection closes afterwards; None to keep it open.
    """

    at: str
    nth: int = 0
    _: KW_ONLY
    protocol: str = ""
    connection: int = 0
    delay: float = 0.0
    act: bool = True
    replace: bytes | None = None
    keep: int | None = None
    append: bytes = b""
    split: bool = False
    pause: float = 0.0
    ending: ConnectionEnd | None = None


@dataclass(slots=True)
class Dialogue:
    """The dialogue on one connection, without secrets and without messages.

    Attributes:
        protocol: ``smtp`` or ``pop3``.
        number: the number of the connection of that protocol, counted from 1.
        transcript: the transcript.
        violations: violations of standards by the client that the server tolerated.
        user: the authenticated user; None if there is none.
        tls: whether TLS is active.
    """

    protocol: str
    number: int
    transcript: Transcript = field(default_factory=Transcript)
    violations: list[str] = field(default_factory=list[str])
    user: str | None = None
    tls: bool = False

    def add_violation(self, text: str) -> None:
        """Record a violation of a standard."""
        self.violations.append(text)
        self.transcript.event(f"flaw: {text}")

    def __str__(self) -> str:
        return f"{self.protocol} connection {self.number}\n{self.transcript}"


class Connection:
    """A connection, its buffers in both directions, and its faults."""

    def __init__(self, stream: ByteStream, dialogue: Dialogue, faults: Sequence[Fault]) -> None:
        self.dialogue = dialogue
        self.port: int = stream.extra(SocketAttribute.local_port)
        self._raw: socket.socket = stream.extra(SocketAttribute.raw_socket)
        self._stream = stream
        self._faults = faults
        self._received = LineBuffer()
        self._unsent = bytearray()
        self._moment_counts: dict[str, int] = {}
        self._fault: Fault | None = None
        self._octets_left = 0

    @property
    def buffered(self) -> int:
        """The number of octets that were received and not read yet."""
        return len(self._received)

    async def read_line(self) -> bytes:
        """Return the next line without its CRLF; pending output is sent before waiting for it.

        Raises:
            ConnectionEndedError: the client closed the connection.
            RemoteProtocolError: the line ends with a bare LF, or is longer than 64 KiB.
        """
        while (read_line := self._received.next_line(_MAX_LINE)) is None:
            self._received.feed(await self._receive())
        return read_line

    async def read_octets(self) -> bytes:
        """Return at least one octet; pending output is sent before waiting."""
        return self._received.take() or await self._receive()

    def unread(self, data: bytes) -> None:
        """Push back octets that were read beyond the end."""
        self._received.feed(data)

    def reply(self, text: str) -> None:
        """Reply with one or more lines, joined with LF; an empty text sends nothing."""
        if text:
            if self._fault is None or self._fault.replace is None:
                self.dialogue.transcript.server(text)
            self.send(b"".join(read_line.encode() + b"\r\n" for read_line in text.split("\n")))

    def send(self, data: bytes) -> None:
        """Send octets that are not recorded in the transcript."""
        fault = self._fault
        if fault is not None:
            if fault.replace is not None:
                return
            if fault.keep is not None:
                data = data[: self._octets_left]
                self._octets_left -= len(data)
        self._unsent += data
        if fault is not None and fault.keep is not None and not self._octets_left and fault.ending:
            self.dialogue.transcript.event(f"a fault cuts the answer after {fault.keep} octets")
            raise ConnectionEndedError(fault.ending)

    async def flush(self) -> None:
        """Send the pending output."""
        data, self._unsent = bytes(self._unsent), bytearray()
        fault = self._fault
        step = 1 if fault is not None and fault.split else _CHUNK_SIZE
        try:
            for start in range(0, len(data), step):
                if start and fault is not None and fault.pause:
                    await anyio.sleep(fault.pause)
                await self._stream.send(data[start : start + step])
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise ConnectionEndedError from None

    async def perform(self, moment: str, act: Callable[[], Awaitable[None]]) -> None:
        """Run the action of a moment, with the fault that is planned for it."""
        nth = self._moment_counts[moment] = self._moment_counts.get(moment, 0) + 1
        fault = self._find_fault(moment, nth)
        if fault is None:
            await act()
            return
        outer, self._fault, self._octets_left = self._fault, fault, fault.keep or 0
        await self.flush()
        await anyio.sleep(fault.delay)
        ended_error: ConnectionEndedError | None = None
        try:
            if fault.act:
                await act()
        except ConnectionEndedError as raised:
            ended_error = raised
        if read_octets := (fault.replace or b"") + fault.append:
            self.dialogue.transcript.event(f"a fault sends {len(read_octets)} octets")
            self._unsent += read_octets
        await self.flush()
        self._fault = outer
        if fault.ending:
            self.dialogue.transcript.event(f"a fault ends the connection: {fault.ending}")
            raise ConnectionEndedError(fault.ending)
        if ended_error is not None:
            raise ended_error

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Perform the TLS handshake.

        Raises:
            ConnectionEndedError: it failed.
        """
        await self.flush()
        try:
            self._stream = await TLSStream.wrap(
                self._stream, server_side=True, ssl_context=context, standard_compatible=False
            )
        except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
            self.dialogue.transcript.event(f"TLS failed: {error}")
            raise ConnectionEndedError from None
        self.dialogue.tls = True
        self.dialogue.transcript.event("TLS is up")

    async def aclose(self, ending: ConnectionEnd = "close") -> None:
        """Close the connection, with FIN or with RST."""
        with anyio.CancelScope(shield=True):
            if ending == "reset":
                with suppress(OSError):  # the client may have been faster
                    self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            await anyio.aclose_forcefully(self._stream)

    async def _receive(self) -> bytes:
        await self.flush()
        try:
            return await self._stream.receive(_CHUNK_SIZE)
        except (OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise ConnectionEndedError from None

    def _find_fault(self, moment: str, nth: int) -> Fault | None:
        for fault in self._faults:
            if (
                fault.at == moment
                and fault.nth in {0, nth}
                and fault.protocol in {"", self.dialogue.protocol}
                and fault.connection in {0, self.dialogue.number}
            ):
                return fault
        return None
