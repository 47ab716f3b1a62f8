"""POP3 authentication: what is sent, how often, and misbehaving token sources."""

from __future__ import annotations

import ssl
from dataclasses import replace
from typing import Any

import pytest

from mailslot import (
    AccessToken,
    Endpoint,
    InputError,
    MailError,
    NetworkError,
    OAuth,
    Password,
    Security,
    SignInError,
    StaticToken,
    TokenError,
    connect_pop3,
)
from mailslot_plugins.sandbox import DOVECOT, EXCHANGE, GMAIL, Sandbox
from pop3.conftest import USER
from pop3.hostile_server import AUTH, ServerConnection, run_hostile_server

pytestmark = pytest.mark.virtual_time


class Tokens:
    """Gives one thing after the other: tokens, or what it raises."""

    def __init__(self, *things: Any) -> None:
        self.things = list(things)
        self.asked: list[bool] = []

    async def token(self, *, force: bool = False) -> AccessToken:
        self.asked.append(force)
        thing = self.things.pop(0)
        if isinstance(thing, BaseException):
            raise thing
        return AccessToken(thing) if isinstance(thing, str) else thing

    async def forget(self) -> None:
        raise NotImplementedError


async def enter(sandbox: Sandbox, auth: Any, *, tls: bool = True) -> tuple[int, int]:
    endpoint = sandbox.pop3s if tls else sandbox.pop3
    async with connect_pop3(endpoint, auth, ssl_context=sandbox.client_context(), timeout=5) as session:
        return await session.stat()


@pytest.mark.parametrize(
    ("personality", "mechanism"),
    [
        pytest.param(personality, mechanism, id=f"{personality.name}, {mechanism}")
        for personality in (DOVECOT, EXCHANGE, GMAIL)
        for mechanism in ("XOAUTH2", "OAUTHBEARER", None)
        if personality is not EXCHANGE or mechanism != "OAUTHBEARER"
    ],
)
@pytest.mark.parametrize("tls", [True, False])
class TestServices:
    async def test_an_accepted_token(self, sandbox: Sandbox, tls: bool, mechanism: str | None) -> None:
        source = Tokens(sandbox.provider.issue(USER))
        assert await enter(sandbox, OAuth(USER, source, mechanism), tls=tls) == (0, 0)
        assert source.asked == [False]
        assert sandbox.violations == []

    async def test_a_refreshed_token(self, sandbox: Sandbox, tls: bool, mechanism: str | None) -> None:
        source = Tokens("ya29.expired", sandbox.provider.issue(USER))
        assert await enter(sandbox, OAuth(USER, source, mechanism), tls=tls) == (0, 0)
        assert source.asked == [False, True]
        assert sandbox.violations == []

    async def test_a_refused_token(self, sandbox: Sandbox, tls: bool, mechanism: str | None) -> None:
        source = Tokens("ya29.expired", "ya29.expired-too")
        with pytest.raises(SignInError) as caught:
            await enter(sandbox, OAuth(USER, source, mechanism), tls=tls)
        assert caught.value.cause == "token_refused"
        assert source.asked == [False, True]
        assert sandbox.transcript.count("C: AUTH") == 2
        assert "QUIT" not in sandbox.transcript
        assert sandbox.violations == []


@pytest.mark.parametrize("personality", [EXCHANGE], ids=["Exchange"])
async def test_a_required_mechanism_that_is_unsupported(sandbox: Sandbox) -> None:
    source = Tokens(sandbox.provider.issue(USER))
    with pytest.raises(SignInError) as caught:
        await enter(sandbox, OAuth(USER, source, "OAUTHBEARER"))
    assert caught.value.cause == "sign_in_method_not_offered"
    assert source.asked == [False]


@pytest.mark.parametrize("mechanisms", ["SCRAM-SHA-256", "PLAIN", "LOGIN", ""])
@pytest.mark.parametrize("password", ["open sesame", "wrong"])
async def test_passwords(sandbox: Sandbox, mechanisms: str, password: str) -> None:
    """By each mechanism, and by USER and PASS where none is offered."""
    offers = [line for line in DOVECOT.pop3.capabilities_tls if not line.startswith("SASL")]
    pop3 = replace(DOVECOT.pop3, capabilities_tls=(*offers, f"SASL {mechanisms}".strip()))
    sandbox.personality = replace(DOVECOT, pop3=pop3)
    auth = Password(USER, password)
    if password == "wrong":
        with pytest.raises(SignInError) as caught:
            await enter(sandbox, auth)
        assert (caught.value.cause, caught.value.retryable) == ("password_refused", False)
        assert caught.value.challenge is None
    else:
        assert await enter(sandbox, auth) == (0, 0)
    assert (f"AUTH {mechanisms}" if mechanisms else "C: USER") in sandbox.transcript
    assert sandbox.violations == []


@pytest.mark.parametrize("personality", [EXCHANGE], ids=["Exchange"])
async def test_a_token_too_long_for_the_server(sandbox: Sandbox) -> None:
    """It closes after each refusal: two connections, one renewal, and no third try."""
    source = Tokens("a" * 5_000, "b" * 5_000)
    with pytest.raises(SignInError) as caught:
        await enter(sandbox, OAuth(USER, source))
    assert caught.value.reply is not None
    assert caught.value.reply.text == "Protocol error. Connection is closed. 10"
    assert source.asked == [False, True]
    assert sandbox.transcript.count("C: AUTH") == 2
    assert len(sandbox.dialogues) == 2


@pytest.mark.parametrize("force", [False, True], ids=["first", "second"])
@pytest.mark.parametrize(
    "thing",
    [
        None,
        b"ya29.odd",
        StaticToken("ya29.odd"),
        ValueError("ya29.odd"),
        TimeoutError("ya29.odd"),
        EOFError(),
        ConnectionResetError(),
        StopAsyncIteration(),
        ExceptionGroup("ya29.odd", [ValueError()]),
        TokenError("Gone.", cause="token_update_failed"),
        InputError("Gone.", stage="token", cause="token_not_retrieved"),
    ],
    ids=lambda thing: type(thing).__name__,
)
async def test_odd_token_sources(sandbox: Sandbox, thing: Any, force: bool) -> None:
    source = Tokens(*["ya29.refused"] * force, thing)
    with pytest.raises(MailError) as caught:
        await enter(sandbox, OAuth(USER, source))
    error = caught.value
    assert error.stage == "token"
    assert not error.retryable
    assert error is thing or (type(error) is TokenError and error.cause == "unknown")
    assert "odd" not in str(error) + error.detail
    assert source.asked == [False, True][: 1 + force]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=repr)
async def test_foreign_exceptions_propagate_and_close(sandbox: Sandbox, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        await enter(sandbox, OAuth(USER, Tokens(error)))
    assert caught.value is error
    assert not sandbox.maildrops[USER].locked


class TestWithoutTls:
    """AT-05: nothing is sent in the clear, whatever the server says."""

    async def test_credentials_need_tls(self, client_context: ssl.SSLContext) -> None:
        async def part(client: ServerConnection) -> None:
            raise AssertionError("nobody is to connect")

        async with run_hostile_server(part, security=Security.NONE) as server:
            for auth in (AUTH, OAuth(USER, StaticToken("ya29.x"))):
                with pytest.raises(InputError) as caught:
                    async with connect_pop3(server.endpoint, auth, ssl_context=client_context):
                        pass
                assert caught.value.stage == "sign_in"
        assert server.clients == []

    async def test_credentials_need_a_certificate_that_is_verified(self) -> None:
        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.check_hostname = False
        unverified.verify_mode = ssl.CERT_NONE
        with pytest.raises(InputError) as caught:
            async with connect_pop3(Endpoint("localhost", 9, Security.TLS), AUTH, ssl_context=unverified):
                pass
        assert caught.value.stage == "tls"

    async def test_a_server_without_tls(self, client_context: ssl.SSLContext) -> None:
        async def part(client: ServerConnection) -> None:
            await client.send(b"+OK ready\r\n")
            await client.drain()

        async with run_hostile_server(part) as server:
            with pytest.raises(NetworkError) as caught:
                async with connect_pop3(server.endpoint, AUTH, ssl_context=client_context, timeout=2):
                    pass
        assert (caught.value.stage, caught.value.cause) == ("tls", "tls_port_mismatch")
        assert b"correct" not in server.client.received

    async def test_a_server_with_implicit_tls(
        self, client_context: ssl.SSLContext, server_context: ssl.SSLContext
    ) -> None:
        """It waits for our handshake and we wait for its greeting."""

        async def part(client: ServerConnection) -> None:
            await client.start_tls(server_context)

        async with run_hostile_server(part, security=Security.STARTTLS) as server:
            with pytest.raises(NetworkError) as caught:
                async with connect_pop3(server.endpoint, AUTH, ssl_context=client_context, timeout=0.2):
                    pass
        assert (caught.value.stage, caught.value.cause) == ("greeting", "connection_timeout")

    async def test_plain_text_during_the_handshake(
        self, client_context: ssl.SSLContext, server_context: ssl.SSLContext
    ) -> None:
        """PT-03: what was injected arrives when TLS has begun on our side; it is no TLS."""

        async def part(client: ServerConnection) -> None:
            await client.send(b"+OK\r\n")
            await client.read_line()
            await client.send(b"+OK\r\nSTLS\r\n.\r\n")
            await client.read_line()
            await client.send(b"+OK Begin TLS\r\n")
            while not client.received.endswith(b"STLS\r\n"):
                pass
            await client.send(b"+OK Capability list follows\r\nSASL PLAIN\r\n.\r\n")

        async with run_hostile_server(part, security=Security.STARTTLS) as server:
            with pytest.raises(NetworkError) as caught:
                async with connect_pop3(server.endpoint, AUTH, ssl_context=client_context, timeout=2):
                    pass
        # Nobody can tell when it came, since there is no wait between the two; it is believed in neither case.
        assert caught.value.stage == "tls"
        assert caught.value.cause in {"tls_injection", "tls_failed"}

    async def test_a_reply_to_pass_before_it_was_sent(
        self, client_context: ssl.SSLContext, server_context: ssl.SSLContext
    ) -> None:
        """PT-03: a forged "logged in" waits in the buffer."""

        async def part(client: ServerConnection) -> None:
            await client.send(b"+OK\r\n")
            await client.read_line()
            await client.send(b"-ERR\r\n")
            await client.read_line()
            await client.send(b"+OK\r\n+OK logged in\r\n")

        async with run_hostile_server(part, context=server_context) as server:
            with pytest.raises(MailError) as caught:
                async with connect_pop3(server.endpoint, AUTH, ssl_context=client_context, timeout=2):
                    pass
        assert (caught.value.stage, caught.value.cause) == ("sign_in", "protocol_error")
        assert b"correct" not in server.client.received


@pytest.mark.parametrize("password", ["x" * 250, "tab\there"])
async def test_a_password_with_characters_that_pass_cannot_send(
    client_context: ssl.SSLContext, server_context: ssl.SSLContext, password: str
) -> None:
    async def part(client: ServerConnection) -> None:
        await client.sign_in()

    async with run_hostile_server(part, context=server_context) as server:
        with pytest.raises(MailError) as caught:  # noqa: PT012 - any of it may be where it fails
            auth = Password(USER, password)
            async with connect_pop3(server.endpoint, auth, ssl_context=client_context, timeout=2):
                pass
    assert caught.value.stage == "sign_in"
    assert password not in str(caught.value) + caught.value.detail
    assert password.encode() not in server.client.received
