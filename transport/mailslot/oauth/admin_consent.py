"""Consent of an administrator for a whole organisation: the address to open, and the answer.

Microsoft's form of both is described in its document “Admin consent on the Microsoft identity platform”
(learn.microsoft.com/entra/identity-platform/v2-admin-consent). Nothing in the answer proves that it is true: it only
says what a request for a token will show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from mailslot.errors import InputError, TokenError
from mailslot.oauth.response import TokenServiceResponse
from mailslot.oauth.token_errors import classify_error, shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mailslot.oauth.providers import Protocol, Provider


@dataclass(frozen=True, slots=True)
class AdminConsentAnswer:
    """An administrator's answer.

    Attributes:
        tenant: the provider's id of the organisation; None if the answer does not say.
        state: the state of the request that it answers; empty if there is none.
        error: why there is no consent; None if there is.
    """

    tenant: str | None
    state: str
    error: TokenError | None = None


def consent_scopes(provider: Provider, protocols: Iterable[Protocol], *, app: bool) -> tuple[str, ...]:
    """Return the scopes to ask an administrator for, for mail by some protocols.

    Args:
        provider: the provider.
        protocols: the protocols.
        app: whether the application signs in as itself; otherwise people do.
    """
    found = (provider.scopes(protocol, app=app) for protocol in protocols if provider.service(protocol) is not None)
    return tuple(dict.fromkeys(scope for scopes in found for scope in scopes))


def admin_consent_url(
    provider: Provider, *, client_id: str, scopes: Iterable[str], redirect_uri: str, state: str
) -> str:
    """Return the address at which an administrator consents for the organisation.

    Args:
        provider: the provider, at the organisation's tenant.
        client_id: the application.
        scopes: what it wants to be allowed.
        redirect_uri: where the answer goes, exactly as it is registered.
        state: what the answer has to repeat.

    Raises:
        InputError: nobody can consent for a whole organisation there.
    """
    consent = provider.admin_consent
    if consent is None:
        raise InputError(
            f"{provider.name} has no address at which an administrator consents for a whole organisation: each owner "
            "of a mailbox signs in.",
            stage="token",
        )
    facts = {
        "client_id": client_id,
        "scopes": consent.separator.join(scopes),
        "redirect_uri": redirect_uri,
        "state": state,
    }
    query = {name: value.format_map(facts) for name, value in consent.parameters.items()}
    return f"{consent.address}?{urlencode(query, quote_via=quote)}"


def parse_answer(address: str) -> AdminConsentAnswer:
    """Return the answer in an address, or in its query alone.

    Raises:
        InputError: it is not such an answer, or only a part of it.
    """
    parts = urlsplit(address.strip())
    pairs = parse_qsl(parts.query or parts.path.lstrip("?"), keep_blank_values=True)
    found = dict(pairs)
    if len(found) != len(pairs) or not found.keys() & {"admin_consent", "error"}:
        raise InputError(
            "That is not an administrator's answer: copy the whole address at which the browser was at the end.",
            stage="token",
        )
    return AdminConsentAnswer(shorten(found.get("tenant"), 80) or None, found.get("state", ""), _error(found))


def _error(found: Mapping[str, str]) -> TokenError | None:
    # The parameter `admin_consent` is True in refusals, too.
    if found.get("error"):
        error = classify_error(TokenServiceResponse(400, dict(found), host="the provider"), "authorization_code")
        if error.cause != "token_not_retrieved":
            return error
        return TokenError("The administrator has declined.", cause="consent_missing", detail=error.detail)
    if found.get("admin_consent", "").casefold() != "true":
        return TokenError("The administrator has not consented.", cause="consent_missing")
    return None
