"""The attempts of one refresh: how often it is tried at once, and with which refresh token."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mailslot.oauth.token_error_table import Remedy
from mailslot.oauth.token_errors import DEVICE_CODE_BLOCKED, TokenServiceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mailslot.oauth.grant import Grant
    from mailslot.oauth.timing import Clocks

_RETRY_DELAYS: Final = (0.5, 3.0)
"""Seconds before a request whose response was lost is repeated."""

_RETRY_WINDOW: Final = 60.0
"""Seconds from the first request; providers that tolerate a second use of a refresh token do so for about as long."""


class RefreshAttempts:
    """One refresh, with as many requests as it takes.

    Args:
        request: sends one request, with the refresh token of its argument.
        grant: the grant.
        clocks: the device's clocks.
    """

    def __init__(self, request: Callable[[Grant], Awaitable[Grant]], grant: Grant, clocks: Clocks) -> None:
        self._request = request
        self._grant = grant
        self._clocks = clocks

    async def with_newest(self) -> Grant:
        """Refresh with the newest refresh token; if the response is lost, ask at most twice more.

        A response without a usable access token may still contain a new refresh token. It is used from then on, since
        a strict provider revokes a grant whose old one is used again (RFC 9700 section 4.14.2).

        Raises:
            TokenError: it could not be refreshed.
        """
        begun, pauses = self._clocks.monotonic(), iter(_RETRY_DELAYS)
        while True:
            try:
                return await self._request(self._grant)
            except TokenServiceError as error:
                self._grant = self._grant.with_refresh_token(error.refresh_token)
                pause = max(next(pauses, _RETRY_WINDOW), error.retry_after or 0.0)
                if not error.response_lost or self._clocks.monotonic() - begun + pause >= _RETRY_WINDOW:
                    raise
            await self._clocks.sleep(pause)

    async def with_previous(self, refusal: TokenServiceError) -> Grant:
        """Refresh with the previous refresh token, since the provider has rejected the newest one.

        A service that was restored from a backup does not know the newest one. The attempt does no harm: a provider
        that revokes a grant whose refresh token is used twice has revoked this one already.

        Raises:
            TokenError: `refusal`, or why the provider could not be asked.
        """
        if self._grant.previous_refresh_token is None:
            raise refusal
        self._grant = replace(
            self._grant, refresh_token=self._grant.previous_refresh_token, previous_refresh_token=None
        )
        try:
            return await self.with_newest()
        except TokenServiceError as second:
            raise second if second.remedy is Remedy.WAIT else refusal from None


def is_invalid_grant(error: TokenServiceError) -> bool:
    """Whether the provider says that it does not know the refresh token, or no longer.

    It is not if the provider refuses it because of a rule against device codes.
    """
    by_rule = error.cause == DEVICE_CODE_BLOCKED
    return error.remedy is Remedy.NEW_GRANT and error.error in {"invalid_grant", None} and not by_rule
