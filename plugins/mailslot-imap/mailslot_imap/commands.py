"""Commands whose answers are heard line by line, in bounded memory; aioimaplib would keep all that is said."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

from aioimaplib import aioimaplib

from mailslot.wire.protocol_error import RemoteProtocolError

MAX_LITERAL: Final = 65_536
"""Octets of a literal in an answer that is no mail."""

MAX_ANSWER: Final = 1_048_576
"""Octets of an answer that are kept."""

MAX_LINES: Final = 10_000
"""Lines that a server says until it has answered a command that lists nothing."""

_LINE: Final = 64
"""Octets that a line takes besides its own."""

MAX_MAIL: Final = 2**40
"""Octets of a mail; it is handed on piece by piece, and its receiver has a limit of its own."""


class Connection(Protocol):
    """What a command needs of the connection that it goes out on.

    Attributes:
        said: the line that is being parsed.
    """

    said: bytes

    def new_tag(self) -> str:
        """Return a tag that no other command has."""
        ...


class PendingCommand(aioimaplib.Command):
    """A command whose answer is heard line by line.

    Attributes:
        heard: what the server said to it, without ``* ``.
        prompts: what it said behind ``+``, and nobody has read.
        ended: whether the tagged answer is in.
        result: its first word, ``OK``, ``NO`` or ``BAD``.
        words: what stands behind it.
        lines: how many lines the server has said since it was sent.
        most: octets of the largest literal that is taken.
        most_lines: how many lines it may say.
    """

    most: int = MAX_LITERAL
    most_lines: int = MAX_LINES

    def __init__(
        self, connection: Connection, name: str, *arguments: str, prefix: str = "", untagged: str = ""
    ) -> None:
        super().__init__(
            name,
            connection.new_tag(),
            *arguments,
            prefix=prefix,
            untagged_resp_name=untagged,
            loop=asyncio.get_running_loop(),
        )
        self.heard: list[bytes] = []
        self.lines = 0
        self.prompts: deque[bytes] = deque()
        self.ended = False
        self.result = ""
        self.words = b""
        self._connection = connection
        self._due = 0
        self._kept = 0

    def hear(self, line: bytes) -> None:
        """Take a line of the answer."""
        self._kept += len(line) + _LINE
        if self._kept > MAX_ANSWER:
            raise RemoteProtocolError(f"an answer of over {MAX_ANSWER} octets")
        self.heard.append(line)

    def take(self) -> list[bytes]:
        """Return what was heard, and forget it."""
        heard, self.heard, self._kept = self.heard, [], 0
        return heard

    def hear_octets(self, data: bytes) -> None:
        """Take a piece of a literal."""
        self.hear(data)

    # What aioimaplib calls.

    def append_to_resp(self, line: bytes, result: str = "Pending") -> None:
        """Take what was parsed; it has every ``* `` taken out, those within a line too, so the line itself is read."""
        if result != "Pending":
            super().append_to_resp(line, result)
        else:
            self.hear(self._connection.said.removeprefix(b"* "))

    def close(self, line: bytes, result: str) -> None:
        """Take the tagged answer."""
        super().close(line, result)
        self.ended, self.result, self.words = True, result, bytes(line)

    def begin_literal_data(self, expected_size: int, literal_data: bytes = b"") -> bytes:
        """Begin a literal."""
        if expected_size > self.most:
            raise RemoteProtocolError(f"a literal of {expected_size} octets where {self.most} are allowed")
        self._due = expected_size
        return self.append_literal_data(literal_data)

    def wait_literal_data(self) -> bool:
        """Tell whether more of it is due."""
        return self._due > 0

    def append_literal_data(self, data: bytes) -> bytes:
        """Take what belongs to the literal, and return the rest."""
        mine, rest = data[: self._due], data[self._due :]
        self._due -= len(mine)
        if mine:
            self.hear_octets(bytes(mine))
        return rest


class UnsolicitedResponse(PendingCommand):
    """What nobody asked for."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, "NOOP")

    def hear(self, line: bytes) -> None:
        """Forget it."""
