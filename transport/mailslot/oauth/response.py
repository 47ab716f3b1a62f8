"""The response of a token service at the level of HTTP and JSON, before it is parsed as OAuth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.wire.secret import Secret


@dataclass(frozen=True, slots=True)
class TokenServiceResponse:
    """The response of a token service.

    Attributes:
        status: the HTTP status, 200 to 299 or 400 to 599.
        json: the members of the JSON object in the body; None if the body is not a JSON object. In a refusal, repeated
            secrets of the request, and tokens, are masked.
        retry_after: the seconds in ``Retry-After``; None without it.
        date_skew: seconds that the service's clock is ahead of ours, according to ``Date``, accurate to about a second;
            None without it.
        host: the host of the service.
        refresh_token: the refresh token found in a 2xx body that is not a complete JSON object; None if there is none.
    """

    status: int
    json: Mapping[str, object] | None
    retry_after: float | None = None
    date_skew: float | None = None
    host: str = ""
    refresh_token: Secret | None = None

    @property
    def ok(self) -> bool:
        """Whether the request succeeded (2xx)."""
        return 200 <= self.status < 300
