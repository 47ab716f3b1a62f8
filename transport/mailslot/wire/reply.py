"""A server's reply, for SMTP and POP3 alike."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reply:
    """One complete reply of a mail server.

    Attributes:
        code: the SMTP reply code, 200 to 599; None for POP3 (RFC 5321 section 4.2).
        enhanced: SMTP's enhanced status code such as ``"5.7.8"`` (RFC 3463), or POP3's response code
            such as ``"IN-USE"`` or ``"SYS/TEMP"`` in capitals (RFC 2449 section 8); None without one.
        text: the text, without code and enhanced code; lines are joined with ``"\\n"``.
        positive: whether it is 2xx, 3xx or ``+OK``.
    """

    code: int | None
    enhanced: str | None
    text: str
    positive: bool

    @property
    def one_line(self) -> str:
        """The text on one line, for a sentence; without text, the enhanced code or the code."""
        return " ".join(self.text.split()) or self.enhanced or str(self.code or "no reason given")

    def __str__(self) -> str:
        head = str(self.code) if self.code is not None else ("+OK" if self.positive else "-ERR")
        enhanced = "" if self.enhanced is None else self.enhanced
        if enhanced and self.code is None:
            enhanced = f"[{enhanced}]"
        return " ".join(part for part in (head, enhanced, self.text) if part)


def printable(text: str) -> str:
    """Return `text` with tabs replaced by spaces, and other unprintable characters by U+FFFD."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
