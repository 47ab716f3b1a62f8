"""Commands whose responses are processed line by line in bounded memory; aioimaplib would store all of them."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

from aioimaplib import aioimaplib

from mailslot.wire.protocol_error import RemoteProtocolError

MAX_LITERAL: Final = 65_536
"""Octets of a literal that is not a mail."""

MAX_RESPONSE: Final = 1_048_576
"""Octets of the responses to a command that are kept."""

MAX_LINES: Final = 10_000
"""Lines that a server may send before it completes a command that is not a listing."""

_LINE_OVERHEAD: Final = 64
"""Octets of memory that a line needs besides its own."""

MAX_MAIL: Final = 2**40
"""Octets of a mail; it is streamed, and the receiver has its own limit."""


class CommandConnection(Protocol):
    """What a command needs of its connection.

    Attributes:
        current_line: the line that is being parsed.
    """

    current_line: bytes

    def new_tag(self) -> str:
        """Return a tag that no other command has."""
        ...


class PendingCommand(aioimaplib.Command):
    """A command whose responses are processed line by line.

    Attributes:
        responses: the untagged responses, without ``* ``.
        prompts: the texts after ``+`` that were not read yet.
        completed: whether the tagged response has come.
        status: its status, ``OK``, ``NO`` or ``BAD``.
        text: the text after the status.
        line_count: how many lines the server has sent since the command.
        max_literal: the maximum octets of a literal.
        max_lines: the maximum lines.
    """

    max_literal: int = MAX_LITERAL
    max_lines: int = MAX_LINES

    def __init__(
        self, connection: CommandConnection, name: str, *arguments: str, prefix: str = "", untagged: str = ""
    ) -> None:
        super().__init__(
            name,
            connection.new_tag(),
            *arguments,
            prefix=prefix,
            untagged_resp_name=untagged,
            loop=asyncio.get_running_loop(),
        )
        self.responses: list[bytes] = []
        self.line_count = 0
        self.prompts: deque[bytes] = deque()
        self.completed = False
        self.status = ""
        self.text = b""
        self._connection = connection
        self._literal_due = 0
        self._kept_octets = 0

    def receive_line(self, line: bytes) -> None:
        """Process a line of a response."""
        self._kept_octets += len(line) + _LINE_OVERHEAD
        if self._kept_octets > MAX_RESPONSE:
            raise RemoteProtocolError(f"an answer of over {MAX_RESPONSE} octets")
        self.responses.append(line)

    def take_responses(self) -> list[bytes]:
        """Return the responses so far, and clear them."""
        responses, self.responses, self._kept_octets = self.responses, [], 0
        return responses

    def receive_octets(self, data: bytes) -> None:
        """Process a piece of a literal."""
        self.receive_line(data)

    # Overrides, called by aioimaplib.

    def append_to_resp(self, line: bytes, result: str = "Pending") -> None:
        """Process a response. aioimaplib removes every ``* ``, even within a line, so the original line is used."""
        if result != "Pending":
            super().append_to_resp(line, result)
        else:
            self.receive_line(self._connection.current_line.removeprefix(b"* "))

    def close(self, line: bytes, result: str) -> None:
        """Process the tagged response."""
        super().close(line, result)
        self.completed, self.status, self.text = True, result, bytes(line)

    def begin_literal_data(self, expected_size: int, literal_data: bytes = b"") -> bytes:
        """Begin a literal."""
        if expected_size > self.max_literal:
            raise RemoteProtocolError(f"a literal of {expected_size} octets where {self.max_literal} are allowed")
        self._literal_due = expected_size
        return self.append_literal_data(literal_data)

    def wait_literal_data(self) -> bool:
        """Tell whether more of the literal is due."""
        return self._literal_due > 0

    def append_literal_data(self, data: bytes) -> bytes:
        """Process what belongs to the literal, and return the rest."""
        literal, rest = data[: self._literal_due], data[self._literal_due :]
        self._literal_due -= len(literal)
        if literal:
            self.receive_octets(bytes(literal))
        return rest


class UnsolicitedResponse(PendingCommand):
    """The sink for unsolicited responses."""

    def __init__(self, connection: CommandConnection) -> None:
        super().__init__(connection, "NOOP")

    def receive_line(self, line: bytes) -> None:
        """Drop it."""
