"""Signed assertions: the JWT that proves who an application is, or for whom it acts (RFC 7523 section 3)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, RSAKey

from mailslot.errors import InputError
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

with warnings.catch_warnings():  # authlib.deprecate adds a filter for the whole process as it is imported
    from authlib.oauth2.rfc7523 import assertion

_KEY_TYPES: Final[dict[str, Any]] = {"ES": ECKey, "HS": OctKey}  # RSA else (RFC 7518 section 3.1)
_assertion: Final[Any] = assertion  # its types are known in part only

LIFETIME: Final = 300
"""Seconds that an assertion is valid, which Entra wants to be ten minutes at most (certificate-credentials.md)."""

LEEWAY: Final = 30
"""Seconds that it is dated back: what a clock set by a ``Date`` of whole seconds, and a round trip, may be off by."""


def sign_assertion(
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
    """Return an assertion for one request; each has a new ``jti``.

    Args:
        key: the private key in PEM, unencrypted; for ``HS`` algorithms the secret itself.
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
    issued = int(now) - LEEWAY
    kind = _KEY_TYPES.get(algorithm[:2], RSAKey)
    try:
        signed = _assertion.sign_jwt_bearer_assertion(
            kind.import_key(key.reveal()),
            issuer,
            audience,
            subject,
            issued_at=issued,
            expires_at=int(now) + LIFETIME,
            # authlib puts its jti into this dict: one that is used again would be replayed.
            claims={**(claims or {}), "nbf": issued},
            header=dict(header or {}),
            alg=algorithm,
        )
    except (ValueError, TypeError, JoseError) as error:
        raise InputError(
            "The private key cannot be used to sign: it must be in PEM form, not encrypted, and of the right kind.",
            stage="token",
            cause="app_secret_invalid",
            detail=type(error).__name__,  # its text may quote the key
        ) from None
    return Secret(signed)
