"""The origin of a grant: its tokens go to no other service, whatever the settings name later.

Otherwise anybody who may change settings could name a token endpoint of their own and receive the stored tokens.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mailslot.errors import TokenError
from mailslot.oauth.endpoint_url import origin_of

if TYPE_CHECKING:
    from mailslot.oauth.client import OAuthClient
    from mailslot.oauth.grant import Grant
    from mailslot.oauth.providers import Provider

UNKNOWN_ORIGIN: Final = ""
"""The origin of a grant from before origins were kept, whose settings have changed since; it equals no other."""


def bind_origin(grant: Grant, client: OAuthClient) -> Grant:
    """Return a new or refreshed grant with the origins of the provider that gave it, the application and the tenant.

    Args:
        grant: the grant, as its flow returned it.
        client: the client that it was given to.
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


def resolve_origin(grant: Grant, settings_digest: str) -> Grant:
    """Return a grant as it may be used under settings with this digest.

    A grant that was stored without an origin belongs to the provider of the settings that it was last used with; under
    other settings its origin is unknown.
    """
    return (
        replace(grant, token_origin=UNKNOWN_ORIGIN)
        if grant.token_origin is None and grant.settings != settings_digest
        else grant
    )


def origin_mismatch(grant: Grant, provider: Provider) -> TokenError | None:
    """Return the error for refreshing a grant at another service than its origin; None where it may be refreshed."""
    if grant.token_origin is None or not provider.endpoints.token:
        return None
    named = origin_of(provider.endpoints.token)
    if grant.token_origin == named:
        return None
    origin = grant.token_origin or "a service that is not known any more"
    return TokenError(
        f"The token came from {origin}, and the settings name {named} now: obtain it again.",
        cause="token_for_other_service",
    )


def revocation_mismatch(grant: Grant, provider: Provider) -> str:
    """Return in one sentence why a grant must not be revoked at a provider's endpoint; empty where it may be.

    The service that gave it may always be told, and the revocation endpoint that was known then.
    """
    token, revocation = provider.endpoints.token, provider.endpoints.revocation or ""
    origin = origin_of(token) if grant.token_origin is None else grant.token_origin
    named = origin_of(revocation)
    if named in {origin, grant.revocation_origin}:
        return ""
    origin = origin or "a service that is not known any more"
    return f"The provider was not told: the token came from {origin}, and the settings name {named} for giving it up."
