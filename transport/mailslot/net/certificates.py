"""The self-signed certificates of listeners: created once, and stored in a folder."""

from __future__ import annotations

import ipaddress
import os
import secrets
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from subprocess import SubprocessError
from typing import TYPE_CHECKING, Final

from mailslot.net.short_process import run_module

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.x509 import GeneralName, KeyUsage

NAMES: Final = ("rsa.pem", "ecdsa.pem")
"""Old devices support only RSA; for others ECDSA takes a tenth of the time."""

# Fixed, since the clock of a device, and of the machine that this runs on, may be wrong at the first start; and before
# 2050, after which dates are written in another way that some devices cannot read (RFC 5280 section 4.1.2.5).
_NOT_BEFORE: Final = datetime(2020, 1, 1, tzinfo=UTC)
_NOT_AFTER: Final = datetime(2049, 12, 31, tzinfo=UTC)


def ensure_certificates(folder: Path, hosts: Sequence[str]) -> list[tuple[Path, Path]]:
    """Return a certificate with an RSA key and one with an ECDSA key, for `mailslot.net.server_tls.server_context`.

    They are created the first time, self-signed, and are on the disk once this returns. Two processes that call it at
    the same time get the same certificates. Creating the RSA key takes up to a second: call this in a thread.

    Args:
        folder: an existing folder; each file in it has the key and the certificate, and only its owner can read it.
        hosts: the names and IP addresses that the certificates are for, at least one; those that exist keep theirs.

    Raises:
        OSError: they cannot be written.
    """
    missing = not all((folder / name).exists() for name in NAMES)
    if missing and "cryptography.x509" not in sys.modules:
        # Created in another process, since cryptography takes 4 MB, and the service has no other use for it.
        with suppress(OSError, SubprocessError):
            run_module(__name__, str(folder.absolute()), *hosts)
    _create_missing(folder, hosts)
    return [(folder / name, folder / name) for name in NAMES]


def _create_missing(folder: Path, hosts: Sequence[str]) -> None:
    made = False
    for name in NAMES:
        if not (folder / name).exists():
            _create(folder / name, _make(name, hosts))
            made = True
    if made:
        _sync_folder(folder)


def _make(name: str, hosts: Sequence[str]) -> bytes:
    # It belongs to an extra, and takes a while to import.
    from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    key: RSAPrivateKey | EllipticCurvePrivateKey
    key = rsa.generate_private_key(65_537, 2_048) if name == "rsa.pem" else ec.generate_private_key(ec.SECP256R1())
    # PKCS#1 and SEC1, which all programs can read.
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return private + _certificate(key, hosts)


def _certificate(key: RSAPrivateKey | EllipticCurvePrivateKey, hosts: Sequence[str]) -> bytes:
    from cryptography import x509  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID  # noqa: PLC0415

    # A common name has at most 64 characters (RFC 5280 appendix A.1).
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        # A certificate authority for itself only, so that it can be imported as a trusted one on a device.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key), critical=True)
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
        .public_bytes(Encoding.PEM)
    )


def _key_usage(key: RSAPrivateKey | EllipticCurvePrivateKey) -> KeyUsage:
    from cryptography import x509  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415

    return x509.KeyUsage(
        digital_signature=True,
        # Old devices use RSA for the key exchange.
        key_encipherment=isinstance(key, RSAPrivateKey),
        key_cert_sign=True,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> GeneralName:
    from cryptography import x509  # noqa: PLC0415 - as above

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _create(path: Path, octets: bytes) -> None:
    """Create a file atomically; keep a file that another process has created in the meantime."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(fresh)
        except FileExistsError:
            return
        except OSError:
            # FAT, as on memory cards, has no links. Of two processes at the same time, both end up with one of the
            # certificates, since each loads files again that have changed.
            if not path.exists():
                fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    _create_missing(Path(sys.argv[1]), sys.argv[2:])
