"""A key with its self-signed certificate, as an administrator makes one for an application."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import RSAKey


@dataclass(frozen=True)
class KeyPair:
    """A key and its certificate.

    Attributes:
        key: the private key, PEM.
        certificate: the certificate, PEM.
        jwk: the public key (RFC 7517).
    """

    key: str
    certificate: str
    jwk: dict[str, Any]


def make_key_pair(name: str) -> KeyPair:
    """Make an RSA key and a certificate that holds for a day."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return KeyPair(
        pem,
        certificate.public_bytes(Encoding.PEM).decode(),
        dict(RSAKey.import_key(pem).as_dict(private=False)),
    )
