"""What a protocol knows of a refusal; which cause that is stands in ``rules.toml``."""

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
    """A server said no.

    Attributes:
        protocol: the protocol that was spoken.
        stage: where the server refused.
        reply: its last word.
        verb: the command that was refused, such as ``"RCPT"``; empty where the stage tells enough.
        presented: at the sign-in, which secret the server had been given; `nothing` where it refused the mechanism.
        challenge: the members of a bearer mechanism's error challenge (RFC 7628 section 3.2.2).
    """

    protocol: Protocol
    stage: Stage
    reply: Reply
    verb: str = ""
    presented: Presented | None = None
    challenge: Mapping[str, str] = field(default_factory=dict[str, str])
