"""One sign-in over any protocol, held against a server that is a list of answers."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

import pytest

from mailslot import (
    AccessToken,
    ClosedError,
    MailError,
    NetworkError,
    OAuth,
    Password,
    RefusedError,
    Reply,
    Secret,
    ServerError,
    SignInError,
    StaticToken,
    TokenError,
)
from mailslot.sasl.authentication import (
    ReconnectRequiredError,
    authenticate,
    choose_mechanism,
    fetch_token,
    is_temporary,
    open_authenticated,
)
from mailslot.sasl.bearer import OAuthBearer, XOAuth2
from mailslot.sasl.exchange import decode_challenge, run_exchange
from mailslot.sasl.mechanism import AuthenticationContext
from mailslot.sasl.password import Login, Plain
from mailslot.sasl.result import AuthenticationResult
from mailslot.sasl.scram import ScramSha256
from mailslot.sasl.transport import ExchangeStep, SaslTransport
from mailslot.wire.redact import Redactor

USER = "scanner@example.com"
PASSWORD = Password(USER, "open sesame")
BY_PASSWORD = AuthenticationContext(USER, PASSWORD.password)
PROMPT = ""
OK = Reply(None, None, "Logged in.", positive=True)
NO = Reply(None, "AUTH", "No.", positive=False)
TEMP = Reply(None, "SYS/TEMP", "Later.", positive=False)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def reasons(status: str) -> str:
    return b64(f'{{"status":"{status}"}}')


class Tokens:
    """A source that gives one thing after the other: tokens, or what it raises."""

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


@dataclass
class Script:
    """A dialogue with a server that says what is written.

    Attributes:
        answers: a challenge (str), a last word (`Reply`), or how the line breaks.
        heard: what the client did, in order.
    """

    answers: list[Any]
    longest: int = 1_000
    alive: bool = True
    heard: list[Any] = field(default_factory=list)
    secrets: list[Secret] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)
    computed: int = 0

    def __post_init__(self) -> None:
        self.answers = list(self.answers)

    def _step(self, *heard: Any) -> ExchangeStep:
        self.heard.append(heard)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, Reply):
            return ExchangeStep(answer, None)
        return ExchangeStep(Reply(None, None, answer, positive=True), answer)

    def enter_stage(self, stage: str) -> None:
        self.stages.append(stage)

    @property
    def redactor(self) -> Redactor:
        redactor = Redactor()
        redactor.add = self.secrets.append  # type: ignore[method-assign]  # to see what it learns
        return redactor

    async def abort(self) -> None:
        self.alive = False

    async def run_in_thread(self, function: Any, octets: bytes) -> bytes:
        self.computed += 1
        return function(octets)

    @property
    def transport(self) -> SaslTransport:
        async def auth(mechanism: str, initial: bytes | None, noted: str) -> ExchangeStep:
            return self._step("AUTH", mechanism, initial)

        async def respond(response: bytes, noted: str) -> ExchangeStep:
            return self._step(response)

        async def cancel() -> ExchangeStep:
            return self._step("*")

        return SaslTransport(
            dialogue=self,
            host="h",
            port=995,
            send_auth=auth,
            send_response=respond,
            send_cancel=cancel,
            max_command=self.longest,
            protocol="POP3",
        )


def by_token(token: str, port: int = 1) -> AuthenticationContext:
    return AuthenticationContext(USER, Secret(token), "h", port)


def xoauth2(token: str) -> bytes:
    return XOAuth2(by_token(token)).start()


async def by(
    script: Script, source: Any, mechanism: str = "XOAUTH2", retry: ReconnectRequiredError | None = None
) -> None:
    await authenticate(OAuth(USER, source), mechanism, script.transport, retry=retry)


class TestChoose:
    @pytest.mark.parametrize(
        ("credentials", "offered", "chosen"),
        [
            (OAuth(USER, StaticToken("t")), {"XOAUTH2", "OAUTHBEARER", "PLAIN"}, "OAUTHBEARER"),
            (OAuth(USER, StaticToken("t")), {"XOAUTH2", "PLAIN"}, "XOAUTH2"),
            (OAuth(USER, StaticToken("t"), "XOAUTH2"), {"XOAUTH2", "OAUTHBEARER"}, "XOAUTH2"),
            (OAuth(USER, StaticToken("t"), "OAUTHBEARER"), {"XOAUTH2"}, None),
            (OAuth(USER, StaticToken("t")), {"PLAIN", "LOGIN"}, None),
            (PASSWORD, {"LOGIN", "PLAIN", "SCRAM-SHA-256", "XOAUTH2"}, "SCRAM-SHA-256"),
            (PASSWORD, {"LOGIN", "PLAIN"}, "PLAIN"),
            (PASSWORD, {"LOGIN"}, "LOGIN"),
            (PASSWORD, {"XOAUTH2", "CRAM-MD5"}, None),
            (PASSWORD, set(), None),
        ],
    )
    def test_the_strongest_matching_mechanism(self, credentials: Any, offered: set[str], chosen: str | None) -> None:
        assert choose_mechanism(credentials, offered) == chosen


class TestExchange:
    @pytest.mark.parametrize("mechanism", [XOAuth2(by_token("t")), OAuthBearer(by_token("t"))])
    async def test_the_token_is_sent_after_the_challenge(self, mechanism: Any) -> None:
        script = Script([PROMPT, OK])
        assert (await run_exchange(mechanism, script.transport)).accepted
        assert script.heard == [("AUTH", mechanism.name, None), (mechanism.start(),)]
        assert script.secrets == [Secret("t")]

    @pytest.mark.parametrize("prompt", [PROMPT, "VXNlcm5hbWU6", "go on", "=", "\ufffd"])
    async def test_the_text_of_the_prompts_is_ignored(self, prompt: str) -> None:
        assert (await run_exchange(XOAuth2(by_token("t")), Script([prompt, OK]).transport)).accepted

    @pytest.mark.parametrize("longest", [1_000, 10])
    async def test_plain_is_sent_with_the_command_if_it_fits(self, longest: int) -> None:
        at_once = longest == 1_000
        script = Script([OK] if at_once else [PROMPT, OK], longest)
        assert await run_exchange(Plain(BY_PASSWORD), script.transport) == AuthenticationResult(
            accepted=True, reply=OK, error_challenge=None, credentials_sent=True
        )
        response = f"\0{USER}\0open sesame".encode()
        assert script.heard == ([("AUTH", "PLAIN", response)] if at_once else [("AUTH", "PLAIN", None), (response,)])

    async def test_login_with_odd_prompts(self) -> None:
        script = Script(["no base64!", "=====", OK])
        assert (await run_exchange(Login(BY_PASSWORD), script.transport)).accepted
        assert script.heard == [("AUTH", "LOGIN", None), (USER.encode(),), (b"open sesame",)]

    async def test_scram_runs_in_a_thread_and_hides_the_server_signature(self) -> None:
        mechanism = ScramSha256(AuthenticationContext("user", Secret("pencil")), nonce="rOprNGfwEbeRWgbNEkqO")
        first = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        final = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        script = Script([b64(first), b64(final), OK])
        assert (await run_exchange(mechanism, script.transport)).accepted
        assert script.computed == 2
        assert script.heard[-1] == (b"",)
        assert final.removeprefix("v=") in [secret.reveal() for secret in script.secrets]

    @pytest.mark.parametrize(
        "answers",
        [
            pytest.param([OK], id="at once"),
            pytest.param([b64("r=n%x,s=c2FsdA==,i=4096"), OK], id="without proof"),
            pytest.param([b64("r=n%x,s=c2FsdA==,i=4096"), b64("e=invalid-proof"), OK], id="after its own refusal"),
        ],
    )
    async def test_scram_requires_the_server_signature(self, answers: list[Any]) -> None:
        """AT-03: v= missing, but a yes."""
        with pytest.raises(ServerError, match="before it was complete") as caught:
            await run_exchange(ScramSha256(BY_PASSWORD, nonce="n"), Script(answers).transport)
        assert caught.value.cause == "protocol_error"
        assert caught.value.reply == OK

    async def test_a_wrong_password_in_scram_is_a_refusal(self) -> None:
        script = Script([b64("r=n%x,s=c2FsdA==,i=4096"), b64("e=invalid-proof"), NO])
        result = await run_exchange(ScramSha256(BY_PASSWORD, nonce="n"), script.transport)
        assert (result.accepted, result.reply, script.heard[-1]) == (False, NO, (b"",))

    @pytest.mark.parametrize(
        "mechanism",
        [
            lambda: XOAuth2(by_token("t")),
            lambda: OAuthBearer(by_token("t")),
            lambda: Login(BY_PASSWORD),
            lambda: Plain(AuthenticationContext(USER, Secret("p" * 2_000))),
        ],
    )
    async def test_a_success_reply_to_auth_itself_is_an_error(self, mechanism: Any) -> None:
        """Nobody has signed in before anything was presented."""
        with pytest.raises(ServerError, match="before it was complete"):
            await run_exchange(mechanism(), Script([OK]).transport)

    async def test_a_success_reply_after_the_login_user_is_an_error(self) -> None:
        with pytest.raises(ServerError, match="before it was complete"):
            await run_exchange(Login(BY_PASSWORD), Script([b64("Username:"), OK]).transport)

    @pytest.mark.parametrize("said", [OK, NO])
    async def test_success_after_an_error_challenge_is_an_error(self, said: Reply) -> None:
        script = Script([PROMPT, reasons("401"), said])
        if said.positive:
            with pytest.raises(ServerError, match="before it was complete"):
                await run_exchange(XOAuth2(by_token("t")), script.transport)
        else:
            result = await run_exchange(XOAuth2(by_token("t")), script.transport)
            assert result == AuthenticationResult(
                accepted=False, reply=NO, error_challenge={"status": "401"}, credentials_sent=True
            )
        assert script.heard[-1] == (b"",)

    @pytest.mark.parametrize("broken", [NO, EOFError("closed"), ConnectionResetError()])
    @pytest.mark.parametrize(
        ("mechanism", "challenges"),
        [
            pytest.param(lambda: XOAuth2(by_token("t")), [PROMPT, "e30 e30="], id="base64 with spaces"),
            pytest.param(lambda: XOAuth2(by_token("t")), [PROMPT, "{}"], id="JSON in the clear"),
            pytest.param(lambda: XOAuth2(by_token("t")), [PROMPT, "e30"], id="base64 without its end"),
            pytest.param(lambda: XOAuth2(by_token("t")), [PROMPT, "e30=", "e30="], id="endless XOAUTH2"),
            pytest.param(lambda: OAuthBearer(by_token("t")), [PROMPT, "", ""], id="endless OAUTHBEARER"),
            pytest.param(lambda: Plain(BY_PASSWORD), [PROMPT], id="endless PLAIN"),
            pytest.param(lambda: Login(BY_PASSWORD), [PROMPT, "", ""], id="endless LOGIN"),
            pytest.param(lambda: ScramSha256(BY_PASSWORD), ["garbage!"], id="SCRAM, no base64"),
            pytest.param(lambda: ScramSha256(BY_PASSWORD), [b64("r=x,s=c2FsdA==,i=4096")], id="SCRAM, wrong nonce"),
            pytest.param(
                lambda: ScramSha256(BY_PASSWORD, nonce="n"),
                [b64("r=n%x,s=c2FsdA==,i=4096"), b64("e=x"), ""],
                id="endless SCRAM",
            ),
        ],
    )
    async def test_an_invalid_challenge_is_cancelled(self, mechanism: Any, challenges: list[str], broken: Any) -> None:
        script = Script([*challenges, broken])
        with pytest.raises(ServerError, match="makes no sense") as caught:
            await run_exchange(mechanism(), script.transport)
        assert caught.value.cause == "protocol_error"
        assert script.heard[-1] == ("*",)
        assert script.answers == []

    async def test_a_timeout_after_a_cancellation_is_a_timeout(self) -> None:
        with pytest.raises(TimeoutError):
            await run_exchange(Plain(BY_PASSWORD), Script([PROMPT, TimeoutError()]).transport)


class TestSignIn:
    @pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "SCRAM-SHA-256"])
    async def test_a_refused_password_is_tried_once(self, mechanism: str) -> None:
        script = Script([NO])
        with pytest.raises(SignInError) as caught:
            await authenticate(PASSWORD, mechanism, script.transport)
        assert caught.value.cause == ("password_refused" if mechanism != "LOGIN" else "sign_in_method_not_offered")
        assert len(script.heard) == 1

    async def test_an_accepted_password(self) -> None:
        await authenticate(PASSWORD, "PLAIN", Script([OK]).transport)

    async def test_an_accepted_token(self) -> None:
        source = Tokens("one")
        await by(Script([PROMPT, OK]), source)
        assert source.asked == [False]

    @pytest.mark.parametrize(
        "refusal", [[NO], *([reasons(status), NO] for status in ("400", "401", "invalid_request", "Invalid_Token"))]
    )
    async def test_a_refused_token_is_refreshed_once(self, refusal: list[Any]) -> None:
        source, script = Tokens("one", "two"), Script([PROMPT, *refusal, PROMPT, OK])
        await by(script, source)
        assert source.asked == [False, True]
        assert [heard for heard in script.heard if heard[0] in {xoauth2("one"), xoauth2("two")}] == [
            (xoauth2("one"),),
            (xoauth2("two"),),
        ]

    async def test_the_token_is_tried_twice_at_most(self) -> None:
        source, script = Tokens("one", "two"), Script([PROMPT, NO, PROMPT, reasons("401"), NO])
        with pytest.raises(SignInError) as caught:
            await by(script, source)
        assert (caught.value.cause, caught.value.challenge) == ("token_refused", {"status": "401"})
        assert source.asked == [False, True]
        assert script.answers == []

    @pytest.mark.parametrize(
        ("answers", "cause", "retryable"),
        [
            ([PROMPT, reasons("403"), NO], "token_for_other_service", False),
            ([PROMPT, reasons("insufficient_scope"), NO], "token_for_other_service", False),
            ([PROMPT, reasons("500"), NO], "sign_in_temporarily_unavailable", True),
            ([PROMPT, reasons("503"), NO], "sign_in_temporarily_unavailable", True),
            ([PROMPT, reasons("use_another_token"), NO], "token_refused", False),
            ([PROMPT, reasons(""), NO], "token_refused", False),
            ([PROMPT, TEMP], "sign_in_temporarily_unavailable", True),
            ([NO], "sign_in_method_not_offered", False),
        ],
    )
    async def test_refusals_that_a_new_token_does_not_help(
        self, answers: list[Any], cause: str, retryable: bool
    ) -> None:
        source, script = Tokens("one", "two"), Script(answers)
        with pytest.raises(SignInError) as caught:
            await by(script, source)
        assert (caught.value.cause, caught.value.retryable) == (cause, retryable)
        assert source.asked == [False]

    async def test_the_token_source_fails_at_the_second_attempt(self) -> None:
        failure = TokenError("expired", cause="token_update_failed")
        source = Tokens("one", failure)
        with pytest.raises(TokenError) as caught:
            await by(Script([PROMPT, NO]), source)
        assert caught.value is failure
        assert source.asked == [False, True]

    async def test_a_failed_refresh_leaves_the_first_refusal(self) -> None:
        """Nothing more is known of it than what the server said."""
        source = Tokens("t1", TokenError("no renewal token", cause="token_not_renewable"))
        script = Script([PROMPT, reasons("401"), NO])
        with pytest.raises(SignInError) as caught:
            await by(script, source)
        assert caught.value.cause == "token_refused"
        assert source.asked == [False, True]
        assert script.stages == ["token", "sign_in", "token"]

    @pytest.mark.parametrize(("second", "renewed"), [("one", False), ("two", True)])
    async def test_a_closed_connection_asks_for_a_new_one(self, second: str, renewed: bool) -> None:
        for script in (
            Script([PROMPT, NO], alive=False),
            Script([PROMPT, NO, EOFError()]),
            Script([PROMPT, NO, BrokenPipeError()]),
        ):
            with pytest.raises(ReconnectRequiredError) as caught:
                await by(script, Tokens("one", second))
            assert caught.value.token == AccessToken(second)
            assert caught.value.is_new_token is renewed
            assert caught.value.refusal.reply == NO

    async def test_a_timeout_at_the_second_attempt_is_a_timeout(self) -> None:
        with pytest.raises(TimeoutError):
            await by(Script([PROMPT, NO, TimeoutError()]), Tokens("one", "two"))

    @pytest.mark.parametrize("lost", [EOFError("closed"), ConnectionResetError("reset")])
    async def test_a_connection_lost_after_the_second_token_is_not_retried(self, lost: Exception) -> None:
        with pytest.raises(type(lost)):
            await by(Script([PROMPT, NO, PROMPT, lost]), Tokens("one", "two"))
        with pytest.raises(SignInError) as caught:
            await by(Script([PROMPT, NO, PROMPT, lost]), Tokens("one", "one"))
        assert caught.value.reply == NO

    async def test_the_attempt_on_a_new_connection_is_the_last(self) -> None:
        first = SignInError("first", cause="token_refused", reply=NO)
        retry = ReconnectRequiredError(AccessToken("two"), first, is_new_token=True)
        source, script = Tokens(), Script([PROMPT, OK])
        await by(script, source, retry=retry)
        assert script.heard[-1] == (xoauth2("two"),)
        with pytest.raises(SignInError) as caught:
            await by(Script([PROMPT, NO]), source, retry=retry)
        assert caught.value is not first
        assert source.asked == []

    async def test_oauthbearer_names_the_server(self) -> None:
        script = Script([PROMPT, OK])
        await by(script, Tokens("one"), "OAUTHBEARER")
        assert script.heard[-1] == (OAuthBearer(by_token("one", 995)).start(),)


class Line:
    """A dialogue that counts how often it was closed."""

    def __init__(self) -> None:
        self.closed = 0

    async def abort(self) -> None:
        self.closed += 1


class TestSignedIn:
    """`signed_in` with a script of what each connection's `begin` raises."""

    async def run(self, *outcomes: BaseException | None, unreached: MailError | None = None) -> list[Line]:
        self.lines: list[Line] = []
        self.given: list[ReconnectRequiredError | None] = []

        async def open_dialogue() -> Line:
            if unreached and self.lines:
                raise unreached
            self.lines.append(Line())
            return self.lines[-1]

        async def begin(line: Line, retry: ReconnectRequiredError | None) -> None:
            self.given.append(retry)
            outcome = outcomes[len(self.given) - 1]
            if outcome:
                raise outcome

        assert await open_authenticated(open_dialogue, begin) is self.lines[-1]
        return self.lines

    refusal = SignInError("first", cause="token_refused", reply=NO)
    lost = NetworkError("lost", stage="sign_in", cause="connection_lost")

    async def test_success_on_the_first_connection(self) -> None:
        assert [line.closed for line in await self.run(None)] == [0]
        assert self.given == [None]

    async def test_success_on_the_second_connection(self) -> None:
        retry = ReconnectRequiredError(AccessToken("t"), self.refusal, is_new_token=False)
        assert [line.closed for line in await self.run(retry, None)] == [1, 0]
        assert self.given == [None, retry]

    @pytest.mark.parametrize("failure", [refusal, lost, KeyboardInterrupt(), ValueError()])
    async def test_a_failure_closes_the_connection(self, failure: BaseException) -> None:
        with pytest.raises(type(failure)) as caught:
            await self.run(failure)
        assert caught.value is failure
        assert [line.closed for line in self.lines] == [1]

    @pytest.mark.parametrize("renewed", [True, False])
    @pytest.mark.parametrize("opened", [True, False])
    async def test_the_first_refusal_stands_if_the_second_connection_fails(self, renewed: bool, opened: bool) -> None:
        retry = ReconnectRequiredError(AccessToken("t"), self.refusal, is_new_token=renewed)
        with pytest.raises(MailError) as caught:
            await self.run(retry, self.lost, unreached=None if opened else self.lost)
        assert caught.value is (self.lost if renewed else self.refusal)
        assert all(line.closed for line in self.lines)

    async def test_a_reply_on_the_second_connection_counts(self) -> None:
        second = SignInError("second", cause="token_refused", reply=NO)
        with pytest.raises(SignInError) as caught:
            await self.run(ReconnectRequiredError(AccessToken("t"), self.refusal, is_new_token=False), second)
        assert caught.value is second


class TestFetch:
    @pytest.mark.parametrize("thing", [None, 7, b"ya29.secret", Secret("ya29.secret"), ("t", 1)])
    async def test_a_source_that_returns_no_token(self, thing: Any) -> None:
        class Odd(Tokens):
            async def token(self, *, force: bool = False) -> Any:
                return thing

        with pytest.raises(TokenError, match="gave something else") as caught:
            await fetch_token(Odd(), force=False)
        assert caught.value.detail == f"Odd gave {type(thing).__name__}"
        assert "ya29" not in repr(caught.value) + caught.value.detail

    async def test_a_token_of_type_str(self) -> None:
        class Plainly(Tokens):
            async def token(self, *, force: bool = False) -> Any:
                return "ya29.secret"

        with pytest.raises(TokenError, match="gave something else"):
            await fetch_token(Plainly(), force=False)

    @pytest.mark.parametrize(
        "error",
        [
            ValueError("ya29.secret"),
            TimeoutError(),
            EOFError(),
            KeyError("x"),
            RuntimeError("generator raised StopIteration"),
            StopAsyncIteration(),
            ExceptionGroup("several", [ValueError("ya29.secret")]),
            ReconnectRequiredError(AccessToken("t"), TestSignedIn.refusal, is_new_token=True),
        ],
        ids=lambda error: type(error).__name__,
    )
    async def test_any_exception_of_a_token_source(self, error: Exception) -> None:
        with pytest.raises(TokenError, match="its source failed") as caught:
            await fetch_token(Tokens(error), force=False)
        assert caught.value.stage == "token"
        assert caught.value.__cause__ is error
        assert "ya29" not in str(caught.value) + caught.value.detail

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), GeneratorExit()], ids=repr)
    async def test_base_exceptions_propagate(self, error: BaseException) -> None:
        with pytest.raises(type(error)):
            await fetch_token(Tokens(error), force=False)

    @pytest.mark.parametrize(
        "error",
        [
            TokenError("x", cause="consent_missing"),
            ClosedError("x", stage="token", cause="connection_lost"),
            RefusedError("x", stage="token", cause="unknown"),
        ],
    )
    async def test_mail_errors_of_a_token_source_propagate(self, error: MailError) -> None:
        with pytest.raises(MailError) as caught:
            await fetch_token(Tokens(error), force=False)
        assert caught.value is error

    @pytest.mark.parametrize("source", [None, object()])
    async def test_an_object_that_is_not_a_token_source(self, source: Any) -> None:
        with pytest.raises(TokenError):
            await fetch_token(source, force=False)

    async def test_a_source_that_is_not_asynchronous(self) -> None:
        class Synchronous:
            def token(self, *, force: bool = False) -> AccessToken:
                return AccessToken("t")

        with pytest.raises(TokenError):
            await fetch_token(Synchronous(), force=False)  # type: ignore[arg-type]  # that is what is tested


@pytest.mark.parametrize(
    ("code", "enhanced", "expected"),
    [
        (454, "4.7.0", True),
        (421, None, True),
        (535, "5.7.8", False),
        (334, None, False),
        (None, "SYS/TEMP", True),
        (None, "SYS/TEMP/DISK", True),
        (None, "IN-USE", True),
        (None, "LOGIN-DELAY", True),
        (None, "SYS/PERM", False),
        (None, "AUTH", False),
        (None, None, False),
    ],
)
def test_a_temporary_refusal(code: int | None, enhanced: str | None, expected: bool) -> None:
    assert is_temporary(Reply(code, enhanced, "", positive=False)) is expected


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("", b""),
        (" ", b""),
        ("e30=", b"{}"),
        ("  e30= ", b"{}"),
        ("e30", None),
        ("e3 0=", None),
        ("e30=\t", None),
        ("=", None),
        ("====", None),
        ("e30=e30=", None),
        ("e-30", None),
        ("e_30", None),
        ("é30=", None),
        ("*", None),
        ("AQ==", b"\x01"),
        ("A" * 16_384, bytes(12_288)),
    ],
)
def test_decode_challenge(text: str, octets: bytes | None) -> None:
    """RFC 4954 section 4: strictly base64."""
    assert decode_challenge(text) == octets


class TestWithoutAPrompt:
    """A server that takes a bearer token on the command's line alone, and refuses the command without it."""

    @pytest.mark.parametrize("code", [501, 504])
    @pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
    async def test_a_short_token_is_an_initial_response(self, mechanism: str, code: int) -> None:
        bare = Reply(code, "5.5.4", "Initial response required.", positive=False)
        script = Script([bare, Reply(235, None, "Welcome.", positive=True)])
        await by(script, Tokens("t0ken"), mechanism)
        first, (_, _, initial) = script.heard
        assert first == ("AUTH", mechanism, None)
        assert b"auth=Bearer t0ken\x01" in initial

    @pytest.mark.parametrize(
        ("answer", "longest", "alive"),
        [
            (Reply(501, None, "No.", positive=False), 20, True),
            (Reply(501, None, "No.", positive=False), 1_000, False),
            (Reply(535, "5.7.8", "No.", positive=False), 1_000, True),
            (Reply(454, "4.7.0", "Later.", positive=False), 1_000, True),
            (NO, 1_000, True),
        ],
        ids=["too long", "closed", "refused", "for now", "POP3"],
    )
    async def test_a_long_token_is_not_an_initial_response(self, answer: Reply, longest: int, alive: bool) -> None:
        script = Script([answer], longest=longest, alive=alive)
        mechanism = XOAuth2(by_token("t0ken"))
        result = await run_exchange(mechanism, script.transport)
        assert (result.accepted, result.credentials_sent, mechanism.credentials_sent) == (False, False, False)
        assert script.heard == [("AUTH", "XOAUTH2", None)]

    async def test_an_unsupported_mechanism_is_tried_once(self) -> None:
        """A mechanism that is unknown stays so, and no other token would help."""
        unknown = Reply(504, "5.7.4", "Unrecognized authentication type.", positive=False)
        script, tokens = Script([unknown] * 2), Tokens("t0ken")
        with pytest.raises(SignInError) as caught:
            await by(script, tokens)
        assert caught.value.cause == "sign_in_method_not_offered"
        assert len(script.heard) == 2
        assert tokens.asked == [False]

    async def test_a_token_refused_without_initial_response_is_refreshed_once(self) -> None:
        bare, refused = (Reply(code, None, "No.", positive=False) for code in (501, 535))
        script = Script([bare, refused, bare, Reply(235, None, "Welcome.", positive=True)])
        tokens = Tokens("old", "new")
        await by(script, tokens)
        assert tokens.asked == [False, True]
        assert [initial is None for _, _, initial in script.heard] == [True, False, True, False]
        assert b"Bearer new" in script.heard[-1][2]
