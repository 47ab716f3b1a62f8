"""TLS: what is verified and refused, and the cause of each failure."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import warnings
from typing import TYPE_CHECKING

import anyio
import pytest
import trustme

from mailslot import (
    Endpoint,
    InputError,
    MailError,
    NetworkError,
    OAuth,
    Password,
    RefusedError,
    Security,
    ServerError,
    connect_smtp,
)
from mailslot.net.channel import Channel
from mailslot.net.connect import connect
from mailslot.net.tls import default_context
from mailslot_plugins.conformance.doubles import ListedTokenSource
from smtp.servers import ServerConnection, serving

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.virtual_time

BOTH = pytest.mark.parametrize("security", [Security.TLS, Security.STARTTLS], ids=lambda security: security.value)
NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


def server_side(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def encrypting(security: Security, context: ssl.SSLContext) -> Callable[[ServerConnection], Awaitable[None]]:
    """Return a server that greets over TLS, and that says so where anything but TLS comes."""

    async def server(wire: ServerConnection) -> None:
        if security is Security.STARTTLS:
            await wire.greet("STARTTLS")
            assert await wire.line() == "STARTTLS"
            await wire.say("220 go")
        await wire.start_tls(context)
        if security is Security.TLS:
            await wire.greet("PIPELINING")
        else:
            assert (await wire.line()).startswith("EHLO")
            await wire.say("250 mail.example.com")
        await wire.gone()

    return server


async def fault(
    security: Security, server: ssl.SSLContext, client: ssl.SSLContext | None, host: str = "localhost"
) -> NetworkError | None:
    async with serving(encrypting(security, server), security) as running:
        endpoint = Endpoint(host, running.endpoint.port, security)
        error: NetworkError | None = None
        try:
            async with connect_smtp(endpoint, ssl_context=client, timeout=5):
                pass
        except NetworkError as caught:
            error = caught
    assert error is None or (error.stage, error.in_doubt) == ("tls", False)
    return error


@BOTH
async def test_a_valid_certificate(
    security: Security, client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    assert await fault(security, server_context, client_context) is None
    assert await fault(security, server_context, client_context, host="127.0.0.1") is None


@BOTH
async def test_invalid_certificates(security: Security, ca: trustme.CA, client_context: ssl.SSLContext) -> None:
    cases = {
        "certificate_expired": ca.issue_cert("localhost", not_before=NOW - 9 * DAY, not_after=NOW - DAY),
        "certificate_not_yet_valid": ca.issue_cert("localhost", not_before=NOW + DAY, not_after=NOW + 9 * DAY),
        "certificate_name_mismatch": ca.issue_cert("other.example.com"),
        "certificate_untrusted": trustme.CA().issue_cert("localhost"),
    }
    for cause, certificate in cases.items():
        error = await fault(security, server_side(certificate), client_context)
        assert error is not None
        assert error.cause == cause
        assert not error.retryable
        assert "verification result" in error.detail
    error = await fault(security, server_side(ca.issue_cert("localhost")), client_context, host="127.0.0.1")
    assert error is not None
    assert error.cause == "certificate_name_mismatch"


@BOTH
async def test_the_default_context_does_not_trust_the_test_ca(
    security: Security, server_context: ssl.SSLContext
) -> None:
    error = await fault(security, server_context, None)
    assert error is not None
    assert error.cause == "certificate_untrusted"


def test_the_default_context() -> None:
    context = default_context()
    assert context is default_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@BOTH
async def test_old_tls_versions(
    security: Security, certificate: trustme.LeafCert, client_context: ssl.SSLContext, ca: trustme.CA
) -> None:
    old = server_side(certificate)
    willing = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(willing)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for context in (old, willing):
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    # A client that takes no old version, and one that would.
    for context in (client_context, willing):
        error = await fault(security, old, context)
        assert error is not None
        # Some builds of OpenSSL end this with an alert, and some just close, which could be anything.
        assert error.cause == "tls_failed"
    assert "too old" in str(error)


async def test_tls_to_a_starttls_port(client_context: ssl.SSLContext) -> None:
    async def server(wire: ServerConnection) -> None:
        await wire.say("220 mail.example.com ESMTP")
        await wire.gone()

    async with serving(server, Security.TLS) as running:
        with pytest.raises(NetworkError) as caught:
            async with connect_smtp(running.endpoint, ssl_context=client_context, timeout=2):
                pass
    assert (caught.value.stage, caught.value.cause) == ("tls", "tls_port_mismatch")
    assert not caught.value.retryable


async def test_starttls_to_a_tls_port(client_context: ssl.SSLContext, server_context: ssl.SSLContext) -> None:
    """Both sides wait for the other to begin."""
    async with serving(encrypting(Security.TLS, server_context), Security.STARTTLS) as running:
        with pytest.raises(NetworkError) as caught:
            async with connect_smtp(running.endpoint, ssl_context=client_context, timeout=0.15):
                pass
    assert (caught.value.stage, caught.value.cause) == ("greeting", "connection_timeout")


@BOTH
@pytest.mark.parametrize("silent", [False, True])
async def test_a_missing_handshake(security: Security, silent: bool, client_context: ssl.SSLContext) -> None:
    async def server(wire: ServerConnection) -> None:
        if security is Security.STARTTLS:
            await wire.greet("STARTTLS")
            await wire.line()
            await wire.say("220 go")
        if silent:
            await wire.gone()

    async with serving(server, security) as running:
        with pytest.raises(NetworkError) as caught:
            async with connect_smtp(running.endpoint, ssl_context=client_context, timeout=0.15):
                pass
    assert caught.value.stage == "tls"
    assert caught.value.cause == ("connection_timeout" if silent else "tls_failed")
    assert caught.value.retryable


@pytest.mark.parametrize(
    "injected", [b"250 mail\r\n", b"2", b"\x16", b"\x00", b"x" * 65_536, b"250-mail\r\n250 AUTH PLAIN\r\n"]
)
@pytest.mark.parametrize("delay", [None, 0.0, 0.01])
async def test_octets_injected_before_tls(
    injected: bytes, delay: float | None, client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    """In the same segment, in the next one, or while our handshake is on its way: never believed, no secret sent."""
    heard = b""

    async def server(wire: ServerConnection) -> None:
        nonlocal heard
        await wire.greet("STARTTLS")
        await wire.line()
        if delay is None:
            await wire.stream.send(b"220 go\r\n" + injected)
        else:
            await wire.say("220 go")
            await anyio.sleep(delay)
            await wire.stream.send(injected)
        heard = await wire.gone()

    source = ListedTokenSource("some-long-token")
    async with serving(server, Security.STARTTLS) as running:
        connecting = connect_smtp(
            running.endpoint, OAuth("scanner@example.com", source), ssl_context=client_context, timeout=0.15
        )
        with pytest.raises((NetworkError, ServerError)) as caught:
            await connecting.__aenter__()
        await anyio.sleep(0.02)
    assert caught.value.stage == "tls"
    # What comes once our handshake has begun answers it; a lone octet could be the beginning of a record.
    late = {"tls_failed", *(["connection_timeout"] if len(injected) == 1 else [])}
    assert caught.value.cause in {"tls_injection", *(late if delay is not None else [])}
    assert source.force_calls == []
    assert b"EHLO" not in heard


@pytest.mark.parametrize(
    ("said", "code", "enhanced", "words", "retryable"),
    [
        (b"454 4.3.0 TLS not available: no certificate\r\n", 454, "4.3.0", "TLS not available: no certificate", True),
        (b"554-5.3.5 Our TLS\r\n554 5.3.5 is broken\r\n", 554, "5.3.5", "Our TLS", False),
        (b"554 no end", 554, None, "no end", False),
        (b"250 AUTH PLAIN\r\n", None, None, "'250 AUTH PLAIN'", False),
        (b"<html>\r\n", None, None, "'<html>'", False),
    ],
)
@pytest.mark.parametrize("in_pieces", [False, True])
async def test_plain_text_in_answer_to_a_client_hello_is_a_refusal(
    said: bytes,
    code: int | None,
    enhanced: str | None,
    words: str,
    retryable: bool,
    in_pieces: bool,
    client_context: ssl.SSLContext,
) -> None:
    """A server whose own TLS is broken says so in clear; nobody has inserted anything."""
    hello = b""

    async def server(wire: ServerConnection) -> None:
        nonlocal hello
        await wire.greet("STARTTLS")
        await wire.line()
        await wire.say("220 go")
        hello = await wire.octets()
        for octet in [said[at : at + 1] for at in range(len(said))] if in_pieces else [said]:
            await wire.stream.send(octet)

    source = ListedTokenSource("some-long-token")
    async with serving(server, Security.STARTTLS) as running:
        connecting = connect_smtp(running.endpoint, OAuth("scanner@example.com", source), ssl_context=client_context)
        with pytest.raises(MailError) as caught:
            await connecting.__aenter__()
    error = caught.value
    assert hello.startswith(b"\x16\x03")
    assert (error.stage, error.cause, error.retryable) == ("tls", "tls_failed", retryable)
    assert str(error).endswith(words)
    assert isinstance(error, NetworkError if code is None else RefusedError)
    assert (error.reply and (error.reply.code, error.reply.enhanced)) == (None if code is None else (code, enhanced))
    assert source.force_calls == []


@pytest.mark.parametrize("security", [Security.NONE, Security.STARTTLS, Security.TLS])
@pytest.mark.parametrize(
    "credentials", [OAuth("u", ListedTokenSource("t")), Password("u", "p")], ids=["token", "password"]
)
async def test_credentials_need_verified_tls(security: Security, credentials: OAuth | Password) -> None:
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE

    async def server(_: ServerConnection) -> None:
        raise AssertionError("a connection was made")

    async with serving(server, security) as running:
        with pytest.raises(InputError):
            async with connect_smtp(running.endpoint, credentials, ssl_context=unverified):
                pass
        await anyio.sleep(0.01)


async def test_credentials_need_a_matching_host_name() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    with pytest.raises(InputError):
        async with connect_smtp(Endpoint("127.0.0.1", 1, Security.TLS), Password("u", "p"), ssl_context=context):
            pass


@BOTH
async def test_without_credentials_an_unverified_server_is_allowed(
    security: Security, server_context: ssl.SSLContext
) -> None:
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    assert await fault(security, server_context, unverified) is None


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="only Linux has it")
async def test_session_tickets_are_acknowledged_at_once(
    client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    async with serving(encrypting(Security.TLS, server_context), Security.TLS) as running:
        channel = Channel(await connect(running.endpoint, ["127.0.0.1"], 60), running.endpoint)
        await channel.start_tls(client_context, 60, after_starttls=False)
        # Until something is sent, the system tells what was set.
        assert channel._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK) == 1
        channel.close()
