"""A server's input buffer: lines or pieces of the received octets, in linear time and bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailslot.wire.reply import Reply


class CommandInput:
    """Received octets.

    A command line ends with CRLF, or with a bare LF, as some devices send it. This is harmless here, since the end of a
    message is detected elsewhere (`mailslot.smtp.server.content`).
    """

    __slots__ = ("_data", "_searched", "_skipping")

    def __init__(self) -> None:
        self._data = bytearray()
        self._searched = 0
        self._skipping = False

    def __len__(self) -> int:
        return len(self._data)

    @property
    def begins_with_tls(self) -> bool:
        """Whether the next octets are a TLS handshake (RFC 8446 section 5.1)."""
        return self._data.startswith(b"\x16\x03")

    def feed(self, data: bytes) -> None:
        """Add octets."""
        self._data += data

    def clear(self) -> None:
        """Remove all octets."""
        self._data.clear()
        self._searched = 0

    def next_line(self, limit: int) -> bytes | None:
        """Return the next line without its end; None while it is incomplete.

        The rest of an overlong line is skipped first.

        Args:
            limit: the maximum octets of a line, including its end.

        Raises:
            LineTooLongError: the line is longer; it is removed.
        """
        end = self._data.find(b"\n", self._searched)
        if self._skipping and end >= 0:
            del self._data[: end + 1]
            self._skipping, self._searched = False, 0
            end = self._data.find(b"\n")
        if end < 0:
            if self._skipping or len(self._data) >= limit:
                too_long, self._skipping = not self._skipping, True
                self.clear()
                if too_long:
                    raise LineTooLongError
            self._searched = len(self._data)
            return None
        line = bytes(self._data[:end])
        del self._data[: end + 1]
        self._searched = 0
        if len(line) >= limit:
            raise LineTooLongError
        return line.removesuffix(b"\r")

    def take(self, count: int) -> bytes:
        """Return up to `count` octets, and remove them."""
        with memoryview(self._data) as view:
            data = bytes(view[:count])
        del self._data[:count]
        self._searched = 0
        return data


class LineTooLongError(Exception):
    """A command line is longer than allowed."""


class CommandError(Exception):
    """A command cannot be parsed or executed.

    Attributes:
        reply: the reply to the command.
    """

    def __init__(self, answer: Reply) -> None:
        super().__init__(str(answer))
        self.reply = answer


@dataclass(frozen=True, slots=True)
class Command:
    """A command line.

    Attributes:
        verb: its first word, in capitals.
        argument: the rest, without surrounding blanks.
    """

    verb: str
    argument: str
