"""aioimaplib's protocol, fed by us with one line, or a piece of one literal, at a time.

It parses responses and keeps tags and states; the connection is ours. So this module adds the limits that it lacks, and
suppresses its logging (tokens in base64, responses, mail).
"""

from __future__ import annotations

import asyncio
import re
from typing import Final, cast

from aioimaplib import aioimaplib

from mailslot.wire.lines import LineBuffer
from mailslot.wire.protocol_error import RemoteProtocolError
from mailslot_imap.commands import MAX_LITERAL, PendingCommand, UnsolicitedResponse
from mailslot_imap.log_filter import silenced

MAX_LINE: Final = 65_536
"""Octets of a line; real lines without literals are far shorter (RFC 7162 section 4 recommends 8,192)."""

MAX_PROMPTS: Final = 100
"""Prompts that may be queued."""

_LITERAL: Final = re.compile(rb"\{([0-9]{1,15})\}$")
_RESPONSE: Final = re.compile(rb"\* |\+|[A-Z0-9]+ (OK|NO|BAD)")
_AFTER_LITERAL: Final = re.compile(rb"$|[ )]")


class Client(aioimaplib.IMAP4ClientProtocol):
    """aioimaplib's protocol on a connection that we own.

    Attributes:
        outgoing: the octets to send.
        current_line: the line that is being parsed.
        bye_text: the text of the server's BYE; None before it.
    """

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())
        self.state = aioimaplib.NONAUTH
        self.outgoing = bytearray()
        self.current_line = b""
        self.bye_text: str | None = None
        self._buffer = LineBuffer()
        self._literal_due = 0
        self._after_literal = False
        self._incomplete_line = b""

    @property
    def unparsed_octets(self) -> int:
        """The number of octets that were received but not parsed, or that are still due for a literal."""
        return len(self._buffer) + self._literal_due

    def mark_authenticated(self) -> None:
        """Allow the commands of the authenticated state."""
        self.state = aioimaplib.AUTH

    def mark_selected(self) -> None:
        """Allow the commands of the selected state."""
        self.state = aioimaplib.SELECTED

    def receive(self, data: bytes) -> None:
        """Add received octets."""
        self._buffer.feed(data)

    def take_line(self) -> bytes | None:
        """Return the next line unparsed, for the greeting; None while it is incomplete."""
        return self._buffer.next_line(MAX_LINE)

    def parse_next(self) -> bytes | None:
        """Parse the next line or piece of a literal.

        Returns:
            the line; ``b""`` for a piece of a literal; None if more octets are needed.

        Raises:
            RemoteProtocolError: the server violated the protocol or the limits.
        """
        if self._literal_due:
            octets = self._buffer.take()
            if not octets:
                return None
            if len(octets) > self._literal_due:
                self._buffer.push_back(len(octets) - self._literal_due)
                octets = octets[: self._literal_due]
            self._literal_due -= len(octets)
            self._after_literal = self._literal_due == 0
            self._feed_aioimaplib(octets)
            return b""
        rest = self._buffer.next_line(MAX_LINE)
        if rest is None:
            return None
        line = self._incomplete_line + rest
        self._check_line(line)
        self._incomplete_line, self._after_literal = b"", False
        if (match := _LITERAL.search(line)) is not None:
            self._begin_literal(line, int(match[1]))
        self.current_line = line
        if line.upper().startswith(b"* BYE") and self.bye_text is None:
            self.bye_text = line[5:].strip().decode("utf-8", "replace")
        if not self._incomplete_line:
            self._feed_aioimaplib(line + b"\r\n")
        return line

    def _check_line(self, line: bytes) -> None:
        """Refuse lines that aioimaplib would ignore, such as the rest of a mail that is longer than announced."""
        pattern = _AFTER_LITERAL if self._after_literal else _RESPONSE
        if not pattern.match(line):
            # The line is not shown, since it may be mail.
            raise RemoteProtocolError("a line that belongs to no answer")

    def _begin_literal(self, line: bytes, size: int) -> None:
        if size == 0:
            # aioimaplib would take the text after an empty literal for a new line.
            self._incomplete_line = line[: -len(b"{0}")] + b'""'
            if len(self._incomplete_line) > MAX_LINE:
                raise RemoteProtocolError("empty literals without end")
        elif size > MAX_LITERAL and not line.startswith((b"* ", b" ", b")")):
            # aioimaplib would store it, although no command needs it.
            raise RemoteProtocolError(f"a literal of {size} octets where none is allowed")
        self._literal_due = size

    def _feed_aioimaplib(self, octets: bytes) -> None:
        try:
            with silenced:
                self.data_received(octets)
        except RemoteProtocolError:
            raise
        except Exception as error:  # noqa: BLE001 - any error in parsing is the server's fault
            # The error's message may quote a command, and so a secret.
            raise RemoteProtocolError(f"{type(error).__name__} while an answer was parsed") from None

    # Overrides, called by aioimaplib.

    def send(self, line: str, scrub: str | None = None) -> None:  # noqa: ARG002 - nothing is logged that needs it
        """Queue a line to send."""
        self.outgoing += line.encode() + b"\r\n"

    def _untagged_response(self, line: bytes) -> aioimaplib.Command:
        """Return the command to which a line belongs; an unsolicited response is dropped."""
        return cast("aioimaplib.Command | None", super()._untagged_response(line)) or UnsolicitedResponse(self)

    def _continuation(self, line: bytes) -> None:
        command: object = self.pending_sync_command
        if not isinstance(command, PendingCommand):
            raise RemoteProtocolError("a prompt that nobody waits for")
        if len(command.prompts) >= MAX_PROMPTS:
            raise RemoteProtocolError(f"over {MAX_PROMPTS} prompts")
        command.prompts.append(line[1:].strip())
