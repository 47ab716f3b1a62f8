"""Trust for ``ipps``: configured certificate authorities, else the certificate that the printer showed first.

Printers have self-signed certificates. The first one is stored (pinned), and later connections succeed only if the
printer proves in the TLS handshake, before any document is sent, that it has the key of that certificate.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import anyio
from anyio.streams.tls import TLSAttribute, TLSStream
from anyio.to_thread import run_sync

from mailslot_plugins.printers.ipp.client import tls_context
from mailslot_plugins.printers.printer import PrinterError

if TYPE_CHECKING:
    from mailslot_plugins.printers.printer import PrinterOptions

_NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME: certificates of printers expire and are not replaced."""


async def tls_context_for(address: str, options: PrinterOptions) -> ssl.SSLContext:
    """Return the TLS context for a printer; the first time, its certificate is fetched and pinned.

    Raises:
        InputError: the file of certificate authorities cannot be used.
        PrinterError: the printer cannot be reached, or does not support TLS.
    """
    if not address.startswith("https:") or options.ca_file is not None or options.pins is None:
        return await run_sync(tls_context, options.ca_file)
    pin_key = host_and_port(address)
    pem = await options.pins.get(pin_key)
    if pem is None:
        pem = await _fetch_certificate(address, options.timeout)
        await options.pins.put(pin_key, pem)
    return pinned_context(pem)


def host_and_port(address: str) -> str:
    """Return ``HOST:PORT``, the key under which a printer's certificate is stored."""
    return urlsplit(address).netloc


def untrusted_sentence(options: PrinterOptions) -> str:
    """Return why a printer's certificate is not trusted, and what to do if the printer was replaced."""
    if options.ca_file is not None:
        return "The printer's certificate was not issued by an authority in ca_file."
    if options.pins is None:
        return "The printer's certificate is not trusted."
    # The sentence does not name the printer's address, because senders of documents read it too.
    return (
        "The printer's certificate has changed. If the printer was replaced or reset, forget the old certificate with "
        "mailslot printer forget, or on the page Device of the panel."
    )


def pinned_context(pem: str) -> ssl.SSLContext:
    """Return a context that accepts only one certificate, whatever its name and dates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags = ssl.VerifyFlags(_NO_CHECK_TIME) | ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=pem)
    return context


async def _fetch_certificate(address: str, timeout: float) -> str:
    """Return a printer's certificate, in PEM."""
    parts = urlsplit(address)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    host = parts.hostname or ""
    try:
        with anyio.fail_after(timeout):
            plain = await anyio.connect_tcp(host, parts.port or 631)
            try:
                secured = await TLSStream.wrap(plain, hostname=host, ssl_context=context, standard_compatible=False)
            except BaseException:
                await anyio.aclose_forcefully(plain)
                raise
            certificate = secured.extra(TLSAttribute.peer_certificate_binary)
            await anyio.aclose_forcefully(secured)
    except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
        raise PrinterError(
            "The printer cannot be reached over an encrypted connection.",
            stage="tls",
            cause="printer_unreachable",
            retryable=True,
            detail=str(error),
        ) from error
    if certificate is None:
        raise PrinterError(
            "The printer shows no certificate.", stage="tls", cause="printer_unreachable", retryable=True
        )
    return ssl.DER_cert_to_PEM_cert(certificate)
