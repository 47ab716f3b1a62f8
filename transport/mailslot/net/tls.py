"""TLS: version 1.2 or newer, always verified if credentials follow, each failure with its own cause."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import stat
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel

from mailslot.errors import InputError, NetworkError
from mailslot.net.endpoint import Security, format_seconds
from mailslot.net.tls_socket import wrap_socket
from mailslot.wire.protocol_error import RemoteProtocolError

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.errors import Stage
    from mailslot.net.endpoint import Endpoint

# OpenSSL's verification results (openssl-verification-options, "X509_V_ERR_…").
_CERTIFICATE_CAUSES: Final = {
    9: ("certificate_not_yet_valid", "is not valid yet"),
    10: ("certificate_expired", "has expired"),
    62: ("certificate_name_mismatch", "was issued for another name"),
    64: ("certificate_name_mismatch", "was issued for another address"),
}
_UNTRUSTED: Final = ("certificate_untrusted", "is not trusted")

_FILE_REASONS: Final = {errno.ENOENT: "there is no such file", errno.EISDIR: "it is a folder"}

_MAX_FILE_SIZE: Final = 16 * 1024 * 1024

# OpenSSL's reasons for octets that are not a TLS record.
_PLAIN_TEXT_REASONS: Final = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"}
)

# OpenSSL's reasons for the alerts by which a server refuses our certificate, or the lack of one (RFC 8446 section 6.2).
_CERTIFICATE_ALERTS: Final = frozenset(
    {
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "TLSV1_ALERT_ACCESS_DENIED",
        "TLSV1_ALERT_UNKNOWN_CA",
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
    }
)

# The first octet of each type of TLS record (RFC 8446 section 5.1, RFC 6520 section 3); no text begins with one.
_TLS_RECORD_TYPES: Final = frozenset(range(20, 25))

_PLAIN_TEXT_TIMEOUT: Final = 2.0
"""Seconds to wait for the rest of a line of plain text; the handshake has failed anyway."""

_MAX_PLAIN_TEXT: Final = 512
"""Octets of plain text that are read instead of a TLS record: one line (RFC 5321 section 4.5.3.1.5)."""


class PlainTextError(Exception):
    """The server answered our ClientHello in plain text.

    Attributes:
        octets: the beginning of its text, at most a line.
    """

    def __init__(self, octets: bytes) -> None:
        super().__init__("plain text where a TLS record was due")
        self.octets = octets


@lru_cache(maxsize=1)
def default_context() -> ssl.SSLContext:
    """Return the default context: the system's authorities, TLS 1.2 or newer.

    It is shared, since creating one takes 20 ms.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def context_trusting(ca_file: Path, *, stage: Stage = "tls", cause: str = "not_configured") -> ssl.SSLContext:
    """Return a context that also trusts the authorities in a PEM file, TLS 1.2 or newer.

    Args:
        ca_file: the file.
        stage: the stage of the error.
        cause: the cause of the error.

    Raises:
        InputError: it is not a regular file, cannot be read, is larger than 16 MiB, or holds no certificate.
    """
    try:
        return _load_context(ca_file)
    except OSError as error:
        if isinstance(error, ssl.SSLError):
            reason = "there is no certificate in PEM in it"
        else:
            reason = _FILE_REASONS.get(error.errno or 0) or error.strerror or type(error).__name__
        raise InputError(
            f"The file of certificate authorities {str(ca_file)!r} cannot be used: {reason}.",
            stage=stage,
            cause=cause,
            detail=str(error),
        ) from None


def _load_context(ca_file: Path) -> ssl.SSLContext:
    # Without O_NONBLOCK, opening a named pipe would wait for somebody to write into it.
    with os.fdopen(os.open(ca_file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a file")
        octets = file.read(_MAX_FILE_SIZE + 1)
    if len(octets) > _MAX_FILE_SIZE:
        raise OSError(errno.EFBIG, f"it is larger than {_MAX_FILE_SIZE} octets")
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=octets.decode("ascii", "replace"))
    return context


def tls_context_for(endpoint: Endpoint, context: ssl.SSLContext | None, *, credentials: bool) -> ssl.SSLContext:
    """Return the TLS context for a connection; refuse one that would expose credentials.

    Args:
        endpoint: the server.
        context: the caller's settings; None for `default_context`.
        credentials: whether a token or password will be sent.

    Raises:
        InputError: credentials would be sent without TLS, or to a server whose certificate is not verified
            (RFC 8314 section 5.2).
    """
    if credentials and endpoint.security is Security.NONE:
        raise InputError(
            "A token or password is never sent without encryption: use Security.STARTTLS or Security.TLS.",
            stage="sign_in",
        )
    if context is not None and not isinstance(context, ssl.SSLContext):
        raise InputError(f"ssl_context is a {type(context).__name__}; it must be an ssl.SSLContext.", stage="tls")
    if (
        credentials
        and context is not None
        and not (context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname)
    ):
        raise InputError(
            "A token or password is only sent to a server whose certificate is verified, its name included, and this "
            "ssl_context does not do that.",
            stage="tls",
        )
    return context or default_context()


async def start_tls(
    connected: socket.socket,
    endpoint: Endpoint,
    context: ssl.SSLContext,
    timeout: float,
    *,
    after_starttls: bool,
) -> ssl.SSLSocket:
    """Start TLS.

    Args:
        connected: the connection, non-blocking.
        endpoint: the server, whose name the certificate must have.
        context: the TLS context.
        timeout: seconds for the handshake.
        after_starttls: whether the connection was upgraded by STARTTLS or STLS, rather than encrypted from the start.

    Raises:
        RemoteProtocolError: the server has sent octets ahead of the handshake, in which the client speaks first.
        PlainTextError: it answers in plain text after STARTTLS or STLS; the connection is closed.
        NetworkError: stage `tls`; the connection is closed.
    """
    if after_starttls:
        # Give octets that directly follow the reply the chance to arrive.
        await anyio.lowlevel.checkpoint()
        if _has_pending_octets(connected):
            raise RemoteProtocolError("octets sent ahead of the TLS handshake", cause="tls_injection")
    encrypted: ssl.SSLSocket | None = None
    try:
        with anyio.fail_after(timeout):
            encrypted = wrap_socket(context, connected, endpoint.ascii_host)
            in_plain_text = not await _handshake(encrypted)
        if in_plain_text:
            raise PlainTextError(await _read_plain_text_line(encrypted, timeout))
    except BaseException as error:
        (encrypted or connected).close()
        if isinstance(error, OSError) or (isinstance(error, PlainTextError) and not after_starttls):
            raise tls_error(error, endpoint, timeout, after_starttls=after_starttls) from error
        raise
    try:
        check_tls_version(encrypted.version(), endpoint)
    except NetworkError:
        encrypted.close()
        raise
    _acknowledge_at_once(encrypted)
    return encrypted


def _acknowledge_at_once(encrypted: ssl.SSLSocket) -> None:
    """Acknowledge what comes next at once.

    After the handshake the server sends session tickets, and its greeting only when they are acknowledged, as far as it
    uses Nagle's algorithm, as Postfix does. Linux would wait 40 ms for something to send with the acknowledgement. It
    forgets this setting when octets are sent, so it is of no use before the handshake.
    """
    if hasattr(socket, "TCP_QUICKACK"):
        encrypted.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def refused_certificate_error(error: BaseException, host: str, stage: Stage = "tls") -> NetworkError | None:
    """Return the error for an exception by which the server has refused our certificate; None for any other.

    With TLS 1.3 the refusal comes after the handshake, in place of the server's next words (RFC 8446 section 2).
    """
    if not isinstance(error, ssl.SSLError) or error.reason not in _CERTIFICATE_ALERTS:
        return None
    sentence = f"The mail server {host} demands a certificate of this device, and has accepted none."
    return NetworkError(sentence, stage=stage, cause="tls_failed", detail=str(error))


def check_tls_version(version: str | None, endpoint: Endpoint) -> None:
    """Refuse versions older than TLS 1.2, which the caller's context may allow.

    Raises:
        NetworkError: stage `tls`.
    """
    if version not in {"TLSv1.2", "TLSv1.3"}:
        raise NetworkError(
            f"The mail server {endpoint.host} speaks only {version}, which is too old to be safe.",
            stage="tls",
            cause="tls_failed",
        )


def _has_pending_octets(connected: socket.socket) -> bool:
    try:
        return bool(connected.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


async def _handshake(encrypted: ssl.SSLSocket) -> bool:
    """Perform the handshake; return False if the server answers in plain text."""
    begun = False
    while True:
        try:
            encrypted.do_handshake()
        except ssl.SSLWantReadError:
            await anyio.wait_readable(encrypted)
            if not begun:
                begun = True
                # OpenSSL would only report that it is not TLS; the server's text says more.
                if (first := _receive_raw(encrypted, 1, socket.MSG_PEEK)) and first[0] not in _TLS_RECORD_TYPES:
                    return False
        except ssl.SSLWantWriteError:
            await anyio.wait_writable(encrypted)
        else:
            return True


async def _read_plain_text_line(encrypted: ssl.SSLSocket, timeout: float) -> bytes:
    """Return a line of plain text, or what has come of it when the timeout expires."""
    text = bytearray()
    with suppress(OSError), anyio.move_on_after(min(timeout, _PLAIN_TEXT_TIMEOUT)):
        while b"\n" not in text and len(text) < _MAX_PLAIN_TEXT:
            await anyio.wait_readable(encrypted)
            more = _receive_raw(encrypted, _MAX_PLAIN_TEXT - len(text))
            if not more:
                break
            text += more
    return bytes(text)


def _receive_raw(encrypted: ssl.SSLSocket, count: int, flags: int = 0) -> bytes:
    """Return octets of the socket below TLS; empty if there are none."""
    try:
        return socket.socket.recv(encrypted, count, flags)
    except BlockingIOError:
        return b""


def tls_error(error: BaseException, endpoint: Endpoint, timeout: float, *, after_starttls: bool) -> NetworkError:
    """Return the `NetworkError` for an exception that a handshake raised.

    Args:
        error: the exception.
        endpoint: as for `start_tls`.
        timeout: as for `start_tls`.
        after_starttls: as for `start_tls`.
    """
    host = endpoint.host
    if (refused := refused_certificate_error(error, host)) is not None:
        return refused
    detail = str(error) or type(error).__name__
    waited: float | None = None
    if isinstance(error, TimeoutError) and error.errno is None:
        cause, retryable, waited = "connection_timeout", True, timeout
        seconds = format_seconds(timeout)
        sentence = f"The mail server {host} fell silent while encryption was set up: no answer within {seconds}."
    elif isinstance(error, ssl.SSLCertVerificationError):
        cause, why = _CERTIFICATE_CAUSES.get(error.verify_code, _UNTRUSTED)
        sentence, retryable = f"The certificate of the mail server {host} {why}.", False
        detail = f"{error.verify_message} (verification result {error.verify_code})"
    elif isinstance(error, PlainTextError):
        cause, retryable = "tls_port_mismatch", False
        sentence = f"Port {endpoint.port} of the mail server {host} does not begin with encryption."
        detail = f"{detail}: {error.octets.decode('ascii', 'backslashreplace')!a}"
    elif isinstance(error, ssl.SSLError) and error.reason in _PLAIN_TEXT_REASONS and not after_starttls:
        cause, retryable = "tls_port_mismatch", False
        sentence = f"Port {endpoint.port} of the mail server {host} does not begin with encryption."
    elif isinstance(error, ssl.SSLError) and not isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        cause, retryable = "tls_failed", False
        sentence = f"Encryption with the mail server {host} could not be agreed upon."
    else:
        cause, retryable = "tls_failed", True
        sentence = f"The mail server {host} closed the connection while encryption was being set up."
    return NetworkError(sentence, stage="tls", cause=cause, retryable=retryable, detail=detail, waited=waited)
