"""Reads why a token may have been refused from its claims and its grant."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mailslot.oauth.claims import find_mismatch, missing_scopes, other_resource, parse_claims
from mailslot.oauth.presets import presets

if TYPE_CHECKING:
    from mailslot.causes.refinement import TokenReading
    from mailslot.diagnosis.context import DiagnosisContext
    from mailslot.oauth.providers import Provider, Service

_BY_CAUSE: Final[dict[str, TokenReading]] = {
    "token_for_other_service": "another service",
    "consent_missing": "no permission",
    "account_mismatch": "another user",
}


def provider_of(context: DiagnosisContext) -> Provider | None:
    """Return the account's provider: the configured one, else the one that the mail server belongs to."""
    return context.provider or _preset_by_host(context.host)


def _preset_by_host(name: str) -> Provider | None:
    host = name.rstrip(".").casefold()
    for provider in presets().values():
        for service in (provider.smtp, provider.pop, provider.imap):
            if service is not None and any(host == server.host for server in service.servers):
                return provider
    return None


def service_of(context: DiagnosisContext) -> Service | None:
    """Return the mail service that was used; None if the provider is not known or has none.

    A custom provider does not define what its tokens are for; the preset with the same server does.
    """
    provider = provider_of(context)
    service = None if provider is None else provider.service(context.service)
    if service is not None and service.resource is None:
        by_host = _preset_by_host(context.host)
        preset = None if by_host is None else by_host.service(context.service)
        return service if preset is None else replace(service, resource=preset.resource)
    return service


def other_resource_of(context: DiagnosisContext) -> str | None:
    """Return the name of the token's audience for people, if it is not the mail service that was used."""
    claims, service = parse_claims(context.token), service_of(context)
    return None if claims is None or service is None else other_resource(claims, service)


def read_token(context: DiagnosisContext) -> TokenReading | None:
    """Return what is wrong with the token, or that it belongs to an application; None if nothing is known."""
    token, service = context.token, service_of(context)
    if token is None:
        return None
    account = context.account or ""
    claims = parse_claims(token)
    if service is None:
        # For a custom server, only another user's token is certainly wrong.
        names = () if claims is None else tuple(name.casefold() for name in claims.users if "@" in name)
        return "another user" if "@" in account and names and account.casefold() not in names else None
    if claims is None:
        return _read_grant(context, service)
    found = find_mismatch(token, account=account, service=service, scopes=service.scopes)
    if found is not None:
        return _BY_CAUSE.get(found.cause)
    return "application" if not claims.scopes and (claims.roles or not claims.users) else None


def _read_grant(context: DiagnosisContext, service: Service) -> TokenReading | None:
    """Judge an opaque token by the provider's response when it was issued."""
    if context.scopes and missing_scopes(service.scopes, context.scopes):
        return "another service"
    owner, account = context.owner or "", context.account or ""
    differ = "@" in owner and "@" in account and owner.casefold() != account.casefold()
    return "another user" if differ else None
