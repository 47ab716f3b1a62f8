"""Where a provider's endpoints are, asked of the provider itself (RFC 8414; OpenID Connect Discovery 1.0)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from mailslot.errors import InputError
from mailslot.oauth.address import check_address
from mailslot.oauth.faults import Kind, TokenServiceError, words
from mailslot.oauth.providers import ClientAuthentication, Endpoints

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.oauth.http import TokenHttp
    from mailslot.oauth.providers import Provider


async def discover(issuer: str, http: TokenHttp) -> Mapping[str, object]:
    """Ask an issuer for its metadata.

    Args:
        issuer: its identifier.
        http: over what.

    Returns:
        the metadata (RFC 8414 section 2); its ``issuer`` is the one asked, code point for code point.

    Raises:
        InputError: the issuer is no address.
        TokenServiceError: it was not reached, has no metadata, or calls itself otherwise.
    """
    check_address(issuer, "issuer", issuer=True)
    last: TokenServiceError | None = None
    for address in well_known(issuer):
        try:
            answer = await http.get(address)
        except TokenServiceError as error:
            if error.status is None:
                raise
            last = error  # a site that answers every address with a page may have the document at the next one
            continue
        if answer.status >= 500 or answer.status == 429:
            raise _unusable(issuer, f"answers HTTP {answer.status}", "token_service_busy", Kind.PASSING)
        if answer.ok and answer.json is not None:
            return _checked(answer.json, issuer)
    raise last or _unusable(issuer, "has no metadata to be found; set its endpoints one by one")


async def complete(provider: Provider, http: TokenHttp) -> Provider:
    """Return the provider with its endpoints known, by discovery where they are not.

    Raises:
        InputError: the issuer is no address.
        TokenServiceError: it was not reached, or what it says cannot be used.
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
    )
    if not endpoints.token:
        raise _unusable(issuer, "names no token endpoint")
    quirks = replace(provider.quirks, client_authentication=_authentication(metadata))
    return replace(provider, endpoints=endpoints, quirks=quirks)


def well_known(issuer: str) -> list[str]:
    """Return where an issuer's metadata may be, in the order to try (RFC 8414 sections 3.1 and 5).

    The path goes behind the well-known one; only OpenID Connect's own documents may have it in front.
    """
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    return list(
        dict.fromkeys(
            [
                f"{origin}/.well-known/oauth-authorization-server{path}",
                f"{origin}/.well-known/openid-configuration{path}",
                f"{origin}{path}/.well-known/openid-configuration",
            ]
        )
    )


def _checked(metadata: Mapping[str, object], issuer: str) -> Mapping[str, object]:
    named = metadata.get("issuer")
    if named != issuer:
        said = f"calls itself {words(named)!r}" if isinstance(named, str) else "does not say who it is"
        raise _unusable(issuer, f"{said}, and must not be used (RFC 8414 section 3.3); set issuer exactly so")
    return metadata


def _endpoint(metadata: Mapping[str, object], name: str, issuer: str) -> str | None:
    address = metadata.get(name)
    if address is None:
        return None
    if not isinstance(address, str):
        raise _unusable(issuer, f"names a {name} that is no text")
    try:
        check_address(address, name)
    except InputError as error:
        raise _unusable(issuer, f"names a {name} that cannot be used: {error}") from None
    return address


def _authentication(metadata: Mapping[str, object]) -> ClientAuthentication:
    """Return how a client with a secret proves itself; basic where the server does not say (RFC 8414 section 2)."""
    methods = metadata.get("token_endpoint_auth_methods_supported")
    known = cast("list[object]", methods) if isinstance(methods, list) else []
    only_post = "client_secret_post" in known and "client_secret_basic" not in known
    return "client_secret_post" if only_post else "client_secret_basic"


def _unusable(issuer: str, why: str, cause: str = "unknown", kind: Kind = Kind.CONFIGURATION) -> TokenServiceError:
    return TokenServiceError(f"The issuer {issuer} {why}.", cause=cause, kind=kind)
