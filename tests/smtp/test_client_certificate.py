"""Servers that demand a certificate of the client, as relays with a connector do.

They run in a thread, since only OpenSSL on a socket sends the alert of a refusal.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import contextmanager, suppress
from threading import Thread
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import trustme

from mailslot import Endpoint, NetworkError, Security, connect_smtp
from mailslot.net.dialogue import Dialogue
from mailslot.wire.redact import Redactor

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def demanding_server(security: Security, context: ssl.SSLContext) -> Iterator[Endpoint]:
    """Run a server that takes one connection, up to the handshake."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        thread = Thread(target=serve, args=(listener, security, context))
        thread.start()
        try:
            yield Endpoint("localhost", listener.getsockname()[1], security)
        finally:
            thread.join()


def serve(listener: socket.socket, security: Security, context: ssl.SSLContext) -> None:
    connection, _ = listener.accept()
    connection.settimeout(60)
    with connection, suppress(OSError):
        if security is Security.STARTTLS:
            connection.sendall(b"220 mail.example.com\r\n")
            connection.recv(1000)
            connection.sendall(b"250-mail.example.com\r\n250 STARTTLS\r\n")
            connection.recv(1000)
            connection.sendall(b"220 go\r\n")
        with context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as encrypted:
            with suppress(ssl.SSLError):
                encrypted.do_handshake()
            # Below TLS, until the client has closed: a reset could overtake the alert.
            while socket.socket.recv(encrypted, 1000):
                pass


@pytest.mark.parametrize("security", [Security.TLS, Security.STARTTLS])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("presents_another", [False, True])
async def test_a_refused_certificate(
    security: Security,
    version: ssl.TLSVersion,
    presents_another: bool,
    certificate: trustme.LeafCert,
    ca: trustme.CA,
) -> None:
    """With TLS 1.3 the refusal follows the handshake, in place of the server's next words (RFC 8446 section 2)."""
    servers, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    certificate.configure_cert(servers)
    servers.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(servers)
    ca.configure_trust(ours)
    ours.maximum_version = version
    if presents_another:
        trustme.CA().issue_cert("device.example.com").configure_cert(ours)
    with demanding_server(security, servers) as endpoint, pytest.raises(NetworkError) as caught:
        async with connect_smtp(endpoint, ssl_context=ours, timeout=60):
            pass
    assert (caught.value.cause, caught.value.retryable) == ("tls_failed", False)
    # To a client without any, TLS 1.2 has no alert of its own.
    is_named = presents_another or version is ssl.TLSVersion.TLSv1_3
    assert ("demands a certificate" in str(caught.value)) is is_named
    assert "ALERT" in caught.value.detail


async def test_an_alert_in_place_of_the_final_reply_leaves_the_message_in_doubt() -> None:
    channel = cast("Any", SimpleNamespace(endpoint=Endpoint("localhost", 465, Security.TLS), close=lambda: None))
    dialogue = Dialogue[Any](channel, timeout=60, transcript=None, redactor=Redactor())
    dialogue.stage, dialogue.in_doubt = "data", True
    alert = ssl.SSLError(1, "tlsv1 alert access denied")
    alert.reason = "TLSV1_ALERT_ACCESS_DENIED"
    error = dialogue.to_mail_error(alert)
    assert isinstance(error, NetworkError)
    assert (error.cause, error.in_doubt) == ("in_doubt", True)
