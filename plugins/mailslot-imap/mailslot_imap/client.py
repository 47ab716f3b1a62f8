"""aioimaplib's protocol, fed by us: one line, or a piece of one literal, at a time.

It parses answers, keeps tags and states; the connection is not its own. So what it does not bound is bounded here, and
what it would log (tokens in base64, what the server says back, mail) is not logged.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final, cast

from aioimaplib import aioimaplib

from mailslot.wire.lines import LineBuffer
from mailslot.wire.protocol_error import RemoteProtocolError
from mailslot_imap.commands import MAX_LITERAL, PendingCommand, UnsolicitedResponse
from mailslot_imap.log_filter import quiet

MAX_LINE: Final = 65_536
"""Octets of a line; what a server says without literals is far shorter (RFC 7162 section 4 asks for 8,192)."""

MAX_PROMPTS: Final = 100
"""Prompts that nobody has read."""

_LITERAL: Final = re.compile(rb"\{([0-9]{1,15})\}$")
_ANSWER: Final = re.compile(rb"\* |\+|[A-Z0-9]+ (OK|NO|BAD)")
_BEHIND_LITERAL: Final = re.compile(rb"$|[ )]")


class Client(aioimaplib.IMAP4ClientProtocol):
    """aioimaplib's side of a connection that is somebody else's.

    Attributes:
        out: what is to be sent.
        said: the line that is being parsed.
        farewell: the words of the server's BYE; None before.
    """

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())
        self.state = aioimaplib.NONAUTH
        self.out = bytearray()
        self.said = b""
        self.farewell: str | None = None
        self._buffer = LineBuffer()
        self._literal = 0
        self._behind_literal = False
        self._held = b""

    @property
    def idle_octets(self) -> int:
        """How many octets were received and have not been parsed, or are still due for a literal."""
        return len(self._buffer) + self._literal

    def signed_in(self) -> None:
        """Allow what only whoever has signed in may ask for."""
        self.state = aioimaplib.AUTH

    def selected(self) -> None:
        """Allow what needs a folder that is open."""
        self.state = aioimaplib.SELECTED

    def receive(self, data: bytes) -> None:
        """Take octets from the connection."""
        self._buffer.feed(data)

    def take_line(self) -> bytes | None:
        """Return a line, unparsed: the greeting; None while it is incomplete."""
        return self._buffer.line(MAX_LINE)

    def parse(self) -> bytes | None:
        """Parse what comes next; return it where it is a line, ``b""`` where it belongs to a literal.

        Returns:
            None where more has to be received first.

        Raises:
            RemoteProtocolError: the server does not keep to the protocol, or to the limits.
        """
        if self._literal:
            octets = self._buffer.take()
            if not octets:
                return None
            if len(octets) > self._literal:
                self._buffer.give_back(len(octets) - self._literal)
                octets = octets[: self._literal]
            self._literal -= len(octets)
            self._behind_literal = self._literal == 0
            self._hand_over(octets)
            return b""
        rest = self._buffer.line(MAX_LINE)
        if rest is None:
            return None
        line = self._held + rest
        self._check_line(line)
        self._held, self._behind_literal = b"", False
        if (match := _LITERAL.search(line)) is not None:
            self._begin_literal(line, int(match[1]))
        self.said = line
        if line.upper().startswith(b"* BYE") and self.farewell is None:
            self.farewell = line[5:].strip().decode("utf-8", "replace")
        if not self._held:
            self._hand_over(line + b"\r\n")
        return line

    def _check_line(self, line: bytes) -> None:
        """Refuse what aioimaplib would pass over, such as the rest of a mail whose size was a lie."""
        known = _BEHIND_LITERAL if self._behind_literal else _ANSWER
        if not known.match(line):
            # It may be mail, so it is not shown.
            raise RemoteProtocolError("a line that belongs to no answer")

    def _begin_literal(self, line: bytes, size: int) -> None:
        if size == 0:
            # aioimaplib takes what follows an empty literal for a line of its own.
            self._held = line[: -len(b"{0}")] + b'""'
            if len(self._held) > MAX_LINE:
                raise RemoteProtocolError("empty literals without end")
        elif size > MAX_LITERAL and not line.startswith((b"* ", b" ", b")")):
            # aioimaplib would keep it, for nobody.
            raise RemoteProtocolError(f"a literal of {size} octets where none is allowed")
        self._literal = size

    def _hand_over(self, octets: bytes) -> None:
        try:
            with quiet:
                self.data_received(octets)
        except RemoteProtocolError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it stumbles over, the server has said it
            # Its words may quote a command, and so a secret.
            raise RemoteProtocolError(f"{type(error).__name__} while an answer was parsed") from None

    # What aioimaplib calls.

    def send(self, line: str, scrub: str | None = None) -> None:  # noqa: ARG002 - nothing is logged that needs it
        """Have a line sent."""
        self.out += line.encode() + b"\r\n"

    def _untagged_response(self, line: bytes) -> aioimaplib.Command:
        """Return whose a line is; what nobody asked for is heard by somebody who forgets it."""
        return cast("aioimaplib.Command | None", super()._untagged_response(line)) or UnsolicitedResponse(self)

    def _continuation(self, line: bytes) -> None:
        command: object = self.pending_sync_command
        if not isinstance(command, PendingCommand):
            raise RemoteProtocolError("a prompt that nobody waits for")
        if len(command.prompts) >= MAX_PROMPTS:
            raise RemoteProtocolError(f"over {MAX_PROMPTS} prompts")
        command.prompts.append(line[1:].strip())
