"""One client's connection: lines in, answers out, and whatever is to go wrong with them."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import anyio
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSStream

from mailslot.wire.lines import LineBuffer
from mailslot.wire.transcript import Transcript

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Sequence

    from anyio.abc import ByteStream

Ending = Literal["close", "reset"]

_PIECE: Final = 65_536
_MAX_LINE: Final = 65_536
_RESET: Final = struct.pack("ii", 1, 0)


class Hangup(Exception):  # noqa: N818 - it ends a connection and is no error
    """The connection ends, by either side."""

    def __init__(self, ending: Ending = "close") -> None:
        super().__init__(ending)
        self.ending: Ending = ending


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong at one moment of a dialogue.

    A moment is a command's verb and what is said to it, or ``greeting``, ``TLS`` (the handshake), ``challenge``
    (each), ``sign_in`` (what is said once a sign-in is complete), ``content`` (before DATA's message is read) or
    ``message`` (what is said to a complete one).

    Attributes:
        at: the moment.
        nth: which such moment of a connection, counted from 1; 0 for each.
        protocol: ``smtp`` or ``pop3``; empty for both.
        connection: which connection of that protocol, counted from 1; 0 for each.
        delay: seconds to wait first; ``math.inf`` for silence.
        act: False leaves undone what was asked for, and its answer unsaid.
        replace: octets instead of the answer.
        keep: only so many octets of the answer; with `ending`, the connection then ends at once.
        append: octets after the answer.
        split: write octet by octet.
        ending: how the connection ends afterwards; None where it goes on.
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
    ending: Ending | None = None


@dataclass(slots=True)
class Dialogue:
    """What was said on one connection, without secrets and without messages.

    Attributes:
        protocol: ``smtp`` or ``pop3``.
        number: which connection of that protocol it is, counted from 1.
        transcript: the lines.
        flaws: what the client did that a standard forbids and the server let pass.
        user: who signed in; None for nobody.
        tls: whether TLS came up.
    """

    protocol: str
    number: int
    transcript: Transcript = field(default_factory=Transcript)
    flaws: list[str] = field(default_factory=list[str])
    user: str | None = None
    tls: bool = False

    def flaw(self, text: str) -> None:
        """Note something that a standard forbids."""
        self.flaws.append(text)
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
        self._moments: dict[str, int] = {}
        self._fault: Fault | None = None
        self._room = 0

    @property
    def waiting(self) -> int:
        """How many octets were received and not read yet."""
        return len(self._received)

    async def line(self) -> bytes:
        """Return the next line without its CRLF; whatever is unsent goes out before waiting for it.

        Raises:
            Hangup: the client is gone.
            RemoteProtocolError: the line ends with a bare LF, or is longer than 64 KiB.
        """
        while (line := self._received.next_line(_MAX_LINE)) is None:
            self._received.feed(await self._receive())
        return line

    async def octets(self) -> bytes:
        """Return octets, at least one; whatever is unsent goes out before waiting for them."""
        return self._received.take() or await self._receive()

    def unread(self, data: bytes) -> None:
        """Take back octets that were read too much."""
        self._received.feed(data)

    def say(self, text: str) -> None:
        """Answer with one or more lines, joined with LF; an empty text says nothing."""
        if text:
            if self._fault is None or self._fault.replace is None:
                self.dialogue.transcript.server(text)
            self.send(b"".join(line.encode() + b"\r\n" for line in text.split("\n")))

    def send(self, data: bytes) -> None:
        """Answer with octets that are not noted in the dialogue."""
        fault = self._fault
        if fault is not None:
            if fault.replace is not None:
                return
            if fault.keep is not None:
                data = data[: self._room]
                self._room -= len(data)
        self._unsent += data
        if fault is not None and fault.keep is not None and not self._room and fault.ending:
            self.dialogue.transcript.event(f"a fault cuts the answer after {fault.keep} octets")
            raise Hangup(fault.ending)

    async def flush(self) -> None:
        """Write whatever is unsent."""
        data, self._unsent = bytes(self._unsent), bytearray()
        step = 1 if self._fault is not None and self._fault.split else _PIECE
        try:
            for start in range(0, len(data), step):
                await self._stream.send(data[start : start + step])
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise Hangup from None

    async def during(self, moment: str, act: Callable[[], Awaitable[None]]) -> None:
        """Do what a moment asks for, with the fault that is planned for it."""
        nth = self._moments[moment] = self._moments.get(moment, 0) + 1
        fault = self._plan(moment, nth)
        if fault is None:
            await act()
            return
        outer, self._fault, self._room = self._fault, fault, fault.keep or 0
        await self.flush()
        await anyio.sleep(fault.delay)
        hangup: Hangup | None = None
        try:
            if fault.act:
                await act()
        except Hangup as raised:
            hangup = raised
        if octets := (fault.replace or b"") + fault.append:
            self.dialogue.transcript.event(f"a fault sends {len(octets)} octets")
            self._unsent += octets
        await self.flush()
        self._fault = outer
        if fault.ending:
            self.dialogue.transcript.event(f"a fault ends the connection: {fault.ending}")
            raise Hangup(fault.ending)
        if hangup is not None:
            raise hangup

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Make the handshake.

        Raises:
            Hangup: it failed.
        """
        await self.flush()
        try:
            self._stream = await TLSStream.wrap(
                self._stream, server_side=True, ssl_context=context, standard_compatible=False
            )
        except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
            self.dialogue.transcript.event(f"TLS failed: {error}")
            raise Hangup from None
        self.dialogue.tls = True
        self.dialogue.transcript.event("TLS is up")

    async def aclose(self, ending: Ending = "close") -> None:
        """Close, with FIN or with RST, whatever is going on."""
        with anyio.CancelScope(shield=True):
            if ending == "reset":
                with suppress(OSError):  # the client may have been faster
                    self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            await anyio.aclose_forcefully(self._stream)

    async def _receive(self) -> bytes:
        await self.flush()
        try:
            return await self._stream.receive(_PIECE)
        except (OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise Hangup from None

    def _plan(self, moment: str, nth: int) -> Fault | None:
        for fault in self._faults:
            if (
                fault.at == moment
                and fault.nth in {0, nth}
                and fault.protocol in {"", self.dialogue.protocol}
                and fault.connection in {0, self.dialogue.number}
            ):
                return fault
        return None
