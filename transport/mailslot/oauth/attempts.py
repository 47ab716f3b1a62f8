"""How often a renewal is tried at once, and with which renewal token."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.oauth.faults import Kind, TokenServiceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mailslot.oauth.grant import Grant

_AGAIN: Final = (0.5, 3.0)
"""Seconds before a request whose answer was lost is made again."""

_WITHIN: Final = 60.0
"""Seconds from the first request; providers that forgive a renewal token's second use do so for about as long."""


async def with_either(attempt: Callable[[Grant], Awaitable[Grant]], grant: Grant, steady: Callable[[], float]) -> Grant:
    """Renew with the newest renewal token; where the provider does not know that one, with the one before.

    The newest is unknown to a service that came back from a backup. There is nothing to lose then: a provider that
    ends a grant whose renewal token is used twice has ended this one already.

    Args:
        attempt: renews a grant, once.
        grant: the grant.
        steady: a clock that is never set.

    Raises:
        TokenError: it could not be renewed.
    """
    try:
        return await _with_newest(attempt, grant, steady)
    except TokenServiceError as error:
        if error.error != "invalid_grant" or error.kind is not Kind.GONE or grant.previous_refresh_token is None:
            raise
        earlier = replace(grant, refresh_token=grant.previous_refresh_token, previous_refresh_token=None)
        try:
            return await _with_newest(attempt, earlier, steady)
        except TokenServiceError as second:
            raise second if second.kind is Kind.PASSING else error from None


async def _with_newest(
    attempt: Callable[[Grant], Awaitable[Grant]], grant: Grant, steady: Callable[[], float]
) -> Grant:
    """Renew; where the answer was lost, at most twice more, with the same renewal token."""
    begun, pauses = steady(), iter(_AGAIN)
    while True:
        try:
            return await attempt(grant)
        except TokenServiceError as error:
            pause = max(next(pauses, _WITHIN), error.retry_after or 0.0)
            if not error.answer_lost or steady() - begun + pause >= _WITHIN:
                raise
        await anyio.sleep(pause)
