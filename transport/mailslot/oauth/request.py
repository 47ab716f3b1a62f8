"""Requests to a token service: the form and the client authentication.

RFC 6749 sections 2.3 and 4 to 6, RFC 7009 section 2.1, RFC 7523 section 2.2, RFC 8628 sections 3.1 and 3.4.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mailslot.errors import InputError
from mailslot.oauth.authlib_protocol import authenticate_client, encode_form
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.oauth.client import OAuthClient


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A request that is ready to be sent.

    Attributes:
        body: the form, encoded.
        headers: its headers.
        secrets: the secrets in body and headers, before encoding, and the key of an assertion.
    """

    body: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    secrets: tuple[Secret, ...]


def prepare_request(
    url: str, form: Mapping[str, str | Secret], client: OAuthClient | None, *, now: float
) -> TokenRequest:
    """Return a request with the client authentication: certificate, secret, or client id alone (RFC 6749, 3.2.1).

    Args:
        url: the endpoint, which is the audience of an assertion.
        form: the form; empty members are left out.
        client: the OAuth client; None for no authentication.
        now: the token service's time, in seconds since the epoch.

    Raises:
        InputError: the certificate or its key cannot be used, or the provider requires a secret and there is none.
    """
    body = encode_form({name: value.reveal() if isinstance(value, Secret) else value for name, value in form.items()})
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    secrets = [value for value in form.values() if isinstance(value, Secret)]
    if client is not None and client.client_id:
        method, credential = _client_credential(client, url, now=now)
        body, auth_headers = authenticate_client(
            method, client.client_id, credential.reveal() if credential else None, body
        )
        headers |= auth_headers
        secrets += [
            secret for secret in (client.client_secret, credential, *map(Secret, auth_headers.values())) if secret
        ]
    return TokenRequest(body, headers, tuple(secrets))


def _client_credential(client: OAuthClient, url: str, *, now: float) -> tuple[str, Secret | None]:
    """Return the authentication method of a client, and its secret or assertion."""
    method, secret = client.provider.quirks.client_authentication, client.client_secret
    if client.certificate is not None:
        from mailslot.oauth.certificate import client_assertion  # noqa: PLC0415 - it takes 40 ms, and few clients have a certificate

        return "private_key_jwt", client_assertion(client, client.certificate, url, now=now)
    if not secret:
        if client.provider.quirks.secret_required:
            raise InputError(
                f"{client.provider.name} wants the application's secret besides its id: set client_secret.",
                stage="token",
                cause="app_secret_invalid",
            )
        return "none", None
    if method == "client_secret_jwt":
        from mailslot.oauth.assertion import sign_assertion  # noqa: PLC0415 - as above

        own = client.client_id
        return method, sign_assertion(secret, issuer=own, subject=own, audience=url, now=now, algorithm="HS256")
    return method, secret
