"""What became of a message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.wire.reply import Reply


@dataclass(frozen=True, slots=True)
class Receipt:
    """The server took the message for at least one recipient.

    Attributes:
        accepted: the addresses it answers for from now on, as they were given.
        refused: the other ones, each with the server's answer.
        reply: the answer to the whole message, often with its number in the server's queue.
    """

    accepted: tuple[str, ...]
    refused: Mapping[str, Reply]
    reply: Reply
