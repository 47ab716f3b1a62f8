"""Backoff after failed refreshes, so that a provider is not asked again and again.

A provider that once says that it does not know the refresh token may have a fault of its own, so it is asked again a
few seconds later. Only then does the grant count as dead. Since providers recover, and administrators act without
telling this device, the provider is then asked once an hour for some days, whenever the token is needed. That does no
harm: the refused refresh token was never used successfully, and a provider that ends grants for such a request has
ended this one already.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from mailslot.errors import TokenError
from mailslot.oauth.grant import RefreshFailure
from mailslot.oauth.timing import next_backoff, remaining_backoff
from mailslot.oauth.token_errors import TokenServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot.oauth.grant import Grant
    from mailslot.oauth.timing import Clocks

CONFIRM_AFTER: Final = 5.0
"""Seconds after which a provider that rejected the refresh token is asked once more."""

MAX_REFUSALS: Final = 72
"""Refusals in a row after which the provider is asked again only at a person's request; at one an hour, three days."""


class RefreshBackoff:
    """The backoff of one token source; what other processes must know is in the grant.

    Args:
        clocks: the device's clocks.
        random: returns a number from 0 to 1.
    """

    def __init__(self, clocks: Clocks, random: Callable[[], float]) -> None:
        self._clocks = clocks
        self._random = random
        self._pause: tuple[RefreshFailure, float] | None = None

    def next_failure(self, earlier: RefreshFailure | None, error: TokenError) -> RefreshFailure:
        """Return the failure to store after a refresh has failed.

        Args:
            earlier: the previous failure with the same settings; None if there was none.
            error: why it failed.
        """
        now, refusals = self._clocks.wall(), 0 if earlier is None else earlier.refusals
        if not error.retryable:
            return RefreshFailure(error.cause, str(error), error.detail, now, None, refusals=refusals + 1)
        retry_after = error.retry_after if isinstance(error, TokenServiceError) else None
        pause = next_backoff(None if earlier is None or earlier.unconfirmed else earlier, retry_after, self._random())
        return self._start_pause(
            RefreshFailure(error.cause, str(error), error.detail, now, now + pause, refusals=refusals), pause
        )

    def unconfirmed_failure(self, error: TokenServiceError) -> RefreshFailure:
        """Return the failure to store after a first refusal, which must still be confirmed."""
        now = self._clocks.wall()
        sentence = "The token service refused to renew the token. It is asked once more, in case that was a mistake."
        failure = RefreshFailure(
            "token_service_busy", sentence, error.detail, now, now + CONFIRM_AFTER, refusals=1, unconfirmed=True
        )
        return self._start_pause(failure, CONFIRM_AFTER)

    def remaining(self, failure: RefreshFailure) -> float:
        """Return the seconds until the provider may be asked again; infinity if only at a person's request."""
        if self._pause is None or self._pause[0] != failure:
            if failure.retry_at is None and failure.refusals > MAX_REFUSALS:
                return math.inf
            self._start_pause(failure, remaining_backoff(failure, self._clocks, self._random()))
        return max(self._pause[1] - self._clocks.monotonic(), 0.0) if self._pause else 0.0

    def remembered_error(self, grant: Grant, settings: str) -> TokenError | None:
        """Return the stored failure as an error if the provider must not be asked now; None if it may be.

        Args:
            grant: the grant.
            settings: the digest of the current settings; a failure with other settings does not count.
        """
        failure = grant.failure
        if failure is None or failure.unconfirmed or grant.settings != settings:
            return None
        if self.remaining(failure) <= 0:
            return None
        return TokenError(
            failure.sentence,
            cause=failure.cause,
            retryable=failure.retry_at is not None,
            detail=failure.detail,
        )

    def _start_pause(self, failure: RefreshFailure, pause: float) -> RefreshFailure:
        self._pause = (failure, self._clocks.monotonic() + pause)
        return failure
