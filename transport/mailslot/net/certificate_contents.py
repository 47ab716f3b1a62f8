"""Parses the contents of a certificate, without verifying them."""

from __future__ import annotations

import hashlib
import json
import ssl
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import SubprocessError
from typing import TYPE_CHECKING, Any, Final

from mailslot.net.short_process import run_module
from mailslot.timestamps import day
from mailslot.wire.reply import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"
_MAX_NAMES: Final = 8
_MAX_NAME: Final = 100


@dataclass(frozen=True, slots=True)
class CertificateContents:
    """The contents of a certificate.

    Attributes:
        names: its subject alternative names; the common name if it has none.
        issuer: its issuer.
        self_signed: whether its issuer is its subject.
        valid_from: the beginning of its validity, in seconds since the epoch.
        valid_until: the end of its validity, likewise.
        subject: the common name of its subject, else the whole subject.
        fingerprint: the SHA-256 digest of its DER encoding, in lower-case hexadecimal.
        key_type: ``"RSA"``, ``"ECDSA"``, or empty for any other.
    """

    names: tuple[str, ...]
    issuer: str
    self_signed: bool
    valid_from: float
    valid_until: float
    subject: str = ""
    fingerprint: str = ""
    key_type: str = ""

    def __str__(self) -> str:
        names = ", ".join(self.names) or "no name"
        issuer = "itself" if self.self_signed else self.issuer or "nobody who has a name"
        return (
            f"certificate for {names}, issued by {issuer}, valid from {day(self.valid_from)} to {day(self.valid_until)}"
        )


def parse_certificate(octets: bytes) -> CertificateContents | None:
    """Return the contents of a certificate in DER; None if it is broken, or cryptography is not installed."""
    try:
        from cryptography import x509  # noqa: PLC0415 - it comes with an extra
    except ModuleNotFoundError:
        return None
    try:
        certificate = x509.load_der_x509_certificate(octets)
        return CertificateContents(
            names=tuple(map(_shorten, _names(certificate)))[:_MAX_NAMES],
            issuer=_name_of(certificate.issuer),
            self_signed=certificate.issuer == certificate.subject,
            valid_from=certificate.not_valid_before_utc.timestamp(),
            valid_until=certificate.not_valid_after_utc.timestamp(),
            subject=_name_of(certificate.subject),
            fingerprint=hashlib.sha256(octets).hexdigest(),
            key_type=_key_type(certificate),
        )
    except Exception:  # noqa: BLE001 - the parser raises many kinds of errors for a broken certificate
        return None


def read_certificate(path: Path) -> CertificateContents | None:
    """Return the contents of the first certificate in a file in PEM, which is a server's own; None as above.

    Args:
        path: the file; one that cannot be read has none.
    """
    try:
        text = path.read_text("ascii", "replace")
        der = ssl.PEM_cert_to_DER_cert(text[text.index(_BEGIN) : text.index(_END) + len(_END)])
    except (OSError, ValueError):
        return None
    return parse_certificate(der)


def read_certificates(paths: Sequence[Path]) -> list[CertificateContents | None]:
    """Return the result of `read_certificate` for several files, without keeping the parser in memory. It blocks.

    The parser takes 4 MB. So unless it is loaded already, another process reads the files.
    """
    if "cryptography.x509" not in sys.modules:
        with suppress(OSError, SubprocessError, ValueError):
            printed = run_module(__name__, *(str(path.absolute()) for path in paths))
            return [_contents_of(each) for each in json.loads(printed)]
    return list(map(read_certificate, paths))


def _contents_of(values: dict[str, Any] | None) -> CertificateContents | None:
    """Return the contents from the JSON of another process."""
    if values is None:
        return None
    values["names"] = tuple(values["names"])
    return CertificateContents(**values)


def _names(certificate: x509.Certificate) -> list[str]:
    from cryptography import x509  # noqa: PLC0415 - as above

    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [name] if (name := _common_name(certificate.subject)) else []
    addresses = alternative.get_values_for_type(x509.IPAddress)
    return [*alternative.get_values_for_type(x509.DNSName), *map(str, addresses)]


def _name_of(name: x509.Name) -> str:
    return _shorten(_common_name(name) or name.rfc4514_string())


def _common_name(name: x509.Name) -> str:
    from cryptography.x509.oid import NameOID  # noqa: PLC0415 - as above

    return next((str(attribute.value) for attribute in name.get_attributes_for_oid(NameOID.COMMON_NAME)), "")


def _key_type(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: PLC0415 - as above

    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return "RSA"
    return "ECDSA" if isinstance(key, ec.EllipticCurvePublicKey) else ""


def _shorten(text: str) -> str:
    return printable(text[:_MAX_NAME])


if __name__ == "__main__":
    _found = [read_certificate(Path(argument)) for argument in sys.argv[1:]]
    sys.stdout.write(json.dumps([None if each is None else asdict(each) for each in _found]))
