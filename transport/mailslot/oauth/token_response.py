"""The response of a token endpoint (RFC 6749 section 5), and the grant made from it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, cast

from mailslot.errors import InputError
from mailslot.oauth.claims import parse_claims
from mailslot.oauth.grant import Grant
from mailslot.oauth.token_error_table import Remedy
from mailslot.oauth.token_errors import TokenServiceError, classify_error, shorten
from mailslot.sasl.credentials import AccessToken
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mailslot.oauth.client import OAuthClient
    from mailslot.oauth.http import TokenHttp
    from mailslot.oauth.response import TokenServiceResponse

MAX_LIFETIME: Final = 366 * 86_400.0
"""Seconds; a longer lifetime of an access token is reduced to this."""


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """A successful response, checked.

    Attributes:
        access_token: the access token, a bearer token that is valid in a header.
        lifetime: seconds until it expires; None if the service did not say, or sent an invalid value. Then it is used
            until it is refused.
        refresh_token: the refresh token; None if there is none.
        scopes: the granted scopes; the requested ones if the service did not say (RFC 6749 section 5.1).
        id_token: the id token, unverified, for display; None if there is none.
    """

    access_token: Secret
    lifetime: float | None
    refresh_token: Secret | None
    scopes: tuple[str, ...]
    id_token: Secret | None = field(default=None, repr=False)


async def request_token(
    client: OAuthClient,
    http: TokenHttp,
    form: Mapping[str, str | Secret],
    *,
    scopes: Sequence[str] | None = None,
    obtained_by: str = "",
) -> TokenResponse:
    """Request a token from the provider's token endpoint.

    Args:
        client: the OAuth client, whose authentication is added.
        http: the HTTP client.
        form: the form: ``grant_type`` and its parameters, secrets as `Secret`, with ``scope`` if the grant type has it.
        scopes: the requested scopes; None for the client's.
        obtained_by: for a refresh, the name of the flow that obtained the grant.

    Raises:
        InputError: the endpoint or the certificate cannot be used.
        TokenServiceError: the service refused, was not reached, or sent no usable token.
    """
    response = await http.post(client.provider.endpoints.token, form, client=client)
    grant_type = form.get("grant_type", "")
    return parse_token_response(
        response,
        client.scopes if scopes is None else scopes,
        grant_type if isinstance(grant_type, str) else "",
        obtained_by=obtained_by,
    )


def parse_token_response(
    response: TokenServiceResponse, requested_scopes: Sequence[str], grant_type: str = "", *, obtained_by: str = ""
) -> TokenResponse:
    """Return the tokens in a response of a token endpoint.

    Args:
        response: the response.
        requested_scopes: the requested scopes.
        grant_type: the grant type of the request.
        obtained_by: for a refresh, the name of the flow that obtained the grant.

    Raises:
        TokenServiceError: it is a refusal, or contains no usable token.
    """
    members = response.json
    if not response.ok:
        raise classify_error(response, grant_type, obtained_by=obtained_by)
    if members is None:
        raise _unusable(response, "what it sent is cut off or is not JSON", response.refresh_token)
    refresh_token = _secret(members.get("refresh_token"))
    if members.get("error"):
        error = classify_error(response, grant_type, obtained_by=obtained_by)
        error.refresh_token = refresh_token
        raise error
    if (why := _why_unusable(members)) is not None:
        raise _unusable(response, why, refresh_token)
    return TokenResponse(
        Secret(cast("str", members["access_token"])),
        _lifetime(members.get("expires_in")),
        refresh_token,
        _scopes(members.get("scope")) or tuple(requested_scopes),
        _secret(members.get("id_token")),
    )


def new_grant(flow: str, client: OAuthClient, http: TokenHttp, response: TokenResponse) -> Grant:
    """Return the grant from the first response.

    It may have fewer scopes than requested, another account, or no refresh token: the grant's health says so.
    """
    now = time.time()
    account, tenant = _signed_in_user(client, response)
    return Grant(
        flow=flow,
        access_token=response.access_token,
        expires_at=_expires_at(response, now),
        refresh_token=response.refresh_token,
        scopes=response.scopes,
        obtained_at=now,
        renewed_at=now,
        account=account,
        tenant=tenant,
        skew=http.skew,
    )


def refreshed_grant(grant: Grant, client: OAuthClient, http: TokenHttp, response: TokenResponse) -> Grant:
    """Return the grant from the response to a refresh.

    A new refresh token replaces the old one, which is kept as the previous one until the new one has worked. Without a
    new one the old one stays (RFC 6749 section 6).
    """
    now = time.time()
    account, tenant = _signed_in_user(client, response)
    return replace(
        replace(grant, previous_refresh_token=None).with_refresh_token(response.refresh_token),
        access_token=response.access_token,
        expires_at=_expires_at(response, now),
        scopes=response.scopes,
        renewed_at=now,
        account=account or grant.account,
        tenant=tenant or grant.tenant,
        skew=http.skew,
        failure=None,
    )


def _signed_in_user(client: OAuthClient, response: TokenResponse) -> tuple[str | None, str | None]:
    """Return the user who signed in and the tenant, from the id token, else from the access token."""
    account = tenant = None
    for token in (response.id_token, response.access_token):
        claims = parse_claims(token)
        if claims is not None:
            account, tenant = account or claims.user(client.account), tenant or claims.tenant
    return account, tenant


def _expires_at(response: TokenResponse, now: float) -> float | None:
    return None if response.lifetime is None else now + response.lifetime


def _lifetime(value: object) -> float | None:
    """Return ``expires_in``; None if it is invalid."""
    seconds = parse_number(value)
    return min(seconds, MAX_LIFETIME) if seconds is not None and seconds > 0 else None


def parse_number(value: object) -> float | None:
    """Return a number in JSON, which some servers write as a string; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _secret(value: object) -> Secret | None:
    return Secret(value) if isinstance(value, str) and value and value.isascii() and value.isprintable() else None


def _scopes(value: object) -> tuple[str, ...]:
    """Return ``scope``: names between blanks (RFC 6749 section 3.3); some servers write a list."""
    listed = cast("list[object]", value)[:64] if isinstance(value, list) else [value]
    return tuple(scope for text in listed for scope in shorten(text, 4096).split())


def _why_unusable(members: Mapping[str, object]) -> str | None:
    """Return what is wrong with the access token of a response; None if nothing is."""
    if "access_token" not in members:
        return "there is no access token in it"
    token = members["access_token"]
    if not isinstance(token, str):
        return "its access token is not text"
    try:
        AccessToken(token)
    except InputError as error:
        if error.cause == "token_too_long":
            return f"its access token has {len(token):,} characters, which is more than any mail server takes"
        return "its access token is empty or holds characters that no token may hold"
    token_type = members.get("token_type", "Bearer")
    if not isinstance(token_type, str) or token_type.lower() != "bearer":
        return f"its token is of the type {shorten(token_type, 40) or '?'}, and mail takes bearer tokens"
    return None


def _unusable(response: TokenServiceResponse, why: str, refresh_token: Secret | None = None) -> TokenServiceError:
    """Return the error for a response without a usable token; the service may have revoked the old tokens."""
    return TokenServiceError(
        f"The token service {response.host} answered without a token that could be used: {why}.",
        cause="unknown",
        remedy=Remedy.WAIT,
        status=response.status,
        retry_after=response.retry_after,
        response_lost=True,
        refresh_token=refresh_token,
    )
