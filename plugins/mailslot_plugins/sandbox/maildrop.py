"""Maildrops: where mail lies until a POP3 session takes it away (RFC 1939 section 3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from mailslot.wire.dot_stuffing import LineEndNormalizer

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One message in a maildrop.

    Attributes:
        uid: its unique-id, 1 to 70 characters (RFC 1939 section 7).
        content: its octets, as they came.
        size: its octets once every line ends with CRLF, as LIST gives them.
    """

    uid: str
    content: bytes = field(repr=False)
    size: int


class Maildrop:
    """What one user's POP3 sessions see.

    Attributes:
        messages: what is in it, oldest first.
        removed: what sessions have removed, in that order.
        locked: whether a session has it (RFC 1939 section 4).
        last_sign_in: when a session last had it, in seconds of the event loop's clock.
    """

    def __init__(self) -> None:
        self.messages: list[StoredMessage] = []
        self.removed: list[StoredMessage] = []
        self.locked = False
        self.last_sign_in = float("-inf")
        self._numbers = count(1)

    def add(self, content: bytes, uid: str | None = None) -> StoredMessage:
        """Put a message in; the uid is made up where none is given.

        A session that is under way does not see it.
        """
        canonical = LineEndNormalizer()
        canonical.feed(content)
        canonical.finish()
        message = StoredMessage(uid or f"{next(self._numbers):08x}", content, canonical.size)
        self.messages.append(message)
        return message

    def remove(self, messages: Iterable[StoredMessage]) -> None:
        """Take messages out for good, as QUIT does with those that were deleted."""
        gone = {id(message) for message in messages}
        self.removed += [message for message in self.messages if id(message) in gone]
        self.messages = [message for message in self.messages if id(message) not in gone]
