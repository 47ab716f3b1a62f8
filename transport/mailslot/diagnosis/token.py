"""Reads why a token may have been refused from its claims and its grant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.oauth.claims import find_mismatch, missing_scopes, parse_claims
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
    if context.provider is not None:
        return context.provider
    host = context.host.rstrip(".").casefold()
    for provider in presets().values():
        for service in (provider.smtp, provider.pop, provider.imap):
            if service is not None and any(host == server.host for server in service.servers):
                return provider
    return None


def read_token(context: DiagnosisContext) -> TokenReading | None:
    """Return what is wrong with the token, or that it belongs to an application; None if nothing is known."""
    token, provider = context.token, provider_of(context)
    service = None if provider is None else provider.service(context.service)
    if token is None:
        return None
    account = context.account or ""
    claims = parse_claims(token)
    if service is None:
        # For a server of one's own, only another user's token is wrong for certain.
        names = () if claims is None else tuple(name.casefold() for name in claims.users if "@" in name)
        return "another user" if "@" in account and names and account.casefold() not in names else None
    if claims is None:
        return _read_grant(context, service)
    found = find_mismatch(token, account=account, service=service, scopes=service.scopes)
    if found is not None:
        return _BY_CAUSE.get(found.cause)
    return "application" if not claims.scopes and (claims.roles or not claims.users) else None


def _read_grant(context: DiagnosisContext, service: Service) -> TokenReading | None:
    """Judge an opaque token by what the provider said when it issued it."""
    if context.scopes and missing_scopes(service.scopes, context.scopes):
        return "another service"
    owner, account = context.owner or "", context.account or ""
    differ = "@" in owner and "@" in account and owner.casefold() != account.casefold()
    return "another user" if differ else None
