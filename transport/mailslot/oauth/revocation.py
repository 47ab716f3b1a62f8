"""Token revocation at the provider (RFC 7009)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.errors import MailError
from mailslot.oauth.origin import revocation_mismatch
from mailslot.oauth.token_errors import classify_error

if TYPE_CHECKING:
    from mailslot.oauth.client import OAuthClient
    from mailslot.oauth.grant import Grant
    from mailslot.oauth.http import TokenHttp
    from mailslot.wire.secret import Secret

_TIMEOUT: Final = 20.0


@dataclass(frozen=True, slots=True)
class Revocation:
    """The result of revoking a grant.

    Attributes:
        notified: whether the provider has confirmed the revocation.
        sentence: the result for the person, with the reason if the provider was not told.
    """

    notified: bool
    sentence: str


async def revoke(grant: Grant, client: OAuthClient, http: TokenHttp) -> Revocation:
    """Revoke a grant at the provider: its refresh tokens first, then its access token.

    Only the service that issued the grant is told, or the revocation endpoint that was known at that time. Providers
    revoke all tokens of a grant with its refresh token (RFC 7009 section 2.1), so the first response counts.
    """
    name = client.provider.name
    endpoint = client.provider.endpoints.revocation
    if endpoint is None:
        return Revocation(
            notified=False,
            sentence=f"{name} has no way to be told. Remove the application's access in the account there.",
        )
    if why_not := revocation_mismatch(grant, client.provider):
        return Revocation(notified=False, sentence=why_not)
    tokens = [
        ("refresh_token", grant.refresh_token),
        ("refresh_token", grant.previous_refresh_token),
        ("access_token", grant.access_token),
    ]
    revocation: Revocation | None = None
    with anyio.move_on_after(_TIMEOUT):
        for hint, token in tokens:
            if token is not None:
                response = await _revoke_token(endpoint, hint, token, client, http)
                revocation = revocation or response
    return revocation or Revocation(notified=False, sentence=f"{name} was not told: it did not answer in time.")


async def _revoke_token(endpoint: str, hint: str, token: Secret, client: OAuthClient, http: TokenHttp) -> Revocation:
    name = client.provider.name
    try:
        response = await http.post(endpoint, {"token": token, "token_type_hint": hint}, client=client)
    except MailError as error:
        return Revocation(notified=False, sentence=f"{name} was not told: {error}")
    if response.ok:
        return Revocation(notified=True, sentence=f"The token was revoked at {name}.")
    return Revocation(notified=False, sentence=f"{name} was not told: {classify_error(response)}")
