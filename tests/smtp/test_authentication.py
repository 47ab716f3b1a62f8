"""Signing in: how often a token is asked for and tried, and on which connection (ST-15, ST-16, ST-17)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailslot import (
    AccessToken,
    MailError,
    NetworkError,
    OAuth,
    Password,
    ServerError,
    SignInError,
    StaticToken,
    TokenError,
    Transcript,
    connect_smtp,
)
from mailslot_plugins.conformance.doubles import ListedTokenSource
from transcripts import parse, playing

if TYPE_CHECKING:
    import ssl

    from mailslot.sasl.credentials import Credentials

pytestmark = pytest.mark.virtual_time

USER = "scanner@example.com"
HELLO = """!tls
S: 220 mail.example.com
C: EHLO {any}
S: 250-mail.example.com
S: 250 AUTH XOAUTH2 PLAIN LOGIN
"""
FIRST = """C: AUTH XOAUTH2
S: 334\x20
C: {xoauth2}
"""
BARE = "C: AUTH XOAUTH2\nS: %s\n"
AT_ONCE = "C: AUTH XOAUTH2 {xoauth2}\n"
SECOND = """C: AUTH XOAUTH2
S: 334\x20
C: {xoauth2:2}
"""
REASONS = 'S: 334 {b64:{"status":"%s"}}\nC: \n'
NO = "S: 535 5.7.8 no\n"
OK = "S: 235 2.7.0 ok\nC: QUIT\n"


async def attempt(
    dialogue: str,
    auth: Credentials,
    client_context: ssl.SSLContext,
    server_context: ssl.SSLContext,
    tokens: tuple[str, ...] = ("token-one", "token-two"),
    **arguments: float,
) -> MailError | None:
    header = f"# Source: a test\n# Protocol: smtp\n# Auth: oauth user={USER} token={','.join(tokens)}\n# Expect: ok\n"
    async with playing(parse("inline", header + dialogue), server_context) as peer:
        try:
            async with connect_smtp(peer.endpoint, auth, ssl_context=client_context, **{"timeout": 5, **arguments}):
                return None
        except MailError as error:
            return error


@pytest.mark.parametrize(
    ("dialogue", "asked", "outcome"),
    [
        # Taken at once.
        (HELLO + FIRST + OK, [False], None),
        # Refused, renewed, taken: on the same connection, and on another one where the server has closed it.
        (HELLO + FIRST + NO + SECOND + OK, [False, True], None),
        (HELLO + FIRST + REASONS % "401" + NO + SECOND + OK, [False, True], None),
        (HELLO + FIRST + REASONS % "400" + NO + SECOND + OK, [False, True], None),
        (HELLO + FIRST + REASONS % "invalid_token" + NO + SECOND + OK, [False, True], None),
        (HELLO + FIRST + "S: 334 {b64:not JSON}\nC: \n" + NO + SECOND + OK, [False, True], None),
        (HELLO + FIRST + NO + "!close\n!connection\n" + HELLO + SECOND + OK, [False, True], None),
        (HELLO + FIRST + NO + "!reset\n!connection\n" + HELLO + SECOND + OK, [False, True], None),
        # The reasons were given, and the connection closed instead of a reply.
        (HELLO + FIRST + REASONS % "401" + "!close\n!connection\n" + HELLO + SECOND + OK, [False, True], None),
        (HELLO + FIRST + REASONS % "401" + "!reset\n!connection\n" + HELLO + SECOND + OK, [False, True], None),
        (HELLO + FIRST + REASONS % "401" + "!silence\n!connection\n" + HELLO + SECOND + OK, [False, True], None),
        (
            HELLO + FIRST + REASONS % "401" + "!close\n!connection\n" + HELLO + SECOND + REASONS % "401" + "!close\n",
            [False, True],
            "token_refused 334 None",
        ),
        (HELLO + FIRST + REASONS % "403" + "!close\n", [False], "token_for_other_service 334 None"),
        (HELLO + FIRST + REASONS % "500" + "!close\n", [False], "sign_in_temporarily_unavailable 334 None"),
        # Refused twice: never a third time.
        (HELLO + FIRST + NO + SECOND + "S: 535 5.7.9 still no\n", [False, True], "token_refused 535 5.7.9"),
        (
            HELLO + FIRST + NO + "!close\n!connection\n" + HELLO + SECOND + "S: 535 5.7.9 still no\n!close",
            [False, True],
            "token_refused 535 5.7.9",
        ),
        # What a new token cannot help.
        (HELLO + FIRST + REASONS % "403" + NO, [False], "token_for_other_service 535 5.7.8"),
        (HELLO + FIRST + REASONS % "insufficient_scope" + NO, [False], "token_for_other_service 535 5.7.8"),
        (HELLO + FIRST + REASONS % "500" + NO, [False], "sign_in_temporarily_unavailable 535 5.7.8"),
        (HELLO + FIRST + REASONS % "503" + NO, [False], "sign_in_temporarily_unavailable 535 5.7.8"),
        (HELLO + FIRST + "S: 454 4.7.0 later\n", [False], "sign_in_temporarily_unavailable 454 4.7.0"),
        (HELLO + FIRST + "S: 421 4.7.0 bye\n!close", [False], "server_busy 421 4.7.0"),
        # Where the command is not taken without it, a short token goes along with it, once.
        (HELLO + BARE % "501 5.5.4 what" + AT_ONCE + OK, [False], None),
        (HELLO + BARE % "504 5.5.4 what" + AT_ONCE + OK, [False], None),
        (HELLO + BARE % "501 5.5.4 what" + AT_ONCE + REASONS % "401" + NO + SECOND + OK, [False, True], None),
        (
            HELLO + BARE % "504 5.5.4 what" + AT_ONCE + "S: 504 5.5.4 what\n",
            [False],
            "sign_in_method_not_offered 504 5.5.4",
        ),
        (HELLO + "C: AUTH XOAUTH2\nS: 535 5.7.8 no\n", [False], "sign_in_method_not_offered 535 5.7.8"),
        # What makes no sense.
        (HELLO + FIRST + "S: 334 ====\nC: *\nS: 501 ok\n", [False], "protocol_error None None"),
        (HELLO + FIRST + "S: 334 AAA=BBB\nC: *\n!close", [False], "protocol_error None None"),
        (HELLO + FIRST + REASONS % "401" + "S: 334 {b64:more}\nC: *\nS: 501 ok\n", [False], "protocol_error None None"),
        (HELLO + FIRST + REASONS % "401" + "S: 235 ok\n", [False], "protocol_error 235 None"),
        # Prompts that are no base64 mean nothing where the first response is due.
        (HELLO + FIRST.replace("S: 334 ", "S: 334 AAA=BBB go on") + OK, [False], None),
        (HELLO + FIRST.replace("S: 334 ", "S: 334") + OK, [False], None),
    ],
)
async def test_how_often_a_token_is_tried(
    dialogue: str,
    asked: list[bool],
    outcome: str | None,
    client_context: ssl.SSLContext,
    server_context: ssl.SSLContext,
) -> None:
    source = ListedTokenSource("token-one", "token-two", "token-three")
    error = await attempt(dialogue, OAuth(USER, source, "XOAUTH2"), client_context, server_context)
    assert source.force_calls == asked
    if outcome is None:
        assert error is None, repr(error)
        return
    assert isinstance(error, MailError)
    cause, code, enhanced = outcome.split()
    assert (error.cause, str(error.reply and error.reply.code)) == (cause, code)
    assert str(error.reply and error.reply.enhanced) == enhanced
    assert error.stage == "sign_in"
    assert error.retryable is (cause in {"sign_in_temporarily_unavailable", "server_busy"})
    assert isinstance(error, ServerError if cause == "protocol_error" else SignInError)


async def test_a_connection_that_is_closed_without_readable_reasons(
    client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    source = ListedTokenSource("token-one", "token-two")
    dialogue = HELLO + FIRST + "S: 334 {b64:not JSON}\nC: \n!close\n"
    error = await attempt(dialogue, OAuth(USER, source, "XOAUTH2"), client_context, server_context)
    assert isinstance(error, NetworkError)
    assert (error.stage, error.cause, source.force_calls) == ("sign_in", "connection_lost", [False])


async def test_a_421_behind_the_capabilities(client_context: ssl.SSLContext, server_context: ssl.SSLContext) -> None:
    error = await attempt(
        HELLO + "S: 421 4.7.0 bye\n!close", OAuth(USER, StaticToken("token-one")), client_context, server_context
    )
    assert error is not None
    assert (error.stage, error.cause, error.retryable) == ("sign_in", "server_busy", True)


async def test_the_first_refusal_stands_if_the_second_connection_fails(
    client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    dialogue = HELLO + FIRST + "S: 535 5.7.3 first\n!close\n!connection\n!tls\n!close\n"
    error = await attempt(dialogue, OAuth(USER, StaticToken("token-one")), client_context, server_context)
    assert isinstance(error, SignInError)
    assert error.reply is not None
    assert error.reply.enhanced == "5.7.3"
    # With a new token nobody knows yet, and the loss is what is told.
    error = await attempt(
        dialogue, OAuth(USER, ListedTokenSource("token-one", "token-two")), client_context, server_context
    )
    assert isinstance(error, NetworkError)
    assert error.retryable


async def test_the_error_challenge_is_in_the_error(
    client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    reasons = 'S: 334 {b64:{"status":"403","scope":"mail","schemes":"bearer","n":[1]}}\nC: \n'
    error = await attempt(
        HELLO + FIRST + reasons + NO, OAuth(USER, ListedTokenSource("token-one")), client_context, server_context
    )
    assert isinstance(error, SignInError)
    assert error.challenge == {"status": "403", "scope": "mail", "schemes": "bearer", "n": "[1]"}


async def test_a_lost_second_attempt_is_not_repeated(
    client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    """The server has got the new token; on a new connection it would get it a second time."""
    dialogue = HELLO + FIRST + NO + SECOND + "!close"
    error = await attempt(
        dialogue, OAuth(USER, ListedTokenSource("token-one", "token-two")), client_context, server_context
    )
    assert isinstance(error, NetworkError)
    assert error.stage == "sign_in"
    assert error.retryable


class Failing:
    """A source that fails at the first or at the forced call."""

    def __init__(self, error: Exception, *, at: int) -> None:
        self.error, self.at, self.calls = error, at, 0

    async def token(self, *, force: bool = False) -> AccessToken:
        assert force is (self.calls > 0)
        self.calls += 1
        if self.calls > self.at:
            raise self.error
        return AccessToken("token-one")

    async def forget(self) -> None:
        pass


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("error", [TokenError("no", cause="token_update_failed"), ValueError("token-one-leaks")])
async def test_a_failing_token_source(
    error: Exception, at: int, client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    source = Failing(error, at=at)
    dialogue = HELLO + (FIRST + NO if at else "")
    result = await attempt(dialogue, OAuth(USER, source), client_context, server_context)
    assert isinstance(result, TokenError)
    assert result.stage == "token"
    assert "token-one" not in str(result) + result.detail
    assert source.calls == at + 1
    if isinstance(error, TokenError):
        assert result is error


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("S: 235 ok\nC: QUIT\n", None),
        (NO, "password_refused"),
        ("S: 534 5.7.9 Application-specific password required\n", "app_password_required"),
        ("S: 454 4.7.0 later\n", "sign_in_temporarily_unavailable"),
        ("S: 334 {b64:what}\nC: *\nS: 501 ok\n", "protocol_error"),
    ],
)
async def test_a_password_is_tried_once(
    said: str, expected: str | None, client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    dialogue = HELLO + "C: AUTH PLAIN {b64:\\x00me\\x00pass-word}\n" + said
    error = await attempt(dialogue, Password("me", "pass-word"), client_context, server_context)
    assert (error and error.cause) == expected


@pytest.mark.parametrize("length", [367, 368, 369, 370, 371])
async def test_initial_responses_up_to_512_octets_are_sent_with_the_command(
    length: int, client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    """``AUTH PLAIN `` and CRLF leave 499 octets, which is 372 before base64, of which 3 are the user's and two NULs."""
    password = "p" * length
    response = f"{{b64:\\x00m\\x00{password}}}"
    coded = 4 * ((length + 3 + 2) // 3)
    said = f"C: AUTH PLAIN {response}\n" if 13 + coded <= 512 else f"C: AUTH PLAIN\nS: 334 \nC: {response}\n"
    assert (length <= 369) is (13 + coded <= 512)
    error = await attempt(HELLO + said + OK, Password("m", password), client_context, server_context)
    assert error is None


async def test_a_token_of_ten_thousand_octets(client_context: ssl.SSLContext, server_context: ssl.SSLContext) -> None:
    token = "t" * 10_000
    auth = OAuth(USER, StaticToken(token))
    assert await attempt(HELLO + FIRST + OK, auth, client_context, server_context, tokens=(token,)) is None


async def test_oauth_never_falls_back_to_a_password_mechanism(
    client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    source = ListedTokenSource("token-one")
    hello = HELLO.replace("XOAUTH2 PLAIN", "PLAIN")
    error = await attempt(hello, OAuth(USER, source), client_context, server_context)
    assert isinstance(error, SignInError)
    assert error.cause == "sign_in_method_not_offered"
    assert error.reply is None
    assert source.force_calls == []


@pytest.mark.parametrize("silence", [HELLO + "C: AUTH XOAUTH2\n", HELLO + FIRST, HELLO + FIRST + NO + SECOND])
async def test_a_timeout_during_authentication(
    silence: str, client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    """A server that falls silent is not asked again on another connection."""
    source = ListedTokenSource("token-one", "token-two")
    error = await attempt(silence + "!silence", OAuth(USER, source), client_context, server_context, timeout=0.2)
    assert isinstance(error, NetworkError)
    assert error.stage == "sign_in"
    assert error.retryable
    assert not error.in_doubt


async def test_the_recorded_transcript(client_context: ssl.SSLContext, server_context: ssl.SSLContext) -> None:
    notes = Transcript()
    dialogue = HELLO + FIRST + REASONS % "401" + NO + SECOND + OK
    header = f"# Source: a test\n# Protocol: smtp\n# Auth: oauth user={USER} token=token-one,token-two\n# Expect: ok\n"
    async with playing(parse("inline", header + dialogue), server_context) as peer:
        auth = OAuth(USER, ListedTokenSource("token-one", "token-two"))
        async with connect_smtp(peer.endpoint, auth, ssl_context=client_context, transcript=notes):
            pass
    assert notes.lines == [
        "*  encrypted from here on",
        "S: 220 mail.example.com",
        "C: EHLO [127.0.0.1]",
        "S: 250-mail.example.com",
        "S: 250 AUTH XOAUTH2 PLAIN LOGIN",
        "C: AUTH XOAUTH2",
        "S: 334 ",
        "C: •••",
        "S: 334 eyJzdGF0dXMiOiI0MDEifQ==",
        "C: ",
        "S: 535 5.7.8 no",
        "C: AUTH XOAUTH2",
        "S: 334 ",
        "C: •••",
        "S: 235 2.7.0 ok",
        "C: QUIT",
    ]
