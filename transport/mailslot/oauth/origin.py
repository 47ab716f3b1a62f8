"""The origin of a grant: its tokens are sent only to the service that issued it, even if the settings change.

Otherwise anybody who may change settings could set their own token endpoint and receive the stored tokens.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mailslot.errors import TokenError
from mailslot.oauth.endpoint_url import origin_of

if TYPE_CHECKING:
    from mailslot.oauth.client import OAuthClient
    from mailslot.oauth.grant import Grant
    from mailslot.oauth.providers import Provider


def bind_origin(grant: Grant, client: OAuthClient) -> Grant:
    """Return a new or refreshed grant with the origins of its provider, its application and its tenant.

    Args:
        grant: the grant, as its flow returned it.
        client: the client that it was issued to.
    """
    provider = client.provider
    token, revocation = provider.endpoints.token, provider.endpoints.revocation
    return replace(
        grant,
        client_id=client.client_id or grant.client_id,
        tenant=grant.tenant or (None if client.tenant in provider.quirks.shared_tenants else client.tenant),
        token_origin=origin_of(token),
        revocation_origin=None if revocation is None else origin_of(revocation),
    )


def origin_mismatch(grant: Grant, provider: Provider) -> TokenError | None:
    """Return the error for refreshing a grant at a service other than its origin; None if it may be refreshed."""
    if grant.token_origin is None or not provider.endpoints.token:
        return None
    named = origin_of(provider.endpoints.token)
    if grant.token_origin == named:
        return None
    return TokenError(
        f"The token came from {grant.token_origin}, and the settings name {named} now: obtain it again.",
        cause="token_for_other_service",
    )


def revocation_mismatch(grant: Grant, provider: Provider) -> str:
    """Return in one sentence why a grant must not be revoked at a provider's endpoint; empty if it may be.

    It may be revoked at the service that issued it, and at the revocation endpoint that was known at that time.
    """
    token, revocation = provider.endpoints.token, provider.endpoints.revocation or ""
    origin = origin_of(token) if grant.token_origin is None else grant.token_origin
    named = origin_of(revocation)
    if named in {origin, grant.revocation_origin}:
        return ""
    return f"The provider was not told: the token came from {origin}, and the settings name {named} for giving it up."
