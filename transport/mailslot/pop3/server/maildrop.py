"""The messages of a maildrop in one session: fixed message numbers, and deletion marks (RFC 1939 section 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Message:
    """A message.

    Attributes:
        id: the backend's identifier.
        uid: its unique-id: 1 to 70 characters from ``!`` to ``~`` (RFC 1939 section 7).
        size: its octets, with CRLF line ends.
    """

    id: int
    uid: str
    size: int


class MarkedMessages:
    """The messages of a session, by their numbers.

    Args:
        messages: the messages in the order of their numbers, from 1.
    """

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = messages
        self._marked: set[int] = set()
        self._octets = sum(message.size for message in messages)

    def find(self, number: int) -> Message | None:
        """Return a message; None if there is no such number, or the message is marked."""
        if not 1 <= number <= len(self._messages) or number in self._marked:
            return None
        return self._messages[number - 1]

    def mark(self, number: int) -> bool:
        """Mark a message for deletion; return whether there was one."""
        message = self.find(number)
        if message is None:
            return False
        self._marked.add(number)
        self._octets -= message.size
        return True

    def unmark_all(self) -> None:
        """Remove all marks."""
        self._octets += sum(message.size for message in self.marked)
        self._marked.clear()

    @property
    def total_count(self) -> int:
        """The number of messages, marked or not."""
        return len(self._messages)

    @property
    def marked(self) -> tuple[Message, ...]:
        """The marked messages."""
        return tuple(self._messages[number - 1] for number in sorted(self._marked))

    @property
    def count(self) -> int:
        """The number of unmarked messages."""
        return len(self._messages) - len(self._marked)

    @property
    def octets(self) -> int:
        """The octets of the unmarked messages."""
        return self._octets

    def sizes(self) -> list[str]:
        """Return the scan listings of all unmarked messages."""
        return [f"{number} {message.size}" for number, message in self._numbered()]

    def uids(self) -> list[str]:
        """Return the unique-id listings of all unmarked messages."""
        return [f"{number} {message.uid}" for number, message in self._numbered()]

    def _numbered(self) -> list[tuple[int, Message]]:
        return [each for each in enumerate(self._messages, 1) if each[0] not in self._marked]
