"""The transcript of a dialogue, without secrets, for troubleshooting."""

from __future__ import annotations

from collections import deque
from typing import Final

from mailslot.wire.reply import printable

MAX_LINES: Final = 400
MAX_LINE: Final = 500


class Transcript:
    """The last lines of a dialogue, such as ``"C: EHLO [192.0.2.7]"``, bounded in number and length.

    Callers leave secrets out: a session records ``C: AUTH XOAUTH2`` and ``C: •••``, never the response itself, and
    masks the server's lines before it records them.
    """

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=MAX_LINES)

    def client(self, text: str) -> None:
        """Record what we sent."""
        self._append("C: ", text)

    def server(self, text: str) -> None:
        """Record what the server sent, which may be several lines."""
        for line in text.split("\n"):
            self._append("S: ", line)

    def event(self, text: str) -> None:
        """Record an event of the connection, such as the start of TLS."""
        self._append("*  ", text)

    def _append(self, mark: str, text: str) -> None:
        self._lines.append(mark + printable(text[:MAX_LINE]) + ("…" if len(text) > MAX_LINE else ""))

    @property
    def lines(self) -> list[str]:
        """The lines, oldest first."""
        return list(self._lines)

    def __str__(self) -> str:
        return "\n".join(self._lines)
