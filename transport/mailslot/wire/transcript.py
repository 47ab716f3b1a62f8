"""What both sides said, kept for the people who look into a fault, with every secret removed."""

from __future__ import annotations

from collections import deque
from typing import Final

from mailslot.wire.reply import printable

MAX_LINES: Final = 400
MAX_LINE: Final = 500


class Transcript:
    """The last lines of a dialogue, such as ``"C: EHLO [192.0.2.7]"``, bounded in number and length.

    Lines come in without their secrets: a session writes ``C: AUTH XOAUTH2`` and ``C: •••``, never the
    response itself, and masks what the server says before it is noted.
    """

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=MAX_LINES)

    def client(self, text: str) -> None:
        """Note what we sent."""
        self._note("C: ", text)

    def server(self, text: str) -> None:
        """Note what the server sent; each of its lines becomes one of ours."""
        for line in text.split("\n"):
            self._note("S: ", line)

    def event(self, text: str) -> None:
        """Note what happened to the connection itself, such as TLS coming up."""
        self._note("*  ", text)

    def _note(self, mark: str, text: str) -> None:
        self._lines.append(mark + printable(text[:MAX_LINE]) + ("…" if len(text) > MAX_LINE else ""))

    @property
    def lines(self) -> list[str]:
        """The lines, oldest first."""
        return list(self._lines)

    def __str__(self) -> str:
        return "\n".join(self._lines)
