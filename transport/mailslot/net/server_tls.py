"""TLS contexts of listeners: modern ones, and one for old devices."""

from __future__ import annotations

import ssl
from functools import partial
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_NO_CHECK_TIME: Final = 0x20_0000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, for which Python has no name."""

_LEGACY_CIPHERS: Final = "ALL:!aNULL:!eNULL:!EXPORT:@SECLEVEL=0"
"""These include ciphers with SHA-1, 3DES and key exchange by RSA, but none without encryption or without a
certificate."""


def server_context(
    certificates: Sequence[tuple[Path, Path]], *, legacy: bool = False, client_certificates: Sequence[str] = ()
) -> ssl.SSLContext:
    """Return a context for a listener.

    Args:
        certificates: files in PEM, the certificate with its chain and the private key, which may be the same file. If
            there are several, the client's ciphers determine which one is used; one with an RSA key and one with an
            ECDSA key serve all clients.
        legacy: whether TLS 1.0 and 1.1 and old ciphers are accepted as well; otherwise only TLS 1.2 or newer.
        client_certificates: certificates in PEM that clients may present. A client without one is accepted, with
            `TlsInfo.fingerprint` None; a client with any other is refused in the handshake. Clients are asked for a
            certificate only if there are some here. Their dates do not matter: the fingerprint identifies a device.

    Raises:
        InputError: a certificate cannot be used; its `key` is ``"certificate"``.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if legacy:
        # The oldest version of this OpenSSL; Python disables SSLv3. `TLSVersion.TLSv1` would warn.
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.set_ciphers(_LEGACY_CIPHERS)
    else:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    for certificate, key in certificates:
        _load(context, certificate, key)
    if client_certificates:
        _ask_for(context, client_certificates)
    return context


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    asked: list[bool] = []
    try:
        context.load_cert_chain(certificate, key, password=partial(_refuse_password, asked))
    except (OSError, ValueError) as error:
        reason = "it is not a certificate with its key"
        if asked:
            reason = "the key has a passphrase; store it without one"
        elif isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
            reason = error.strerror or reason
        raise InputError(
            f"The certificate {str(certificate)!r} with the key {str(key)!r} cannot be used: {reason}.",
            stage="tls",
            key="certificate",
            detail=str(error),
        ) from error


def _refuse_password(asked: list[bool]) -> str:
    # Without a callback, OpenSSL would ask for it on the terminal, and the service would wait for ever.
    asked.append(True)
    return ""


def _ask_for(context: ssl.SSLContext, client_certificates: Sequence[str]) -> None:
    context.verify_mode = ssl.CERT_OPTIONAL
    # A device's certificate is itself the trust anchor, regardless of its issuer.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    try:
        context.load_verify_locations(cadata="\n".join(client_certificates))
    except (ssl.SSLError, ValueError) as error:
        raise InputError(
            "The certificate of a device cannot be used: it is not a certificate in PEM.",
            stage="tls",
            key="certificate",
            detail=str(error),
        ) from error
