"""The client credentials grant: the application authenticates with a secret or certificate (RFC 6749 section 4.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailslot.plugin import InputError, new_grant, refreshed_grant, request_token

if TYPE_CHECKING:
    from mailslot.plugin import Grant, OAuthClient, TokenHttp, TokenResponse


@dataclass(frozen=True)
class AppFlow:
    """The flow ``app``. `mailslot.oauth.http.TokenHttp.post` authenticates the client."""

    name: str = "app"

    async def obtain(self, client: OAuthClient, http: TokenHttp, person: object) -> Grant:  # noqa: ARG002 - no person is needed
        """Request a token.

        Raises:
            InputError: the provider does not allow this flow, or the client has neither a secret nor a certificate.
            TokenServiceError: the token service refused, or was not reached.
        """
        client.provider.check_flow(self.name)
        return new_grant(self.name, client, http, await _request_token(client, http))

    async def refresh(self, client: OAuthClient, http: TokenHttp, grant: Grant) -> Grant:
        """Request another token; there is no refresh token (RFC 6749 section 4.4.3).

        Raises:
            InputError: the client has neither a secret nor a certificate.
            TokenServiceError: the token service refused, or was not reached.
        """
        return refreshed_grant(grant, client, http, await _request_token(client, http))


async def _request_token(client: OAuthClient, http: TokenHttp) -> TokenResponse:
    if not client.is_confidential:
        raise InputError(
            "An application that signs in by itself needs a client secret or a certificate.",
            stage="token",
            cause="not_configured",
        )
    form = {"grant_type": "client_credentials", "scope": " ".join(client.scopes)}
    return await request_token(client, http, form)


flow = AppFlow()
