"""Refreshing with a refresh token, the same for every flow in which a person signs in (RFC 6749 section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.errors import TokenError
from mailslot.oauth.token_response import refreshed_grant, request_token

if TYPE_CHECKING:
    from mailslot.oauth.client import OAuthClient
    from mailslot.oauth.grant import Grant
    from mailslot.oauth.http import TokenHttp
    from mailslot.wire.secret import Secret


class RefreshTokenFlow:
    """The base of flows whose grants are refreshed with a refresh token."""

    async def refresh(self, client: OAuthClient, http: TokenHttp, grant: Grant) -> Grant:
        """Return the grant with a new access token, and with a new refresh token if there is one.

        Raises:
            TokenServiceError: the token service refused, or was not reached.
            TokenError: cause `token_not_renewable`: the grant has no refresh token.
        """
        if grant.refresh_token is None:
            raise TokenError(
                "The token cannot be renewed: the provider gave no refresh token with it.",
                cause="token_not_renewable",
            )
        # Without `scope`, the new token has the granted scopes. With one, Entra would not return a refresh token unless
        # it contains `offline_access`, and other providers would refuse scopes that were not granted.
        form: dict[str, str | Secret] = {"grant_type": "refresh_token", "refresh_token": grant.refresh_token}
        response = await request_token(client, http, form, scopes=grant.scopes, obtained_by=grant.flow)
        return refreshed_grant(grant, client, http, response)
