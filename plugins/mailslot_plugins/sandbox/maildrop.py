"""Maildrops, from which POP3 sessions fetch mail (RFC 1939 section 3)."""

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
        content: its octets, as received.
        size: its size with CRLF line ends, as LIST reports it.
    """

    uid: str
    content: bytes = field(repr=False)
    size: int


class Maildrop:
    """One user's maildrop.

    Attributes:
        messages: its messages, oldest first.
        removed: the messages that sessions have deleted, in order.
        locked: whether a session holds the lock (RFC 1939 section 4).
        last_sign_in: the time of the last sign-in, by the event loop's clock.
    """

    def __init__(self) -> None:
        self.messages: list[StoredMessage] = []
        self.removed: list[StoredMessage] = []
        self.locked = False
        self.last_sign_in = float("-inf")
        self._numbers = count(1)

    def add(self, content: bytes, uid: str | None = None) -> StoredMessage:
        """Add a message; a uid is generated if none is given.

        A session that is already open does not see it.
        """
        canonical = LineEndNormalizer()
        canonical.feed(content)
        canonical.finish()
        message = StoredMessage(uid or f"{next(self._numbers):08x}", content, canonical.size)
        self.messages.append(message)
        return message

    def remove(self, messages: Iterable[StoredMessage]) -> None:
        """Delete messages, as QUIT does."""
        removed_ids = {id(message) for message in messages}
        self.removed += [message for message in self.messages if id(message) in removed_ids]
        self.messages = [message for message in self.messages if id(message) not in removed_ids]
