"""Verifies JWT assertions: client authentication, and authorization grants of service accounts (RFC 7523)."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from mailslot_plugins.sandbox.provider import GrantError

if TYPE_CHECKING:
    from mailslot_plugins.sandbox.provider import Client, Provider

_PADDINGS: Final = {"RS256": PKCS1v15(), "PS256": PSS(MGF1(SHA256()), PSS.DIGEST_LENGTH)}  # RFC 7518 section 3.1
_MAX_LIFETIME: Final = 3600  # seconds from iat to exp; Google's limit
_TOLERANCE: Final = 60


class Assertions:
    """The assertions that one provider has verified.

    Attributes:
        claims: the claims of every accepted assertion, oldest first.
        headers: their headers.
    """

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._seen: set[str] = set()
        self.claims: list[dict[str, Any]] = []
        self.headers: list[dict[str, Any]] = []

    def authenticate(self, assertion: str) -> Client:
        """Return the client that an assertion authenticates (RFC 7523 section 3); its ``jti`` is valid once.

        Raises:
            GrantError: the assertion is not valid.
        """
        try:
            client, claims = self._check(assertion)
        except ValueError as error:
            raise GrantError("invalid_client", str(error), 401) from None
        jti = claims.get("jti")
        if claims.get("sub") != client.id or not isinstance(jti, str) or jti in self._seen:
            raise GrantError("invalid_client", "The assertion's sub or jti is missing, wrong or used.", 401)
        self._seen.add(jti)
        return client

    def verify_delegation(self, assertion: str) -> tuple[Client, str, str]:
        """Return the service account of an assertion, the user that it acts for, and the requested scope.

        Raises:
            GrantError: the assertion is not valid.
        """
        try:
            client, claims = self._check(assertion)
        except ValueError as error:
            raise GrantError("invalid_grant", str(error)) from None
        return client, str(claims.get("sub", "")), str(claims.get("scope", ""))

    def _check(self, assertion: str) -> tuple[Client, dict[str, Any]]:
        try:
            first, second, third = assertion.split(".")
            header, claims, signature = (
                json.loads(_decode_base64url(first)),
                json.loads(_decode_base64url(second)),
                _decode_base64url(third),
            )
        except (ValueError, binascii.Error):
            raise ValueError("Invalid JWT.") from None
        client = self._provider.clients.get(claims.get("iss", ""))
        if client is None or client.key is None:
            raise ValueError("Invalid issuer: Not a service account.")
        key = load_pem_public_key(client.key.encode())
        padding = _PADDINGS.get(header.get("alg", ""))
        if padding is None or not isinstance(key, RSAPublicKey):
            raise ValueError("Invalid JWT algorithm.")
        try:
            key.verify(signature, f"{first}.{second}".encode(), padding, SHA256())
        except InvalidSignature:
            raise ValueError("Invalid JWT Signature.") from None
        if claims.get("aud") not in {self._provider.issuer, f"{self._provider.issuer}/token"}:
            raise ValueError("Invalid JWT audience.")
        self._check_times(claims)
        self.claims.append(claims)
        self.headers.append(header)
        return client, claims

    def _check_times(self, claims: dict[str, Any]) -> None:
        now, valid_from, valid_until = (
            self._provider.now(),
            claims.get("nbf", claims.get("iat", 0)),
            claims.get("exp", 0),
        )
        if not valid_from - _TOLERANCE <= now < valid_until + _TOLERANCE or valid_until - valid_from > _MAX_LIFETIME:
            # googleapis/google-api-php-client issues 1429 and 1501
            raise ValueError(
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your "
                "iat and exp values in the JWT claim."
            )


def _decode_base64url(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
