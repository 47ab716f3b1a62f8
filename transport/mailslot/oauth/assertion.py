"""A signed assertion: the JWT by which an application proves who it is, or for whom it acts (RFC 7523 section 3)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from mailslot.errors import InputError
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

LIFETIME: Final = 300
"""Seconds that an assertion is valid, which Entra wants to be ten minutes at most (certificate-credentials.md)."""

BACKDATED: Final = 30
"""Seconds that it is dated back: what a clock set by a ``Date`` of whole seconds, and a round trip, may be off by."""


def sign(
    key: Secret,
    *,
    issuer: str,
    subject: str,
    audience: str,
    now: float,
    algorithm: str = "RS256",
    header: Mapping[str, str] | None = None,
    claims: Mapping[str, str] | None = None,
) -> Secret:
    """Return an assertion, which is good for one request: its ``jti`` is a new one each time.

    Args:
        key: the private key in PEM, unencrypted.
        issuer: ``iss``: the client's id, or the service account.
        subject: ``sub``: the client's id, or the mailbox it acts for.
        audience: ``aud``: the token endpoint.
        now: the token service's time, in seconds since the epoch.
        algorithm: a JWS algorithm of the key's kind (RFC 7518 section 3.1).
        header: more members of the header.
        claims: more claims.

    Raises:
        InputError: the key cannot be used with this algorithm.
    """
    issued = int(now) - BACKDATED
    own = {
        "iss": issuer,
        "sub": subject,
        "aud": audience,
        "iat": issued,
        "nbf": issued,
        "exp": int(now) + LIFETIME,
        "jti": secrets.token_urlsafe(24),
    }
    kind = ECKey if algorithm.startswith("ES") else RSAKey
    try:
        signed = jwt.encode(
            {**(header or {}), "alg": algorithm},
            {**(claims or {}), **own},
            kind.import_key(key.reveal()),
            algorithms=[algorithm],
        )
    except (ValueError, TypeError, JoseError) as error:
        raise InputError(
            "The private key cannot be used to sign: it must be in PEM form, not encrypted, and of the right kind.",
            stage="token",
            cause="app_secret_invalid",
            detail=type(error).__name__,  # its text may quote the key
        ) from None
    return Secret(signed)
