"""The panel's certificate: the administrator's own, or a self-signed one.

No authority can certify a new device, so browsers warn of its self-signed certificate. Comparing the fingerprint that
the service and the panel show confirms that it is the device's.
"""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mailslot.errors import InputError
from mailslot.vault import durable
from mailslot.vault.errors import reading, reason_of, writing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

LIFETIME: Final = timedelta(days=397)
"""The longest lifetime that browsers accept (CA/Browser Forum, Baseline Requirements 6.3.2)."""

RENEW_BEFORE: Final = timedelta(days=30)
"""The time before its expiry when a self-signed certificate is renewed."""

_LARGEST: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """The certificate and key of the panel.

    Attributes:
        path: the path of the certificate, PEM.
        key_path: the path of the key, PEM.
        is_own: whether the administrator has set it.
        fingerprint: the certificate's SHA-256, in pairs of hexadecimal digits.
        expires_at: when it expires, in seconds since 1970.
    """

    path: Path
    key_path: Path
    is_own: bool
    fingerprint: str
    expires_at: float


def load_own_certificate(certificate: Path, key: Path) -> ServerCertificate:
    """Return the administrator's certificate.

    Raises:
        InputError: it cannot be used.
    """
    try:
        octets = durable.read(certificate, _LARGEST) or b""
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
        return _load_certificate(certificate, key, octets, is_own=True)
    except (OSError, ValueError) as error:
        why = "it is not a certificate with its key, in PEM"
        if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
            why = reason_of(error)
        raise InputError(
            f"The panel's certificate {certificate} with the key {key} cannot be used: {why}.",
            stage="tls",
            cause="not_configured",
            detail=str(error),
        ) from error


def self_signed_certificate(home: Path, names: Iterable[str], now: float) -> ServerCertificate:
    """Return the self-signed certificate; create it at first, and renew it in time with the same key.

    Args:
        home: the home folder.
        names: host names and addresses that it must be valid for.
        now: the time, in seconds since 1970.

    Raises:
        VaultError: it cannot be stored.
    """
    folder = home / "panel"
    path, key_path = folder / "certificate.pem", folder / "key.pem"
    moment = datetime.fromtimestamp(now, UTC)
    wanted = frozenset(names)
    with reading(path):
        octets = durable.read(path, _LARGEST)
        key_octets = durable.read(key_path, _LARGEST)
    key = _loaded_key(key_octets)
    if octets is None or key is None or not _is_usable(octets, key, wanted, moment):
        key = key or ec.generate_private_key(ec.SECP256R1())
        octets = _make_certificate(key, wanted, moment)
        with writing(path):
            durable.make_folder(folder)
            durable.replace(key_path, _pem(key))
            durable.replace(path, octets)
    return _load_certificate(path, key_path, octets, is_own=False)


def _is_usable(octets: bytes, key: ec.EllipticCurvePrivateKey, wanted: frozenset[str], moment: datetime) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(octets)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    valid_for = {*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))}
    return (
        certificate.public_key() == key.public_key()
        and certificate.not_valid_before_utc <= moment < certificate.not_valid_after_utc - RENEW_BEFORE
        and wanted <= valid_for
    )


def _make_certificate(key: ec.EllipticCurvePrivateKey, names: frozenset[str], moment: datetime) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mailslot panel")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # The client's clock may be behind.
    begin = moment - timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + LIFETIME)
        .add_extension(x509.SubjectAlternativeName([_general_name(each) for each in sorted(names)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _loaded_key(octets: bytes | None) -> ec.EllipticCurvePrivateKey | None:
    if octets is None:
        return None
    try:
        key = serialization.load_pem_private_key(octets, None)
    except (ValueError, TypeError):
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else None


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load_certificate(certificate: Path, key: Path, octets: bytes, *, is_own: bool) -> ServerCertificate:
    found = x509.load_pem_x509_certificate(octets)
    digest = hashlib.sha256(found.public_bytes(serialization.Encoding.DER)).hexdigest().upper()
    pairs = ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))
    return ServerCertificate(certificate, key, is_own, pairs, found.not_valid_after_utc.timestamp())


def _no_password() -> str:
    # Without a callback, OpenSSL would ask for it on the terminal, and the service would wait for ever.
    return ""
