"""The authorization code flow in the panel: the response comes by redirect, or is pasted by the person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.errors import TokenError
from mailslot.oauth.refresh_token_flow import RefreshTokenFlow
from mailslot.oauth.token_response import new_grant
from mailslot_plugins.tokens.authorization import SIGN_IN_TIMEOUT, AuthorizationAttempt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mailslot.oauth.client import OAuthClient
    from mailslot.oauth.flow import AddressDisplay
    from mailslot.oauth.grant import Grant
    from mailslot.oauth.http import TokenHttp

TIMED_OUT: Final = "late"
"""The detail of the error for a sign-in that was not finished in time."""


class PendingAuthorization:
    """An authorization request that waits for its response."""

    def __init__(self, attempt: AuthorizationAttempt) -> None:
        self.attempt = attempt
        self._response: Mapping[str, str] | None = None
        self._received = anyio.Event()

    def accept(self, parameters: Mapping[str, str]) -> bool:
        """Accept the parameters of a redirect if they match and are the first; return whether they were accepted."""
        if self._response is not None or not self.attempt.matches(parameters):
            return False
        self._response = parameters
        self._received.set()
        return True

    async def wait(self, within: float) -> Mapping[str, str]:
        """Wait for the response, at most `within` seconds.

        Raises:
            TokenError: there was none in time.
        """
        with anyio.move_on_after(within):
            await self._received.wait()
        if self._response is None:
            sentence = f"Nobody finished the sign-in within {within / 60:.0f} minutes."
            raise TokenError(sentence, cause="token_not_retrieved", detail=TIMED_OUT)
        return self._response


@dataclass(frozen=True)
class PanelFlow(RefreshTokenFlow):
    """The flows ``browser`` and ``paste`` in the panel.

    Attributes:
        name: the name of the flow.
        redirect_uri: the redirect URI for the response.
        on_pending: called with the pending authorization before the person is shown the address.
        within: seconds that the sign-in may take.
    """

    name: str
    redirect_uri: str
    on_pending: Callable[[PendingAuthorization], None]
    within: float = SIGN_IN_TIMEOUT

    async def obtain(self, client: OAuthClient, http: TokenHttp, person: AddressDisplay) -> Grant:
        """Show the person the authorization address, and wait for the response.

        Raises:
            InputError: the provider does not allow this flow.
            TokenError: there is no token.
        """
        client.provider.check_flow(self.name)
        pending = PendingAuthorization(AuthorizationAttempt(client, self.redirect_uri))
        self.on_pending(pending)
        await person.show_address(pending.attempt.url)
        code = pending.attempt.code(await pending.wait(self.within))
        return new_grant(self.name, client, http, await pending.attempt.redeem(code, http))
