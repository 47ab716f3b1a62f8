"""Fetches and parses a certificate that was not accepted: its names, its issuer and its validity."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.errors import MailError
from mailslot.net.channel import Channel
from mailslot.net.connect import connect, resolve
from mailslot.net.endpoint import Security
from mailslot.pop3.dialogue import Pop3Dialogue
from mailslot.smtp.dialogue import SmtpDialogue
from mailslot.wire.redact import Redactor
from mailslot.wire.reply import printable

if TYPE_CHECKING:
    from cryptography import x509

    from mailslot.net.endpoint import Endpoint
    from mailslot.slots.slot import Protocol

_MAX_NAMES: Final = 8
_MAX_NAME: Final = 100


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """The contents of a certificate, none of them verified.

    Attributes:
        names: the hosts that it names; the common name if it names none.
        issuer: who issued it.
        self_signed: whether its issuer is its subject.
        valid_from: the beginning of its validity, in seconds since the epoch.
        valid_until: the end of its validity, likewise.
    """

    names: tuple[str, ...]
    issuer: str
    self_signed: bool
    valid_from: float
    valid_until: float

    def __str__(self) -> str:
        names = ", ".join(self.names) or "no name"
        issuer = "itself" if self.self_signed else self.issuer or "nobody who has a name"
        return (
            f"certificate for {names}, issued by {issuer}, valid from {day(self.valid_from)} to {day(self.valid_until)}"
        )


def day(timestamp: float) -> str:
    """Return the day of a timestamp in UTC, such as ``2026-03-31``."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d")


async def fetch_peer_certificate(endpoint: Endpoint, protocol: Protocol, timeout: float) -> PeerCertificate | None:
    """Return the certificate that a server presents; None if it cannot be fetched or parsed.

    No secret is sent, and nothing at all once TLS is up.

    Args:
        endpoint: the server, with TLS or STARTTLS.
        protocol: its protocol.
        timeout: seconds for each step; everything takes twice as long at most.
    """
    der: bytes | None = None
    with anyio.move_on_after(2 * timeout):
        try:
            der = await _fetch_der(endpoint, protocol, timeout)
        except MailError:
            return None
    return None if der is None else _parse(der)


async def _fetch_der(endpoint: Endpoint, protocol: Protocol, timeout: float) -> bytes | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    channel = Channel(await connect(endpoint, await resolve(endpoint, timeout), timeout), endpoint)
    try:
        if endpoint.security is Security.TLS:
            await channel.start_tls(context, timeout, after_starttls=False)
        else:
            await _start_tls(channel, context, protocol, timeout)
        return channel.peer_certificate
    finally:
        channel.close()


async def _start_tls(channel: Channel, context: ssl.SSLContext, protocol: Protocol, timeout: float) -> None:
    if protocol == "SMTP":
        smtp = SmtpDialogue(channel, timeout=timeout, transcript=None, redactor=Redactor())
        await smtp.await_greeting(context)
        async with smtp.exclusive_use("capabilities"):
            await smtp.send_ehlo(None, require_ehlo=True)
            await smtp.upgrade_to_tls(context)
    else:
        pop = Pop3Dialogue(channel, timeout=timeout, transcript=None, redactor=Redactor())
        await pop.await_greeting(context)
        async with pop.exclusive_use("capabilities"):
            await pop.request_capabilities()
            await pop.upgrade_to_tls(context)


def _parse(octets: bytes) -> PeerCertificate | None:
    try:
        from cryptography import x509  # noqa: PLC0415 - it comes with an extra
    except ModuleNotFoundError:
        return None
    try:
        certificate = x509.load_der_x509_certificate(octets)
        return PeerCertificate(
            names=tuple(map(_shorten, _names(certificate)))[:_MAX_NAMES],
            issuer=_shorten(_common_name(certificate.issuer) or certificate.issuer.rfc4514_string()),
            self_signed=certificate.issuer == certificate.subject,
            valid_from=certificate.not_valid_before_utc.timestamp(),
            valid_until=certificate.not_valid_after_utc.timestamp(),
        )
    except Exception:  # noqa: BLE001 - the parser raises many kinds of errors for a broken certificate
        return None


def _names(certificate: x509.Certificate) -> list[str]:
    from cryptography import x509  # noqa: PLC0415 - as above

    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [name] if (name := _common_name(certificate.subject)) else []
    addresses = alternative.get_values_for_type(x509.IPAddress)
    return [*alternative.get_values_for_type(x509.DNSName), *map(str, addresses)]


def _common_name(name: x509.Name) -> str:
    from cryptography.x509.oid import NameOID  # noqa: PLC0415 - as above

    return next((str(attribute.value) for attribute in name.get_attributes_for_oid(NameOID.COMMON_NAME)), "")


def _shorten(text: str) -> str:
    return printable(text[:_MAX_NAME])
