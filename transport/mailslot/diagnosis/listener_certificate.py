"""The certificate of a gateway's listener, for commands and the panel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.net.certificate_contents import CertificateContents

_WARNED_BEFORE: Final = 14 * 86_400.0
"""Seconds before a certificate expires in which there is a warning."""

_WARNED_PART: Final = 5
"""The part of a short-lived certificate's validity in which there is a warning: the last fifth."""


@dataclass(frozen=True, slots=True)
class ListenerCertificate:
    """A certificate of a listener. mailslot generates two for a listener, with an RSA and an ECDSA key.

    Attributes:
        subject: its subject.
        names: its host names and addresses.
        issuer: its issuer.
        fingerprint: the SHA-256 digest of its DER encoding, in lower-case hexadecimal.
        key_type: ``"RSA"``, ``"ECDSA"``, or empty for any other.
        valid_from: the beginning of its validity, in seconds since the epoch.
        valid_until: the end of its validity, likewise.
        generated: whether mailslot has generated it; otherwise it is from the settings.
    """

    subject: str
    names: tuple[str, ...]
    issuer: str
    fingerprint: str
    key_type: str
    valid_from: float
    valid_until: float
    generated: bool

    @classmethod
    def of(cls, contents: CertificateContents, *, generated: bool) -> ListenerCertificate:
        """Return a certificate from its contents."""
        return cls(
            subject=contents.subject,
            names=contents.names,
            issuer=contents.issuer,
            fingerprint=contents.fingerprint,
            key_type=contents.key_type,
            valid_from=contents.valid_from,
            valid_until=contents.valid_until,
            generated=generated,
        )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ListenerCertificate:
        """Return a certificate from its JSON fields."""
        return replace(cls(**values), names=tuple(values["names"]))

    @property
    def grouped_fingerprint(self) -> str:
        """The fingerprint in the common form ``0A:1B:…``."""
        return ":".join(self.fingerprint[at : at + 2] for at in range(0, len(self.fingerprint), 2)).upper()

    def has_ended(self, now: float) -> bool:
        """Whether it is no longer valid."""
        return now >= self.valid_until

    def ends_soon(self, now: float) -> bool:
        """Whether it should have been replaced by now, or is no longer valid."""
        return now >= self.valid_until - min(_WARNED_BEFORE, (self.valid_until - self.valid_from) / _WARNED_PART)
