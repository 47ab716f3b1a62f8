"""TLS on a connection: never below 1.2, never unverified where a credential follows, and faults told apart."""

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
from mailslot.net.endpoint import Security, in_seconds
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

_LARGEST_FILE: Final = 16 * 1024 * 1024

# What OpenSSL calls octets that are no TLS record.
_PLAIN_TEXT: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"})

# The first octet of each kind of TLS record (RFC 8446 section 5.1, RFC 6520 section 3); no words begin with one.
_RECORDS: Final = frozenset(range(20, 25))

_PATIENCE: Final = 2.0
"""Seconds for the rest of a line of plain text; the handshake has failed by then."""

_WORDS: Final = 512
"""Octets of plain text that are read where a TLS record was due: a line (RFC 5321 section 4.5.3.1.5)."""


class PlainTextError(Exception):
    """The server answered our ClientHello in plain text: it does not encrypt, whatever it said before.

    Attributes:
        octets: how its words begin: at most a line.
    """

    def __init__(self, octets: bytes) -> None:
        super().__init__("plain text where a TLS record was due")
        self.octets = octets


@lru_cache(maxsize=1)
def default_context() -> ssl.SSLContext:
    """Return the context used where none is given: the system's authorities, TLS 1.2 or newer.

    One for the whole process, since making one takes 20 ms.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def context_trusting(ca_file: Path, *, stage: Stage = "tls", cause: str = "not_configured") -> ssl.SSLContext:
    """Return a context that trusts the authorities of a file in PEM besides the system's, TLS 1.2 or newer.

    Args:
        ca_file: the file.
        stage: that of the error.
        cause: likewise.

    Raises:
        InputError: it is no regular file, cannot be read, is larger than 16 MiB, or holds no certificate.
    """
    try:
        return _trusting(ca_file)
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


def _trusting(ca_file: Path) -> ssl.SSLContext:
    # Without O_NONBLOCK, opening a named pipe would wait for somebody to write into it.
    with os.fdopen(os.open(ca_file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no file")
        octets = file.read(_LARGEST_FILE + 1)
    if len(octets) > _LARGEST_FILE:
        raise OSError(errno.EFBIG, f"it is larger than {_LARGEST_FILE} octets")
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=octets.decode("ascii", "replace"))
    return context


def context_for(endpoint: Endpoint, given: ssl.SSLContext | None, *, credentials: bool) -> ssl.SSLContext:
    """Return the TLS settings for a connection, and refuse those under which a credential could be read.

    Args:
        endpoint: where the connection goes.
        given: what the caller wants; None for `default_context`.
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
    if given is not None and not isinstance(given, ssl.SSLContext):
        raise InputError(f"ssl_context is a {type(given).__name__}; it must be an ssl.SSLContext.", stage="tls")
    if credentials and given is not None and not (given.verify_mode is ssl.CERT_REQUIRED and given.check_hostname):
        raise InputError(
            "A token or password is only sent to a server whose certificate is verified, its name included, and this "
            "ssl_context does not do that.",
            stage="tls",
        )
    return given or default_context()


async def start_tls(
    connected: socket.socket,
    endpoint: Endpoint,
    context: ssl.SSLContext,
    timeout: float,
    *,
    upgraded: bool,
) -> ssl.SSLSocket:
    """Bring TLS up.

    Args:
        connected: the connection, which does not block.
        endpoint: whose name the certificate has to bear.
        context: the client's TLS settings.
        timeout: seconds for the handshake.
        upgraded: whether STARTTLS or STLS went before.

    Raises:
        RemoteProtocolError: the server has sent something already, though the client speaks first in TLS.
        PlainTextError: it answers in plain text where STARTTLS or STLS went before; the connection is closed.
        NetworkError: stage `tls`; the connection is closed.
    """
    if upgraded:
        # What follows the server's answer closely gets a moment to arrive.
        await anyio.lowlevel.checkpoint()
        if _has_octets(connected):
            raise RemoteProtocolError("octets sent ahead of the TLS handshake", cause="tls_injection")
    encrypted: ssl.SSLSocket | None = None
    try:
        with anyio.fail_after(timeout):
            encrypted = context.wrap_socket(
                connected, server_hostname=endpoint.ascii_host, do_handshake_on_connect=False
            )
            in_plain_text = not await _shake_hands(encrypted)
        if in_plain_text:
            raise PlainTextError(await _words(encrypted, timeout))
    except BaseException as error:
        (encrypted or connected).close()
        if isinstance(error, OSError) or (isinstance(error, PlainTextError) and not upgraded):
            raise tls_failure(error, endpoint, timeout, upgraded=upgraded) from error
        raise
    try:
        check_version(encrypted.version(), endpoint)
    except NetworkError:
        encrypted.close()
        raise
    return encrypted


def check_version(version: str | None, endpoint: Endpoint) -> None:
    """Refuse what is older than TLS 1.2, which a caller's context may have let pass.

    Raises:
        NetworkError: stage `tls`.
    """
    if version not in {"TLSv1.2", "TLSv1.3"}:
        raise NetworkError(
            f"The mail server {endpoint.host} speaks only {version}, which is too old to be safe.",
            stage="tls",
            cause="tls_failed",
        )


def _has_octets(connected: socket.socket) -> bool:
    try:
        return bool(connected.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


async def _shake_hands(encrypted: ssl.SSLSocket) -> bool:
    """Make the handshake; return whether the server answers with TLS at all."""
    begun = False
    while True:
        try:
            encrypted.do_handshake()
        except ssl.SSLWantReadError:
            await anyio.wait_readable(encrypted)
            if not begun:
                begun = True
                # Of plain text OpenSSL says only that it is no TLS; what the server says is worth more.
                if (first := _octets(encrypted, 1, socket.MSG_PEEK)) and first[0] not in _RECORDS:
                    return False
        except ssl.SSLWantWriteError:
            await anyio.wait_writable(encrypted)
        else:
            return True


async def _words(encrypted: ssl.SSLSocket, timeout: float) -> bytes:
    """Return what a server says in plain text, up to a line; its end may take another moment, and is not needed."""
    words = bytearray()
    with suppress(OSError), anyio.move_on_after(min(timeout, _PATIENCE)):
        while b"\n" not in words and len(words) < _WORDS:
            await anyio.wait_readable(encrypted)
            more = _octets(encrypted, _WORDS - len(words))
            if not more:
                break
            words += more
    return bytes(words)


def _octets(encrypted: ssl.SSLSocket, count: int, flags: int = 0) -> bytes:
    """Return octets as they came, past TLS; none where there are none."""
    try:
        return socket.socket.recv(encrypted, count, flags)
    except BlockingIOError:
        return b""


def tls_failure(error: BaseException, endpoint: Endpoint, timeout: float, *, upgraded: bool) -> NetworkError:
    """Return what `error`, raised by a handshake, is to the caller.

    Args:
        error: the error.
        endpoint: as for `start_tls`.
        timeout: likewise.
        upgraded: likewise.
    """
    host = endpoint.host
    detail = str(error) or type(error).__name__
    waited: float | None = None
    if isinstance(error, TimeoutError) and error.errno is None:
        cause, retryable, waited = "connection_timeout", True, timeout
        sentence = (
            f"The mail server {host} fell silent while encryption was set up: no answer within {in_seconds(timeout)}."
        )
    elif isinstance(error, ssl.SSLCertVerificationError):
        cause, why = _CERTIFICATE_CAUSES.get(error.verify_code, _UNTRUSTED)
        sentence, retryable = f"The certificate of the mail server {host} {why}.", False
        detail = f"{error.verify_message} (verification result {error.verify_code})"
    elif isinstance(error, PlainTextError):
        cause, retryable = "tls_port_mismatch", False
        sentence = f"Port {endpoint.port} of the mail server {host} does not begin with encryption."
        detail = f"{detail}: {error.octets.decode('ascii', 'backslashreplace')!a}"
    elif isinstance(error, ssl.SSLError) and error.reason in _PLAIN_TEXT and not upgraded:
        cause, retryable = "tls_port_mismatch", False
        sentence = f"Port {endpoint.port} of the mail server {host} does not begin with encryption."
    elif isinstance(error, ssl.SSLError) and not isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        cause, retryable = "tls_failed", False
        sentence = f"Encryption with the mail server {host} could not be agreed upon."
    else:
        cause, retryable = "tls_failed", True
        sentence = f"The mail server {host} closed the connection while encryption was being set up."
    return NetworkError(sentence, stage="tls", cause=cause, retryable=retryable, detail=detail, waited=waited)
