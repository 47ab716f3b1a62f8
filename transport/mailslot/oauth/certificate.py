"""Client certificates: checking one, and signing assertions with its key."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from mailslot.errors import InputError
from mailslot.oauth.assertion import sign_assertion

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from mailslot.oauth.client import ClientCertificate, OAuthClient
    from mailslot.wire.secret import Secret

_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


def certificate_expiry(certificate: ClientCertificate) -> float:
    """Check that a certificate and its key belong together, and return when the certificate expires.

    Returns:
        seconds since the epoch.

    Raises:
        InputError: one of them cannot be used, or they do not belong together.
    """
    loaded = _load(certificate)
    try:
        key = load_pem_private_key(certificate.key.reveal().encode(), password=None)
    except (ValueError, TypeError) as error:
        raise InputError(
            "The private key cannot be used: it must be in PEM form and not encrypted.",
            stage="token",
            cause="app_secret_invalid",
            detail=type(error).__name__,  # its text may quote the key
        ) from None
    if _spki(key.public_key()) != _spki(loaded.public_key()):
        raise InputError(
            "The private key does not belong to the certificate.", stage="token", cause="app_secret_invalid"
        )
    _jws_algorithm(loaded.public_key(), "RS256")
    return loaded.not_valid_after_utc.timestamp()


def client_assertion(client: OAuthClient, certificate: ClientCertificate, url: str, *, now: float) -> Secret:
    """Return an assertion that proves to an endpoint that the client has its certificate's key (RFC 7523 section 2.2).

    Args:
        client: the OAuth client.
        certificate: its certificate.
        url: the endpoint.
        now: the token service's time, in seconds since the epoch.

    Raises:
        InputError: the certificate or its key cannot be used.
    """
    loaded = _load(certificate)
    # Entra finds the key by this thumbprint (RFC 7515 section 4.1.8).
    thumbprint = hashlib.sha256(loaded.public_bytes(Encoding.DER)).digest()
    return sign_assertion(
        certificate.key,
        issuer=client.client_id,
        subject=client.client_id,
        audience=url,
        now=now,
        algorithm=_jws_algorithm(loaded.public_key(), client.provider.quirks.assertion_algorithm),
        header={"x5t#S256": base64.urlsafe_b64encode(thumbprint).rstrip(b"=").decode()},
    )


def _load(certificate: ClientCertificate) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(certificate.certificate.encode())
    except ValueError as error:
        raise InputError(
            "The certificate cannot be used: it must be in PEM form.",
            stage="token",
            cause="app_secret_invalid",
            detail=str(error),
        ) from None


def _jws_algorithm(key: PublicKeyTypes, for_rsa: str) -> str:
    """Return the JWS algorithm for a key (RFC 7518 section 3.1)."""
    if isinstance(key, rsa.RSAPublicKey):
        return for_rsa
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name]
    raise InputError(
        "The key of the certificate is of a kind that no assertion is signed with; use RSA or P-256.",
        stage="token",
        cause="app_secret_invalid",
    )


def _spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
