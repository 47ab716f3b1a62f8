"""A look at a certificate that was not accepted: whose it is, for which names, and from when until when."""

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
    """What a certificate says of itself. Nothing of it is verified.

    Attributes:
        names: the hosts that it is for; the common name where it names none.
        issuer: who issued it.
        own: whether it was issued by itself.
        valid_from: when it begins to be valid, in seconds since the epoch.
        valid_until: when it ends, likewise.
    """

    names: tuple[str, ...]
    issuer: str
    own: bool
    valid_from: float
    valid_until: float

    def __str__(self) -> str:
        names = ", ".join(self.names) or "no name"
        issuer = "itself" if self.own else self.issuer or "nobody who has a name"
        return (
            f"certificate for {names}, issued by {issuer}, valid from {day(self.valid_from)} to {day(self.valid_until)}"
        )


def day(moment: float) -> str:
    """Return a moment's day in UTC, such as ``2026-03-31``."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")


async def fetch_peer_certificate(endpoint: Endpoint, protocol: Protocol, timeout: float) -> PeerCertificate | None:
    """Return the certificate that a server shows; None where it cannot be seen.

    No secret is sent, and nothing at all once TLS is up.

    Args:
        endpoint: where, with TLS or STARTTLS.
        protocol: what is spoken there.
        timeout: seconds for each step; all of it takes twice as long at most.
    """
    seen: bytes | None = None
    with anyio.move_on_after(2 * timeout):
        try:
            seen = await _shown(endpoint, protocol, timeout)
        except MailError:
            return None
    return None if seen is None else _parsed(seen)


async def _shown(endpoint: Endpoint, protocol: Protocol, timeout: float) -> bytes | None:
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


def _parsed(octets: bytes) -> PeerCertificate | None:
    try:
        from cryptography import x509  # noqa: PLC0415 - it comes with an extra
    except ModuleNotFoundError:
        return None
    try:
        found = x509.load_der_x509_certificate(octets)
        return PeerCertificate(
            names=tuple(map(_short, _names(found)))[:_MAX_NAMES],
            issuer=_short(_common_name(found.issuer) or found.issuer.rfc4514_string()),
            own=found.issuer == found.subject,
            valid_from=found.not_valid_before_utc.timestamp(),
            valid_until=found.not_valid_after_utc.timestamp(),
        )
    except Exception:  # noqa: BLE001 - it is a stranger's, and the parser raises many things
        return None


def _names(found: x509.Certificate) -> list[str]:
    from cryptography import x509  # noqa: PLC0415 - as above

    try:
        alternative = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [name] if (name := _common_name(found.subject)) else []
    addresses = alternative.get_values_for_type(x509.IPAddress)
    return [*alternative.get_values_for_type(x509.DNSName), *map(str, addresses)]


def _common_name(name: x509.Name) -> str:
    from cryptography.x509.oid import NameOID  # noqa: PLC0415 - as above

    return next((str(attribute.value) for attribute in name.get_attributes_for_oid(NameOID.COMMON_NAME)), "")


def _short(text: str) -> str:
    return printable(text[:_MAX_NAME])
