"""Whom ``ipps`` trusts: authorities that were named, else the certificate that the printer showed first.

Printers sign their certificates themselves, and none bears a name that anybody vouches for. What was shown first is
kept, and from then on no connection is made to whoever cannot prove that he has its key; it is verified in the TLS
handshake, before an octet of a document leaves.
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
    from mailslot_plugins.printers.printer import Options

_NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME: printers' certificates expire, and nobody renews them."""


async def context_for(address: str, options: Options) -> ssl.SSLContext:
    """Return how connections to a printer are verified; asks it for its certificate the first time.

    Args:
        address: the printer's, as HTTP has it.
        options: those of the printer.

    Raises:
        InputError: the file of authorities cannot be used.
        PrinterError: the printer cannot be reached, or speaks no TLS.
    """
    if not address.startswith("https:") or options.ca_file is not None or options.pins is None:
        return await run_sync(tls_context, options.ca_file)
    place = place_of(address)
    pem = await options.pins.get(place)
    if pem is None:
        pem = await _shown(address, options.timeout)
        await options.pins.put(place, pem)
    return pinned(pem)


def place_of(address: str) -> str:
    """Return by what a printer's certificate is kept, ``HOST:PORT``.

    Args:
        address: the printer's, as HTTP has it.
    """
    return urlsplit(address).netloc


def distrusted(options: Options) -> str:
    """Say why a printer's certificate is not believed, and what to do where that is no surprise.

    Args:
        options: those of the printer.
    """
    if options.ca_file is not None:
        return "Nobody whom ca_file names vouches for the printer's certificate."
    if options.pins is None:
        return "Nobody vouches for the printer's certificate."
    # It does not say where the printer is: whoever has mailed a document is told as well.
    return (
        "The printer shows another certificate than before. If it was replaced or reset, let go of the old one with "
        "mailslot printer forget, or on the page Device of the panel."
    )


def pinned(pem: str) -> ssl.SSLContext:
    """Return a context that takes one certificate alone, whatever name and dates stand in it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags = ssl.VerifyFlags(_NO_CHECK_TIME) | ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=pem)
    return context


async def _shown(address: str, timeout: float) -> str:
    """Return the certificate that a printer shows, in PEM."""
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
            shown = secured.extra(TLSAttribute.peer_certificate_binary)
            await anyio.aclose_forcefully(secured)
    except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
        raise PrinterError(
            "The printer cannot be reached over an encrypted connection.",
            stage="tls",
            cause="printer_unreachable",
            retryable=True,
            detail=str(error),
        ) from error
    if shown is None:
        raise PrinterError(
            "The printer shows no certificate.", stage="tls", cause="printer_unreachable", retryable=True
        )
    return ssl.DER_cert_to_PEM_cert(shown)
