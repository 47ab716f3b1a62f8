"""The result of an authentication."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.wire.reply import Reply


@dataclass(frozen=True, slots=True)
class AuthenticationResult:
    """The result of an authentication.

    Attributes:
        accepted: whether the server accepted it.
        reply: the final reply; if the connection was lost before it, the reply with the error challenge.
        error_challenge: the error challenge of a bearer mechanism; empty if it could not be parsed, None without one.
        credentials_sent: whether the credentials were sent; otherwise the mechanism itself was refused.
    """

    accepted: bool
    reply: Reply
    error_challenge: Mapping[str, str] | None
    credentials_sent: bool = True
