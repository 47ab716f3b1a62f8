"""Signed assertions: JWTs that prove an application's identity, or for whom it acts (RFC 7523 section 3)."""

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

_KEY_TYPES: Final[dict[str, Any]] = {"ES": ECKey, "HS": OctKey}  # otherwise RSA (RFC 7518 section 3.1)
_assertion: Final[Any] = assertion  # authlib is only partly typed

LIFETIME: Final = 300
"""Seconds for which an assertion is valid; Entra allows at most ten minutes (certificate-credentials.md)."""

LEEWAY: Final = 30
"""Seconds by which it is backdated, for the inaccuracy of a clock set by a ``Date`` in whole seconds, and a round
trip."""


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
    """Sign an assertion for one request; each has a new ``jti``.

    Args:
        key: the unencrypted private key in PEM; for ``HS`` algorithms the secret itself.
        issuer: ``iss``: the client's id, or the service account.
        subject: ``sub``: the client's id, or the mailbox it acts for.
        audience: ``aud``: the token endpoint.
        now: the token service's time, in seconds since the epoch.
        algorithm: a JWS algorithm for this type of key (RFC 7518 section 3.1).
        header: additional members of the header.
        claims: additional claims.

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
            # authlib puts the jti into this dict, so a dict that is used twice would repeat it.
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
