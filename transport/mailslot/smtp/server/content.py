"""Receiving the content of a message by DATA or BDAT, in pieces of any size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailslot.smtp.server.events import Aborted, Content
from mailslot.smtp.server.limits import MAX_DISCARDED
from mailslot.smtp.server.replies import TOO_LARGE
from mailslot.smtp.states import Verb
from mailslot.wire.dot_stuffing import DotUnstuffer, LineEndNormalizer, NoNormalizer

if TYPE_CHECKING:
    from collections import deque

    from mailslot.smtp.server.events import Event
    from mailslot.wire.command_input import CommandInput
    from mailslot.wire.reply import Reply


class ContentReader:
    """Converts received octets to the content of a message, with CRLF line ends and without stuffed dots.

    Only CRLF ``.`` CRLF is the end of DATA, whatever other line ends are around a dot: bare CR and LF become CRLF only
    after the search for the end, and dots are stuffed again when the message is relayed. So no octets within a message
    can end it, for this server or the next one (SMTP smuggling).

    Attributes:
        received: the octets received so far.
    """

    __slots__ = ("_normalizer", "_unstuffer", "received")

    def __init__(self, *, chunked: bool, as_it_is: bool = False) -> None:
        """Begin a message.

        Args:
            chunked: whether it comes by BDAT, without stuffed dots and without an end mark.
            as_it_is: whether its line ends are kept.
        """
        self._unstuffer = None if chunked else DotUnstuffer()
        self._normalizer = NoNormalizer() if as_it_is else LineEndNormalizer()
        self.received = 0

    @property
    def size(self) -> int:
        """The octets of the content so far, as SIZE counts them (RFC 1870 section 3)."""
        return self._normalizer.size

    @property
    def done(self) -> bool:
        """Whether the end of DATA has come."""
        return self._unstuffer is not None and self._unstuffer.done

    @property
    def trailing(self) -> bytes:
        """The octets after the end of DATA in the last piece."""
        return b"" if self._unstuffer is None else self._unstuffer.trailing

    def feed(self, data: bytes) -> bytes:
        """Return the content in `data`; a few octets may be kept back until the next piece."""
        self.received += len(data)
        return self._normalizer.feed(data if self._unstuffer is None else self._unstuffer.feed(data))

    def finish(self) -> bytes:
        """Return CRLF if the last line lacks it, else nothing."""
        return self._normalizer.finish()


@dataclass(slots=True)
class Chunk:
    """A chunk whose octets are being received (RFC 3030 section 2).

    Attributes:
        verb: BDAT or BDAT LAST.
        left: the number of octets still due.
    """

    verb: Verb
    left: int


class IncomingMessage:
    """The message that is being received, or read and discarded until its reply is due.

    Attributes:
        begun: whether the caller has begun to store it.
        refusal: the refusal to send at the end of the message or chunk; None if it is not refused so far.
        chunk: the chunk that is being received; None for DATA.
        max_size: its maximum octets.
    """

    __slots__ = ("_events", "_reader", "begun", "chunk", "max_size", "refusal")

    def __init__(self, events: deque[tuple[Event, Verb | None]]) -> None:
        """Create it without a message; its events are appended to `events`."""
        self._events = events
        self._reader = ContentReader(chunked=True)
        self.begun = False
        self.refusal: Reply | None = None
        self.chunk: Chunk | None = None
        self.max_size = 0

    @property
    def size(self) -> int:
        """The octets of its content so far; 0 if there is no message."""
        return self._reader.size if self.begun else 0

    @property
    def is_discarded_too_long(self) -> bool:
        """Whether too many octets of a refused message have been read to wait for its end."""
        return self.refusal is not None and self._reader.received > self.max_size + MAX_DISCARDED

    def begin(self, max_size: int, *, chunked: bool, as_it_is: bool) -> None:
        """Begin a message that the caller stores, of at most `max_size` octets; otherwise see `ContentReader`."""
        self.max_size = max_size
        self._reader = ContentReader(chunked=chunked, as_it_is=as_it_is)
        self.begun = True

    def read(self, octets: CommandInput) -> Verb | None:
        """Read the received octets of the message or chunk; return the verb that is complete now, or None."""
        if (chunk := self.chunk) is None:
            return self._read_data(octets)
        data = octets.take(chunk.left)
        chunk.left -= len(data)
        if self.refusal is None:
            self._report(self._reader.feed(data))
        if chunk.left:
            return None
        self.chunk = None
        return chunk.verb

    def _read_data(self, octets: CommandInput) -> Verb | None:
        if octets:
            self._report(self._reader.feed(octets.take(len(octets))))
            if self._reader.done:
                octets.feed(self._reader.trailing)
                return Verb.END_OF_DATA
        return None

    def finish(self) -> Reply | None:
        """End the message: report it, or return the refusal that is due now."""
        if self.refusal is None:
            self._report(self._reader.finish())
        refusal, self.refusal = self.refusal, None
        return refusal

    def refuse(self, refusal: Reply) -> None:
        """Refuse the message, and discard its rest."""
        self.refusal = refusal
        self.abort()

    def abort(self) -> None:
        """Report that the message was aborted."""
        if self.begun:
            self.begun = False
            self._events.append((Aborted(), None))

    def _report(self, content: bytes) -> None:
        if self.refusal is None and self._reader.size > self.max_size:
            self.refuse(TOO_LARGE)
        elif content and self.refusal is None:
            self._events.append((Content(content), None))
