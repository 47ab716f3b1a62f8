"""Discovery: a provider's endpoints from its metadata (RFC 8414; OpenID Connect Discovery 1.0)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast, get_args

from mailslot.errors import InputError
from mailslot.oauth.authlib_protocol import metadata_urls, token_endpoint_auth_methods
from mailslot.oauth.endpoint_url import check_endpoint_url
from mailslot.oauth.providers import ClientAuthentication, Endpoints
from mailslot.oauth.token_error_table import Remedy
from mailslot.oauth.token_errors import TokenServiceError, shorten

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.oauth.http import TokenHttp
    from mailslot.oauth.providers import Provider


async def discover(issuer: str, http: TokenHttp) -> Mapping[str, object]:
    """Fetch an issuer's metadata.

    Returns:
        the metadata (RFC 8414 section 2); its ``issuer`` equals `issuer` exactly.

    Raises:
        InputError: the issuer is not a URL.
        TokenServiceError: it was not reached, has no metadata, or names another issuer.
    """
    check_endpoint_url(issuer, "issuer", issuer=True)
    last: TokenServiceError | None = None
    for address in metadata_urls(issuer):
        try:
            response = await http.get(address)
        except TokenServiceError as error:
            if error.status is None:
                raise
            last = error  # a site that returns a page for every address may have the document at the next one
            continue
        if response.status >= 500 or response.status == 429:
            raise _metadata_error(issuer, f"answers HTTP {response.status}", "token_service_busy", Remedy.WAIT)
        if response.ok and response.json is not None:
            return _check_issuer(response.json, issuer)
    raise last or _metadata_error(issuer, "has no metadata to be found; set its endpoints one by one")


async def complete_provider(provider: Provider, http: TokenHttp) -> Provider:
    """Return the provider with its endpoints, discovering them if they are unknown.

    Raises:
        InputError: the issuer is not a URL.
        TokenServiceError: it was not reached, or its metadata cannot be used.
    """
    issuer = provider.endpoints.issuer
    if not provider.needs_discovery or issuer is None:
        return provider
    metadata = await discover(issuer, http)
    endpoints = Endpoints(
        issuer=issuer,
        token=_endpoint(metadata, "token_endpoint", issuer) or "",
        authorization=_endpoint(metadata, "authorization_endpoint", issuer),
        device_authorization=_endpoint(metadata, "device_authorization_endpoint", issuer),
        revocation=_endpoint(metadata, "revocation_endpoint", issuer),
        names_issuer=metadata.get("authorization_response_iss_parameter_supported") is True,
        jwks=_endpoint(metadata, "jwks_uri", issuer),
        end_session=_usable(metadata.get("end_session_endpoint")),
    )
    if not endpoints.token:
        raise _metadata_error(issuer, "names no token endpoint")
    quirks = replace(provider.quirks, client_authentication=_client_authentication(metadata))
    return replace(provider, endpoints=endpoints, quirks=quirks)


def _check_issuer(metadata: Mapping[str, object], issuer: str) -> Mapping[str, object]:
    named = metadata.get("issuer")
    if named != issuer:
        reason = f"calls itself {shorten(named)!r}" if isinstance(named, str) else "does not say who it is"
        raise _metadata_error(issuer, f"{reason}, and must not be used (RFC 8414 section 3.3); set issuer exactly so")
    return metadata


def _endpoint(metadata: Mapping[str, object], name: str, issuer: str) -> str | None:
    address = metadata.get(name)
    if address is None:
        return None
    if not isinstance(address, str):
        raise _metadata_error(issuer, f"names a {name} that is not text")
    try:
        check_endpoint_url(address, name)
    except InputError as error:
        raise _metadata_error(issuer, f"names a {name} that cannot be used: {error}") from None
    return address


def _usable(address: object) -> str | None:
    """Return an endpoint that no token depends on; None if it cannot be used."""
    if not isinstance(address, str):
        return None
    try:
        check_endpoint_url(address, "end_session_endpoint")
    except InputError:
        return None
    return address


def _client_authentication(metadata: Mapping[str, object]) -> ClientAuthentication:
    """Return how a client with a secret authenticates: the first of our methods that the server supports."""
    offered = token_endpoint_auth_methods(metadata)
    known = cast("list[object]", offered) if isinstance(offered, list) else []
    return next((method for method in get_args(ClientAuthentication) if method in known), "client_secret_basic")


def _metadata_error(
    issuer: str, why: str, cause: str = "unknown", remedy: Remedy = Remedy.CONFIGURATION
) -> TokenServiceError:
    return TokenServiceError(f"The issuer {issuer} {why}.", cause=cause, remedy=remedy)
