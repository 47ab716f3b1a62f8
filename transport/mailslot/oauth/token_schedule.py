"""The schedule of a token source: whether its access token can be used, and whether it is due for a refresh."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mailslot.oauth.timing import MAX_IDLE, Clocks, TokenTiming, forced_refresh_age, timing_of_stored

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot.oauth.grant import Grant
    from mailslot.wire.secret import Secret


class TokenSchedule:
    """The timings of the newest access tokens; for a token from another process, it is derived from the grant.

    Args:
        clocks: the device's clocks.
        random: returns a number from 0 to 1.
        skew: returns the seconds that the token service's clock is ahead of ours, 0.0 if unknown.
    """

    def __init__(self, clocks: Clocks, random: Callable[[], float], skew: Callable[[], float]) -> None:
        self._clocks = clocks
        self._random = random
        self._skew = skew
        self._timings: dict[Secret, TokenTiming] = {}

    def record(self, grant: Grant, timing: TokenTiming) -> None:
        """Record the timing of a grant's access token."""
        if grant.access_token is not None:
            # A late task may still ask for the previous one.
            latest = list(self._timings.items())[-1:]
            self._timings = dict([*latest, (grant.access_token, timing)])

    def is_usable(self, grant: Grant, refused: Secret | None) -> bool:
        """Whether a grant's access token has not expired and is not the one that a server refused."""
        if grant.access_token is None or grant.access_token == refused:
            return False
        return self._clocks.monotonic() < self._timing(grant).expires_at

    def is_due(self, grant: Grant, refused: Secret | None) -> bool:
        """Whether a grant is to be refreshed now: it expires soon, was refused, or was not used for long."""
        timing, now = self._timing(grant), self._clocks.monotonic()
        if now >= timing.refresh_at:
            return True
        if refused is not None and grant.access_token == refused:
            return now - timing.issued_at >= forced_refresh_age(grant.forced)
        return self.is_idle(grant)

    def is_idle(self, grant: Grant) -> bool:
        """Whether a grant was not used for so long that its refresh token might expire."""
        age = self._clocks.monotonic() - self._timing(grant).issued_at
        return grant.refresh_token is not None and age >= MAX_IDLE

    def seconds_until_refresh(self, grant: Grant, *, in_use: bool) -> float:
        """Return after how many seconds a grant is to be refreshed; infinity for never.

        Args:
            grant: the grant.
            in_use: whether its access token is needed all the time; otherwise only what `is_idle` says counts.
        """
        timing = self._timing(grant)
        due = timing.issued_at + MAX_IDLE if grant.refresh_token is not None else math.inf
        return max(min(due, timing.refresh_at if in_use else math.inf) - self._clocks.monotonic(), 0.0)

    def _timing(self, grant: Grant) -> TokenTiming:
        if grant.access_token is None:
            return TokenTiming.unknown()
        if grant.access_token not in self._timings:
            self.record(grant, timing_of_stored(grant, self._clocks, self._skew(), self._random()))
        return self._timings[grant.access_token]
