"""The panel's certificate: the administrator's own, or one that the device makes for itself.

Nobody can vouch for a device that has just been unpacked, so that browsers warn of a self-made certificate. Who
compares its fingerprint, as the service and the panel show it, knows all the same whom they talk to.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
from contextlib import suppress
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
"""As long as browsers accept one (CA/Browser Forum, Baseline Requirements 6.3.2)."""

RENEWED: Final = timedelta(days=30)
"""How long before its end a self-made certificate is made anew."""

_LARGEST: Final = 64 * 1024
# Nothing is sent there: connecting a UDP socket only chooses the address that would be used (RFC 5737, RFC 3849).
_SOMEWHERE: Final = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


@dataclass(frozen=True, slots=True)
class Identity:
    """What the panel shows browsers.

    Attributes:
        certificate: the path of its certificate, PEM.
        key: the path of its key, PEM.
        own: whether the administrator has set it.
        fingerprint: the certificate's SHA-256, in pairs of hexadecimal digits.
        ends: when it ends, in seconds since 1970.
    """

    certificate: Path
    key: Path
    own: bool
    fingerprint: str
    ends: float


def own(certificate: Path, key: Path) -> Identity:
    """Return the administrator's certificate.

    Raises:
        InputError: it cannot be used.
    """
    try:
        octets = durable.read(certificate, _LARGEST) or b""
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
        return _identity(certificate, key, octets, is_own=True)
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


def self_made(home: Path, names: Iterable[str], now: float) -> Identity:
    """Return the device's own certificate, made at first and made anew in time; its key stays.

    Args:
        home: the home folder.
        names: host names and addresses that it must be good for.
        now: the time, in seconds since 1970.

    Raises:
        VaultError: it cannot be kept.
    """
    folder = home / "panel"
    path, key_path = folder / "certificate.pem", folder / "key.pem"
    moment = datetime.fromtimestamp(now, UTC)
    wanted = frozenset(names)
    with reading(path):
        octets = durable.read(path, _LARGEST)
        key_octets = durable.read(key_path, _LARGEST)
    key = _loaded_key(key_octets)
    if octets is None or key is None or not _is_good(octets, key, wanted, moment):
        key = key or ec.generate_private_key(ec.SECP256R1())
        octets = _made(key, wanted, moment)
        with writing(path):
            durable.make_folder(folder)
            durable.replace(key_path, _pem(key))
            durable.replace(path, octets)
    return _identity(path, key_path, octets, is_own=False)


def own_addresses(bound: str) -> tuple[str, ...]:
    """Return the addresses at which this machine can be reached.

    Args:
        bound: where the panel listens; ``0.0.0.0`` or ``::`` for everywhere.
    """
    if bound not in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound to
        return (bound.partition("%")[0],)
    found: list[str] = []
    for family, somewhere in _SOMEWHERE:
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((somewhere, 9))
            found.append(str(probe.getsockname()[0]).partition("%")[0])
    return tuple(dict.fromkeys((*found, "127.0.0.1")))


def _is_good(octets: bytes, key: ec.EllipticCurvePrivateKey, wanted: frozenset[str], moment: datetime) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(octets)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    good_for = {*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))}
    return (
        certificate.public_key() == key.public_key()
        and certificate.not_valid_before_utc <= moment < certificate.not_valid_after_utc - RENEWED
        and wanted <= good_for
    )


def _made(key: ec.EllipticCurvePrivateKey, names: frozenset[str], moment: datetime) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mailslot panel")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # Clocks differ, and a device's more than others.
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


def _identity(certificate: Path, key: Path, octets: bytes, *, is_own: bool) -> Identity:
    found = x509.load_pem_x509_certificate(octets)
    digest = hashlib.sha256(found.public_bytes(serialization.Encoding.DER)).hexdigest().upper()
    pairs = ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))
    return Identity(certificate, key, is_own, pairs, found.not_valid_after_utc.timestamp())


def _no_password() -> str:
    # Without one, OpenSSL would ask for it on the terminal, and the service would wait for ever.
    return ""
