"""The age and lifetime of tokens, and backoff delays, on a clock that nobody can set.

A device's wall clock may be wrong, and may jump; many devices start in 1970. So a running process counts on the
monotonic clock from the time of its request. The wall clock is used only for what another process has stored.
"""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mailslot.oauth.grant import Grant, RefreshFailure

MAX_IDLE: Final = 7 * 86400.0
"""Seconds after which an unused grant is refreshed."""

_MARGIN: Final = 600.0
_JITTER: Final = 120.0
"""Up to this much is added to the margin, so that many devices do not refresh at the same time."""
_STEP: Final = 60.0
"""Seconds by which a clock may be off before that counts as a change; a ``Date`` is exact to a few."""

_HOUR: Final = 3600.0
"""Seconds after which a provider that refused permanently is asked again."""

_FIRST_PAUSE: Final = 10.0
_MAX_PAUSE: Final = 600.0
_MAX_RETRY_AFTER: Final = 86400.0

_FIRST_FORCED_PAUSE: Final = 60.0
_MAX_FORCED_PAUSE: Final = 3600.0


if sys.platform == "linux":

    def _monotonic() -> float:
        # Unlike time.monotonic, it also counts while the device sleeps.
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:
    _monotonic = time.monotonic


@dataclass(frozen=True, slots=True)
class Clocks:
    """The clocks of a device.

    Attributes:
        wall: seconds since the epoch; may be wrong, and may jump.
        monotonic: seconds since an arbitrary time; cannot be set.
        sleep: sleeps for some seconds.
    """

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = _monotonic
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep


@dataclass(frozen=True, slots=True)
class TokenTiming:
    """What is known of an access token's age, in seconds on the monotonic clock.

    Attributes:
        issued_at: when it was requested; minus infinity if its age is unknown.
        refresh_at: when it should be refreshed; infinity for never.
        expires_at: when it expires; infinity if unknown, so that it is used until a server refuses it.
    """

    issued_at: float
    refresh_at: float
    expires_at: float

    @classmethod
    def from_lifetime(cls, issued: float, lifetime: float | None, random: float) -> TokenTiming:
        """Return the timing of a token from its lifetime.

        Args:
            issued: when it was requested, on the monotonic clock.
            lifetime: seconds; None if the service did not say.
            random: from 0 to 1; how much of the jitter to add to the margin.
        """
        if lifetime is None:
            return cls(issued, math.inf, math.inf)
        margin = min(_MARGIN + _JITTER * random, lifetime / 4)
        return cls(issued, issued + lifetime - margin, issued + lifetime)

    @classmethod
    def unknown(cls) -> TokenTiming:
        """Return the timing of a token of unknown age: it is refreshed, and used if that fails."""
        return cls(-math.inf, -math.inf, math.inf)


def lifetime(grant: Grant) -> float | None:
    """Return the lifetime of the grant's access token in seconds; None if unknown."""
    return None if grant.expires_at is None else grant.expires_at - grant.renewed_at


def timing_of_stored(grant: Grant, clocks: Clocks, skew: float, random: float) -> TokenTiming:
    """Return the timing of a token that another process has stored, by the wall clock.

    Args:
        grant: the grant.
        clocks: the device's clocks.
        skew: seconds that the token service's clock is ahead of ours, if this process knows it, else 0.0. The
            difference to the skew in the grant shows whether our clock was set in between.
        random: as for `TokenTiming.from_lifetime`.
    """
    was_set = skew - grant.skew if skew else 0.0
    age = clocks.wall() - grant.renewed_at + (was_set if abs(was_set) > _STEP else 0.0)
    if age < -_STEP:
        return TokenTiming.unknown()
    return TokenTiming.from_lifetime(clocks.monotonic() - max(age, 0.0), lifetime(grant), random)


def remaining_backoff(failure: RefreshFailure, clocks: Clocks, random: float) -> float:
    """Return the seconds for which a failure that another process has stored still forbids a request.

    Args:
        failure: the failure.
        clocks: the device's clocks.
        random: from 0 to 1; how much an hour is shortened, so that many devices do not ask at the same time.
    """
    now = clocks.wall()
    if failure.retry_at is None:
        hour = _HOUR * (1 - random / 10)
        return min(max(failure.at + hour - now, 0.0), hour)
    if now < failure.at - _STEP:
        return 0.0
    return min(max(failure.retry_at - now, 0.0), failure.retry_at - failure.at)


def next_backoff(earlier: RefreshFailure | None, retry_after: float | None, random: float) -> float:
    """Return the delay in seconds after a temporary failure: doubled each time, give or take a quarter.

    Args:
        earlier: the previous failure, if it was temporary too.
        retry_after: ``Retry-After`` (RFC 9110 section 10.2.3); the delay is at least this long, up to a day.
        random: from 0 to 1.
    """
    doubled = 2 * (earlier.retry_at - earlier.at) if earlier is not None and earlier.retry_at is not None else 0.0
    pause = min(max(doubled, _FIRST_PAUSE), _MAX_PAUSE) * (0.75 + random / 2)
    return max(pause, min(retry_after or 0.0, _MAX_RETRY_AFTER))


def forced_refresh_age(forced: int) -> float:
    """Return how old a token that a mail server refused must be before it is refreshed, in seconds.

    Args:
        forced: how many refreshes in a row were forced because a token was refused. After the first, a new token did
            not help, so each further one waits longer.
    """
    return 0.0 if forced == 0 else min(_FIRST_FORCED_PAUSE * 2.0 ** min(forced - 1, 10), _MAX_FORCED_PAUSE)
