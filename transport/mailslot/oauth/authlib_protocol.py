"""The parts of authlib for OAuth 2.0 messages that need no keys, without authlib's HTTP clients.

These parts are not used:

- `parse_authorization_code_response` does not check ``iss``, and does not compare the state in constant time. It takes
  the last of several values, and reports a refusal only as a missing code. Our flows check all of that themselves.
- `AuthorizationServerMetadata.validate` rejects a document because of members that are not used here, and accepts
  ``http`` addresses if an environment variable is set. See `mailslot.oauth.discovery`.
- `OAuth2Token` fails if ``expires_in`` is not a number. See `mailslot.oauth.token_response`.
- `OAuth2Client` drops the status, ``error_codes`` and ``Retry-After``. See `mailslot.oauth.token_errors`.
- `prepare_token_request` and `prepare_revoke_token_request` produce the same forms as `encode_form`, and authlib has no
  such function for device codes. The first one treats a member named ``body`` as its own argument.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus

with warnings.catch_warnings():  # authlib.deprecate adds a filter for the whole process as it is imported
    from authlib.common.urls import add_params_to_qs
    from authlib.oauth2 import auth, rfc7636, rfc8414
    from authlib.oauth2.rfc6749 import parameters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

# authlib is only partly typed.
_ClientAuth: Final[Any] = auth.ClientAuth
_parameters: Final[Any] = parameters
_pkce: Final[Any] = rfc7636


def authorization_url(
    endpoint: str,
    client_id: str,
    redirect_uri: str,
    scopes: Sequence[str],
    state: str,
    code_verifier: str,
    parameters: Mapping[str, str],
) -> str:
    """Return the URL at which a person signs in (RFC 6749 section 4.1.1), with a PKCE S256 challenge (RFC 7636, 4.2).

    Args:
        endpoint: the authorization endpoint; its query is kept.
        client_id: the client's id.
        redirect_uri: where the browser is redirected with the response.
        scopes: the requested scopes.
        state: the state that the response must repeat.
        code_verifier: the verifier from which the challenge is computed; it is not in the URL.
        parameters: further parameters.
    """
    address = _parameters.prepare_grant_uri(
        endpoint,
        client_id,
        "code",
        redirect_uri,
        scopes,
        state,
        code_challenge=_pkce.create_s256_code_challenge(code_verifier),
        code_challenge_method="S256",
        **parameters,
    )
    return str(address)


def encode_form(form: Mapping[str, str]) -> str:
    """Return a form as a request body; empty members are left out."""
    return add_params_to_qs("", {name: value for name, value in form.items() if value})


def authenticate_client(method: str, client_id: str, credential: str | None, body: str) -> tuple[str, dict[str, str]]:
    """Return a form with the client authentication, and its header (RFC 6749, 2.3.1 and 3.2.1; RFC 7523, 2.2).

    Args:
        method: as in ``token_endpoint_auth_method`` (RFC 7591 section 2).
        client_id: the client's id.
        credential: its secret, or the assertion for the two methods in ``_jwt``; None for ``"none"``.
        body: the form.
    """
    if method.endswith("_jwt"):
        # authlib's class for this leaves out client_id, which Entra requires.
        body = add_params_to_qs(body, {"client_assertion_type": _ASSERTION_TYPE, "client_assertion": credential or ""})
        method = "none"
    if method == "client_secret_basic" and credential is not None:
        # Both parts are form-encoded, which authlib does not do; otherwise a colon or a percent sign would break it.
        client_id, credential = quote_plus(client_id), quote_plus(credential)
    headers: dict[str, str] = {}
    _, headers, body = _ClientAuth(client_id, credential, method).prepare("POST", "", headers, body)
    return body, headers


def metadata_urls(issuer: str) -> list[str]:
    """Return the URLs at which an issuer's metadata may be, in the order to try (RFC 8414 sections 3.1 and 5).

    The issuer's path comes after the well-known path; only in OpenID Connect may it come first.
    """
    base = issuer.rstrip("/")  # authlib does not remove it
    addresses = [
        rfc8414.get_well_known_url(base, external=True),
        rfc8414.get_well_known_url(base, external=True, suffix="openid-configuration"),
        f"{base}/.well-known/openid-configuration",
    ]
    return list(dict.fromkeys(addresses))


def token_endpoint_auth_methods(metadata: Mapping[str, object]) -> object:
    """Return ``token_endpoint_auth_methods_supported``, or its default (RFC 8414 section 2)."""
    members: Any = rfc8414.AuthorizationServerMetadata(metadata)
    return members.token_endpoint_auth_methods_supported
