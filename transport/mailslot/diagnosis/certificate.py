"""Fetches a certificate that was not accepted."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import anyio

from mailslot.errors import MailError
from mailslot.net.certificate_contents import parse_certificate
from mailslot.net.channel import Channel
from mailslot.net.connect import connect, resolve
from mailslot.net.endpoint import Security
from mailslot.pop3.dialogue import Pop3Dialogue
from mailslot.smtp.dialogue import SmtpDialogue
from mailslot.wire.redact import Redactor

if TYPE_CHECKING:
    from mailslot.net.certificate_contents import CertificateContents
    from mailslot.net.endpoint import Endpoint
    from mailslot.slots.slot import Protocol


async def fetch_peer_certificate(endpoint: Endpoint, protocol: Protocol, timeout: float) -> CertificateContents | None:
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
    return None if der is None else parse_certificate(der)


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
