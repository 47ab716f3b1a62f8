"""The response of a token service, after HTTP and before OAuth."""

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
        json: the members of the JSON object in the body; None where the body is no JSON object. In a refusal,
            whatever it repeats of the request's secrets and of tokens beside it is masked.
        retry_after: seconds to wait, by ``Retry-After``; None where it did not say.
        date_skew: seconds that the service's clock is ahead of ours, by ``Date``, exact to about a second;
            None where it did not say.
        host: who was asked.
        refresh_token: the refresh token that could be made out in a body of 2xx that is no JSON object.
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
