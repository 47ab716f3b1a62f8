"""The receipt for a submitted message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.wire.reply import Reply


@dataclass(frozen=True, slots=True)
class Receipt:
    """The server accepted the message for at least one recipient.

    Attributes:
        accepted: the accepted addresses, as the caller gave them.
        refused: the other addresses, each with the server's reply.
        reply: the reply to the whole message, often with its queue id.
    """

    accepted: tuple[str, ...]
    refused: Mapping[str, Reply]
    reply: Reply
