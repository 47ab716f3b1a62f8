"""A server's refusal, as a protocol describes it; ``rules.toml`` maps it to a cause."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.errors import Stage
    from mailslot.wire.reply import Reply

Protocol = Literal["SMTP", "POP3", "IMAP"]

Presented = Literal["nothing", "password", "token"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A server's refusal.

    Attributes:
        protocol: the protocol of the session.
        stage: where the server refused.
        reply: the reply that refused.
        verb: the refused command, such as ``"RCPT"``; empty if the stage alone is clear.
        presented: during authentication, the secret that was sent; `nothing` if the server refused the mechanism.
        challenge: the members of a bearer mechanism's error challenge (RFC 7628 section 3.2.2).
    """

    protocol: Protocol
    stage: Stage
    reply: Reply
    verb: str = ""
    presented: Presented | None = None
    challenge: Mapping[str, str] = field(default_factory=dict[str, str])
