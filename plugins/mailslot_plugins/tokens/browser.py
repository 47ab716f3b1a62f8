"""The browser flow: authorization code with this machine's browser and a loopback redirect (RFC 8252)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailslot.plugin import RefreshTokenFlow, new_grant
from mailslot_plugins.tokens.authorization import SIGN_IN_TIMEOUT, AuthorizationAttempt
from mailslot_plugins.tokens.loopback import open_loopback

if TYPE_CHECKING:
    from mailslot.plugin import AddressDisplay, Grant, OAuthClient, TokenHttp


@dataclass(frozen=True)
class BrowserFlow(RefreshTokenFlow):
    """The flow ``browser``.

    Attributes:
        timeout: seconds that the sign-in may take.
    """

    timeout: float = SIGN_IN_TIMEOUT
    name: str = "browser"

    async def obtain(self, client: OAuthClient, http: TokenHttp, person: AddressDisplay) -> Grant:
        """Show the person an address, and wait until the browser is redirected back.

        Raises:
            InputError: the provider does not allow this flow.
            TokenError: there is no token; with its cause.
        """
        client.provider.check_flow(self.name)
        async with open_loopback(client.provider.quirks.loopback_host, client.redirect_port or 0) as loopback:
            attempt = AuthorizationAttempt(client, loopback.redirect_uri)
            code = await loopback.wait_for_code(attempt, person.show_address, self.timeout)
        return new_grant(self.name, client, http, await attempt.redeem(code, http))


flow = BrowserFlow()
