"""How a sign-in ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.wire.reply import Reply


@dataclass(frozen=True, slots=True)
class AuthenticationResult:
    """How a sign-in ended.

    Attributes:
        accepted: whether the server said yes and could be believed.
        reply: its last word.
        reasons: a bearer refusal's JSON, empty where it was not readable; None where there was none.
        presented: whether the credentials were sent; else the mechanism itself was refused.
    """

    accepted: bool
    reply: Reply
    reasons: Mapping[str, str] | None
    presented: bool = True
