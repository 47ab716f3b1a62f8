"""Conformance tests for submitters, against the sandbox: the guarantees of `mailslot.slots.submitter`.

A test module derives from `SubmitterSuite`, in a class whose name begins with ``Test``, and names its submitter::

    class TestMine(SubmitterSuite):
        submitter = staticmethod(connect)
        backends = ("asyncio",)

It needs anyio's pytest plugin.
"""

from __future__ import annotations

import logging
import math
import traceback
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

import anyio
import pytest

from mailslot.errors import (
    ClosedError,
    InputError,
    MailError,
    NetworkError,
    RecipientsRefusedError,
    RefusedError,
    ServerError,
    SignInError,
)
from mailslot.net.endpoint import Endpoint, Security
from mailslot.sasl.credentials import OAuth, Password
from mailslot.smtp.envelope import DeliveryStatus
from mailslot.wire.transcript import Transcript
from mailslot_plugins.conformance.doubles import ListedTokenSource, RecordingHook, SlowStream, StreamedMessage
from mailslot_plugins.sandbox import DOVECOT, EXCHANGE, GMAIL, Fault, run_sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from mailslot.errors import Stage
    from mailslot.sasl.credentials import Credentials
    from mailslot.slots.submitter import SubmissionSession, Submitter
    from mailslot_plugins.sandbox import Personality, Sandbox
    from mailslot_plugins.sandbox.faults import ConnectionEnd

USER: Final = "scanner@example.com"
RECIPIENT: Final = "alice@example.com"
PASSWORD: Final = "open sesame"  # noqa: S105 - the sandbox's
MESSAGE: Final = b"Subject: x\r\n\r\nHello.\r\n"
SILENCE_TIMEOUTS: Final = (0.5, 5.0, 50.0)
"""The timeouts to try against a silent server; longer ones in case a slow machine has not reached the stage yet."""


def with_offers(personality: Personality, *offers: str) -> Personality:
    """Return a personality with other EHLO keywords after TLS."""
    return replace(personality, smtp=replace(personality.smtp, capabilities_tls=("mail.test", *offers)))


class SubmitterSuite:
    """Tests of a submitter.

    Attributes:
        submitter: the object that the entry point names.
        backends: the event loops that it supports.
        differences: the names of tests that it cannot pass, with the reasons; such a test must fail.
    """

    pytestmark = pytest.mark.anyio
    submitter: ClassVar[Submitter]
    backends: ClassVar[Sequence[str]] = ("asyncio", "trio")
    differences: ClassVar[Mapping[str, str]] = {}

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test on each event loop."""
        if "anyio_backend" in metafunc.fixturenames:
            metafunc.parametrize("anyio_backend", self.backends)

    @pytest.fixture(autouse=True)
    def _expect_differences(self, request: pytest.FixtureRequest) -> None:
        if reason := self.differences.get(request.node.originalname):
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    @pytest.fixture
    async def sandbox(self) -> AsyncGenerator[Sandbox]:
        """A sandbox that behaves like Postfix."""
        async with run_sandbox() as sandbox:
            yield sandbox

    @asynccontextmanager
    async def open_session(
        self,
        sandbox: Sandbox,
        auth: Credentials | None = None,
        *,
        tls: bool = True,
        **arguments: Any,  # noqa: ANN401 - those of a submitter, and its endpoint
    ) -> AsyncGenerator[SubmissionSession]:
        """Open a session with a sandbox, by default with a valid token."""
        auth = auth or OAuth(USER, ListedTokenSource(sandbox.provider.issue(USER).value.reveal()))
        arguments = {"ssl_context": sandbox.client_context(), "timeout": 60.0, "final_timeout": 60.0, **arguments}
        endpoint = arguments.pop("endpoint", sandbox.smtps if tls else sandbox.smtp)
        async with type(self).submitter(endpoint, auth, **arguments) as session:
            yield session

    async def open_error(
        self,
        sandbox: Sandbox,
        auth: Credentials | None = None,
        **arguments: Any,  # noqa: ANN401 - likewise
    ) -> MailError:
        """Return the error of opening a session."""
        with pytest.raises(MailError) as caught:
            async with self.open_session(sandbox, auth, **arguments):
                pass
        return caught.value

    # What is sent.

    @pytest.mark.parametrize("personality", [DOVECOT, EXCHANGE, GMAIL], ids=lambda found: found.name)
    async def test_a_message_arrives_with_each_encryption_and_mechanism(self, personality: Personality) -> None:
        """By TLS and STARTTLS with each bearer mechanism; line ends are CRLF, and Bcc is removed."""
        async with run_sandbox(personality=personality) as sandbox:
            for tls in (False, True):
                for mechanism in sorted({"XOAUTH2", "OAUTHBEARER"} & personality.mechanisms):
                    auth = OAuth(USER, ListedTokenSource(sandbox.provider.issue(USER).value.reveal()), mechanism)
                    async with self.open_session(sandbox, auth, tls=tls) as session:
                        receipt = await session.submit(
                            USER, [RECIPIENT], b"Subject: x\nBcc: b@example.com\n\n.\n..\rend"
                        )
                    assert (receipt.accepted, dict(receipt.refused), receipt.reply.code) == ((RECIPIENT,), {}, 250)
            assert {each.content for each in sandbox.submissions} == {b"Subject: x\r\n\r\n.\r\n..\r\nend\r\n"}
            assert all(submission.user == USER for submission in sandbox.submissions)
            assert not sandbox.violations

    @pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "SCRAM-SHA-256"])
    async def test_a_password(self, mechanism: str) -> None:
        """The right one opens the session; a wrong one has the cause ``password_refused``."""
        async with run_sandbox(personality=with_offers(DOVECOT, f"AUTH {mechanism}")) as sandbox:
            async with self.open_session(sandbox, Password(USER, PASSWORD)) as session:
                await session.submit(USER, [RECIPIENT], MESSAGE)
            error = await self.open_error(sandbox, Password(USER, "wrong"))
            assert isinstance(error, SignInError)
            assert (error.cause, error.retryable) == ("password_refused", False)
            assert not sandbox.violations

    async def test_a_stream(self, sandbox: Sandbox) -> None:
        """A long message in pieces of an odd size, with dots at line starts; several in one session."""
        body = b".\r\n..\r\n" + b"0123456789\r\n" * 40_000 + b".\r\n"
        content = b"Subject: long\r\n\r\n" + body
        pieces = [content[start : start + 9_973] for start in range(0, len(content), 9_973)]
        async with self.open_session(sandbox) as session:
            for message in (StreamedMessage(*pieces), content, StreamedMessage(content)):
                assert (await session.submit(USER, [RECIPIENT], message)).reply.code == 250
        assert [submission.content for submission in sandbox.submissions] == [content] * 3
        assert not sandbox.violations

    async def test_octets_over_127_and_international_addresses(self, sandbox: Sandbox) -> None:
        """They are declared by 8BITMIME and SMTPUTF8 if the server offers them."""
        async with self.open_session(sandbox) as session:
            await session.submit(USER, [RECIPIENT], "Subject: x\r\n\r\nü\r\n".encode())
            await session.submit(USER, ["bøb@example.com", "a@bücher.example"], MESSAGE)
        first, second = sandbox.submissions
        assert first.sender.parameters["BODY"] == "8BITMIME"
        assert "SMTPUTF8" not in first.sender.parameters
        assert "SMTPUTF8" in second.sender.parameters
        assert second.recipients[1].address == "a@xn--bcher-kva.example"
        assert not sandbox.violations

    async def test_delivery_status_notifications_are_requested(self, sandbox: Sandbox) -> None:
        """By DSN, if the server offers it."""
        delivery = DeliveryStatus(("SUCCESS", "FAILURE"), whole_message=False, envelope_id="a b")
        async with self.open_session(sandbox) as session:
            await session.submit(USER, [RECIPIENT], MESSAGE, delivery=delivery)
        [submission] = sandbox.submissions
        assert submission.sender.parameters["RET"] == "HDRS"
        assert submission.sender.parameters["ENVID"] == "a+20b"
        assert submission.recipients[0].parameters["NOTIFY"] == "SUCCESS,FAILURE"

    async def test_unsupported_messages_are_refused_before_sending(self) -> None:
        """A message over its SIZE, or one that needs an extension that it does not offer."""
        personality = with_offers(DOVECOT, "SIZE 100", "AUTH XOAUTH2")
        async with run_sandbox(personality=personality) as sandbox, self.open_session(sandbox) as session:
            for recipient, message, cause in (
                (RECIPIENT, b"x" * 101, "message_too_large"),
                (RECIPIENT, "Subject: x\r\n\r\nü".encode(), "content_refused"),
                ("bøb@example.com", MESSAGE, "recipient_refused"),
            ):
                with pytest.raises(MailError) as caught:
                    await session.submit(USER, [recipient], message)
                assert (caught.value.cause, caught.value.stage, session.usable) == (cause, "envelope", True)
            assert session.capabilities.size == 100
            assert "MAIL FROM" not in sandbox.transcript
            await session.submit(USER, [RECIPIENT], MESSAGE)

    async def test_invalid_input_is_refused_before_sending(self, sandbox: Sandbox) -> None:
        """Invalid addresses, and messages that cannot be read or have another size than announced."""
        async with self.open_session(sandbox) as session:
            cases: tuple[tuple[str, list[str], Any], ...] = (
                ("a b@example.com", [RECIPIENT], MESSAGE),
                (USER, [f"{RECIPIENT}>\r\nDATA"], MESSAGE),
                (USER, [], MESSAGE),
                (USER, [RECIPIENT], StreamedMessage(OSError("disk"))),
                (USER, [RECIPIENT], StreamedMessage(b"a\r\n", size=9)),
            )
            for sender, recipients, message in cases:
                with pytest.raises(InputError):
                    await session.submit(sender, recipients, message)
                assert session.usable
            assert "MAIL FROM" not in sandbox.transcript
            await session.submit(USER, [RECIPIENT], MESSAGE)

    async def test_a_message_that_fails_or_has_another_size(self, sandbox: Sandbox) -> None:
        """A message that fails, or is shorter than announced, is never completed, and the session is closed."""
        for rest in (OSError("disk"), b"y"):
            hook = RecordingHook()
            async with self.open_session(sandbox) as session:
                with pytest.raises(InputError):
                    await session.submit(
                        USER, [RECIPIENT], StreamedMessage(b"x\r\n" * 90_000, rest, size=300_000), before_end=hook
                    )
                assert (session.usable, hook.calls) == (False, 0)
        assert sandbox.submissions == []

    # What the server refuses.

    async def test_accepted_and_refused_recipients(self, sandbox: Sandbox) -> None:
        """Some may be refused; with all of them, no content is sent. The session stays usable."""
        sandbox.rules.recipients |= {"no@example.com": "550 5.1.1 no such user", "later@example.com": "450 4.2.1 later"}
        hook = RecordingHook()
        async with self.open_session(sandbox) as session:
            receipt = await session.submit(USER, ["no@example.com", RECIPIENT, "later@example.com"], MESSAGE)
            assert receipt.accepted == (RECIPIENT,)
            assert {address: reply.enhanced for address, reply in receipt.refused.items()} == {
                "no@example.com": "5.1.1",
                "later@example.com": "4.2.1",
            }
            with pytest.raises(RecipientsRefusedError) as caught:
                await session.submit(USER, ["no@example.com"], MESSAGE, before_end=hook)
            assert (caught.value.cause, caught.value.stage) == ("recipient_refused", "envelope")
            assert (caught.value.retryable, hook.calls) == (False, 0)
            assert (await session.submit(USER, [RECIPIENT], MESSAGE)).accepted == (RECIPIENT,)
        assert len(sandbox.submissions) == 2
        assert not sandbox.violations

    async def test_refusals_leave_the_session_usable(self, sandbox: Sandbox) -> None:
        """Of the sender, of DATA, and of the message."""
        sandbox.rules.senders["fax@example.com"] = "550 5.7.1 not you"
        hook = RecordingHook()
        async with self.open_session(sandbox) as session:
            for sender, stage, code in (("fax@example.com", "envelope", 550), (USER, "data", 451), (USER, "data", 554)):
                sandbox.faults[:] = [Fault("DATA", act=False, replace=b"451 4.3.0 later\r\n")] if code == 451 else []
                sandbox.rules.content = "554 5.7.1 spam" if code == 554 else None
                assert hook.calls == 0
                with pytest.raises(RefusedError) as caught:
                    await session.submit(sender, [RECIPIENT], MESSAGE, before_end=hook)
                assert (caught.value.stage, session.usable, caught.value.in_doubt) == (stage, True, False)
                assert caught.value.reply is not None
                assert caught.value.reply.code == code
                assert caught.value.retryable is (code < 500)
            sandbox.rules.content = None
            await session.submit(USER, [RECIPIENT], MESSAGE)
        assert hook.calls == 1

    async def test_probe(self, sandbox: Sandbox) -> None:
        """`probe` sends no message, raises for refused addresses, and leaves the session usable."""
        sandbox.rules.recipients["no@example.com"] = "550 5.1.1 no such user"
        async with self.open_session(sandbox) as session:
            await session.probe(USER, [RECIPIENT])
            with pytest.raises(RecipientsRefusedError):
                await session.probe(USER, ["no@example.com"])
            with pytest.raises(InputError):
                await session.probe(USER, ["no address"])
            assert sandbox.submissions == []
            await session.submit(USER, [RECIPIENT], MESSAGE)

    async def test_the_server_closes_with_421(self, sandbox: Sandbox) -> None:
        """421 is a temporary refusal that ends the session, also if it is unsolicited."""
        farewell = b"421 4.3.2 bye\r\n"
        for event in ("MAIL", "RCPT", "idle"):
            sandbox.faults[:] = [Fault(event, act=False, replace=farewell)]
            async with self.open_session(sandbox) as session:
                if event == "idle":
                    sandbox.faults[:] = [Fault("message", append=farewell, ending="close")]
                    await session.submit(USER, [RECIPIENT], MESSAGE)
                    await anyio.sleep(0.05)
                with pytest.raises(MailError) as caught:
                    await session.submit(USER, [RECIPIENT], MESSAGE)
                assert (caught.value.stage, caught.value.retryable) == ("envelope", True)
                assert (caught.value.in_doubt, session.usable) == (False, False)

    # Signing in.

    async def test_a_refused_token_is_requested_again(self, sandbox: Sandbox) -> None:
        """A new token is accepted on the same connection; if it is refused too, the error has the error challenge."""
        good = sandbox.provider.issue(USER).value.reveal()
        for mechanism, status in (("XOAUTH2", "401"), ("OAUTHBEARER", "invalid_token")):
            source = ListedTokenSource("stale", good)
            async with self.open_session(sandbox, OAuth(USER, source, mechanism)) as session:
                assert session.usable
            assert source.force_calls == [False, True]
            source = ListedTokenSource("stale", "stale-too")
            error = await self.open_error(sandbox, OAuth(USER, source, mechanism))
            assert isinstance(error, SignInError)
            assert source.force_calls == [False, True]
            assert (error.cause, error.stage, error.retryable) == ("token_refused", "sign_in", False)
            assert error.challenge is not None
            assert error.challenge["status"] == status
            assert error.reply is not None
            assert error.reply.enhanced == "5.7.8"
        assert not sandbox.violations

    async def test_a_connection_that_is_closed_after_the_refusal(self, sandbox: Sandbox) -> None:
        """The new token is tried on a new connection."""
        sandbox.faults += [Fault("sign_in", connection=1, protocol="smtp", ending="close")]
        source = ListedTokenSource("stale", sandbox.provider.issue(USER).value.reveal())
        async with self.open_session(sandbox, OAuth(USER, source)) as session:
            await session.submit(USER, [RECIPIENT], MESSAGE)
        assert source.force_calls == [False, True]

    async def test_a_mechanism_that_is_not_offered(self) -> None:
        """No token is requested, and no password mechanism is used with one."""
        async with run_sandbox(personality=with_offers(DOVECOT, "AUTH PLAIN LOGIN")) as sandbox:
            source = ListedTokenSource("never sent")
            error = await self.open_error(sandbox, OAuth(USER, source))
            assert (error.cause, error.stage) == ("sign_in_method_not_offered", "sign_in")
            assert source.force_calls == []

    # TLS.

    async def test_starttls_is_never_skipped(self) -> None:
        """If it is not offered, or refused, the session ends without authentication."""
        plain = replace(DOVECOT, smtp=replace(DOVECOT.smtp, capabilities=("mail.test", "AUTH PLAIN XOAUTH2")))
        async with run_sandbox(personality=plain) as sandbox:
            error = await self.open_error(sandbox, tls=False)
            assert (error.cause, error.stage, error.retryable) == ("tls_not_offered", "tls", False)
            assert "AUTH PLAIN" in sandbox.transcript
            assert "C: AUTH" not in sandbox.transcript
        async with run_sandbox() as sandbox:
            sandbox.faults += [Fault("STARTTLS", act=False, replace=b"454 4.7.0 not now\r\n")]
            assert (await self.open_error(sandbox, tls=False)).stage == "tls"
            assert "C: AUTH" not in sandbox.transcript

    @pytest.mark.parametrize("injected", [b"250 ok\r\n", b"2", b"250-mail.test\r\n250 AUTH PLAIN\r\n"])
    async def test_octets_injected_before_tls(self, sandbox: Sandbox, injected: bytes) -> None:
        """They are reported as `tls_injection`, and never taken for a reply."""
        sandbox.faults += [Fault("STARTTLS", append=injected)]
        error = await self.open_error(sandbox, tls=False)
        assert (error.cause, error.stage) == ("tls_injection", "tls")
        assert "C: AUTH" not in sandbox.transcript

    async def test_certificates_are_verified(self, sandbox: Sandbox) -> None:
        """An untrusted one, and one for another name, are refused; credentials need full verification."""
        for tls in (False, True):
            error = await self.open_error(sandbox, tls=tls, ssl_context=None)
            assert (error.cause, error.stage, error.retryable) == ("certificate_untrusted", "tls", False)
        other = Endpoint("127.0.0.2", sandbox.smtps.port, Security.TLS)
        sandbox_elsewhere = await self.open_error(sandbox, endpoint=other)
        assert sandbox_elsewhere.cause in {"certificate_name_mismatch", "connection_refused"}
        for security in (Security.NONE, Security.TLS):
            context = sandbox.client_context()
            context.check_hostname = security is Security.NONE
            endpoint = Endpoint("localhost", sandbox.smtp.port, security)
            assert isinstance(await self.open_error(sandbox, endpoint=endpoint, ssl_context=context), InputError)

    async def test_implicit_tls_at_a_starttls_port(self, sandbox: Sandbox) -> None:
        """The port and the encryption do not match."""
        error = await self.open_error(sandbox, endpoint=Endpoint("localhost", sandbox.smtp.port, Security.TLS))
        assert (error.cause, error.stage) == ("tls_port_mismatch", "tls")

    async def test_without_encryption(self, sandbox: Sandbox) -> None:
        """It is allowed without credentials, and STARTTLS is not used although it is offered."""
        endpoint = Endpoint("localhost", sandbox.smtp.port, Security.NONE)
        async with type(self).submitter(endpoint, None, timeout=60.0) as session:
            with pytest.raises(RefusedError) as caught:
                await session.submit(USER, [RECIPIENT], MESSAGE)
        assert caught.value.cause == "tls_required"
        assert "C: STARTTLS" not in sandbox.transcript

    # What goes wrong.

    async def test_unreachable_servers(self, sandbox: Sandbox) -> None:
        """Only these errors lead to the secondary server."""
        error = await self.open_error(sandbox, endpoint=Endpoint("mail.invalid", 587, Security.STARTTLS))
        assert isinstance(error, NetworkError)
        assert (error.stage, error.cause, error.retryable) == ("resolve", "name_not_found", True)
        error = await self.open_error(sandbox, endpoint=Endpoint("127.0.0.1", 1, Security.TLS))
        assert isinstance(error, NetworkError)
        assert (error.stage, error.cause, error.retryable) == ("connect", "connection_refused", True)

    async def test_refused_greetings(self, sandbox: Sandbox) -> None:
        """The greeting is a refusal, or not SMTP."""
        sandbox.faults[:] = [
            Fault("greeting", protocol="smtp", act=False, replace=b"421 4.3.2 too busy\r\n", ending="close")
        ]
        for tls in (False, True):
            error = await self.open_error(sandbox, tls=tls)
            assert (error.stage, error.cause, error.retryable) == ("greeting", "server_busy", True)
        error = await self.open_error(sandbox, endpoint=Endpoint("localhost", sandbox.pop3.port, Security.STARTTLS))
        assert (error.stage, error.cause) == ("greeting", "not_a_mail_server")

    @pytest.mark.parametrize(
        ("event", "stage", "endings"),
        [
            ("greeting", "greeting", ["close", None]),
            ("EHLO", "capabilities", ["close", "reset"]),
            ("sign_in", "sign_in", ["close", "reset"]),
            ("MAIL", "envelope", ["close", "reset"]),
            ("RCPT", "envelope", ["close", "reset"]),
            ("message", "data", ["close", "reset", None]),
        ],
    )
    async def test_a_broken_or_silent_connection(
        self, sandbox: Sandbox, event: str, stage: Stage, endings: Sequence[ConnectionEnd | None]
    ) -> None:
        """Broken or silent: the error has the stage, the session is closed, and only a sent message is in doubt."""
        for ending in endings:
            silent = math.inf if ending is None else 0.0
            fault = Fault(event, protocol="smtp", act=False, replace=b"", delay=silent, ending=ending)
            seconds, *longer = SILENCE_TIMEOUTS if ending is None else (60.0,)
            error, hook = await self._breaks(sandbox, fault, seconds)
            while error.stage != stage and longer:
                error, hook = await self._breaks(sandbox, fault, longer.pop(0))
            assert (error.stage, error.retryable, error.in_doubt) == (stage, True, event == "message")
            assert (error.cause == "in_doubt") is error.in_doubt
            assert hook.calls == (event == "message")
        assert sandbox.submissions == []

    async def _breaks(self, sandbox: Sandbox, fault: Fault, seconds: float) -> tuple[NetworkError, RecordingHook]:
        sandbox.faults[:], hook = [fault], RecordingHook()
        with pytest.raises(NetworkError) as caught:
            async with self.open_session(sandbox, timeout=seconds, final_timeout=seconds) as session:
                try:
                    await session.submit(USER, [RECIPIENT], MESSAGE, before_end=hook)
                finally:
                    assert not session.usable
        return caught.value, hook

    @pytest.mark.parametrize(
        "fault",
        [
            Fault("MAIL", act=False, replace=b"nonsense\r\n"),
            Fault("MAIL", append=b"250 2.1.5 a reply too many\r\n"),
            Fault("RCPT", append=b"250 2.1.5 a reply too many\r\n"),
            Fault("DATA", act=False, replace=b"250 no 354\r\n"),
            Fault("MAIL", act=False, replace=b"250-without end\r\n" * 20_000),
        ],
        ids=["nonsense", "many", "more", "other", "long"],
    )
    async def test_a_server_that_breaks_the_protocol(self, sandbox: Sandbox, fault: Fault) -> None:
        """Its octets are never taken for the reply to another command, and the session is closed."""
        sandbox.faults += [fault]
        sandbox.rules.recipients["no@example.com"] = "550 5.1.1 no such user"
        async with self.open_session(sandbox) as session:
            with pytest.raises(ServerError) as caught:
                await session.submit(USER, ["no@example.com", RECIPIENT], MESSAGE)
            assert (caught.value.cause, caught.value.in_doubt) == ("protocol_error", False)
            assert not session.usable
            with pytest.raises(ClosedError):
                await session.submit(USER, [RECIPIENT], MESSAGE)
        assert sandbox.submissions == []

    async def test_an_invalid_reply_to_a_message(self, sandbox: Sandbox) -> None:
        """The message is in doubt."""
        for reply in (b"nonsense\r\n", b"354 go on\r\n", b"250-2.0.0 Ok\r\n354 2.0.0 Ok\r\n"):
            sandbox.faults[:] = [Fault("message", act=False, replace=reply)]
            async with self.open_session(sandbox) as session:
                with pytest.raises(ServerError) as caught:
                    await session.submit(USER, [RECIPIENT], MESSAGE)
                assert (caught.value.cause, caught.value.in_doubt, session.usable) == ("in_doubt", True, False)

    async def test_a_refusal_before_the_end_of_a_message(self, sandbox: Sandbox) -> None:
        """It may come while the hook runs, and nothing is in doubt."""
        sandbox.faults += [Fault("content", act=False, replace=b"552 5.3.4 too large\r\n", delay=0.05)]
        async with self.open_session(sandbox) as session:
            with pytest.raises(RefusedError) as caught:
                await session.submit(USER, [RECIPIENT], MESSAGE, before_end=RecordingHook(pause=1.0))
            assert (caught.value.stage, caught.value.in_doubt) == ("data", False)
        assert sandbox.submissions == []

    async def test_a_refusal_in_the_middle_of_a_message(self, sandbox: Sandbox) -> None:
        """It is read before the message is complete, and ends the session; a 250 is a protocol error."""
        for reply, kind in ((b"552 5.3.4 too large\r\n", RefusedError), (b"250 2.0.0 Ok\r\n", ServerError)):
            sandbox.faults[:] = [Fault("content", act=False, replace=reply, delay=0.05)]
            hook = RecordingHook()
            async with self.open_session(sandbox) as session:
                with pytest.raises(kind) as caught:
                    await session.submit(USER, [RECIPIENT], SlowStream(), before_end=hook)
                assert (caught.value.stage, caught.value.in_doubt, session.usable) == ("data", False, False)
            assert hook.calls == 0

    @pytest.mark.parametrize("event", ["greeting", "EHLO", "challenge", "RCPT", "message"])
    async def test_a_cancellation_closes_the_connection(self, sandbox: Sandbox, event: str) -> None:
        """At any time, and no later command gets the reply to an earlier one."""
        sandbox.faults += [Fault(event, protocol="smtp", delay=math.inf)]
        with anyio.move_on_after(0.2) as scope:
            async with self.open_session(sandbox) as session:
                try:
                    await session.submit(USER, [RECIPIENT], MESSAGE)
                finally:
                    assert not session.usable
        assert scope.cancelled_caught
        assert "C: QUIT" not in sandbox.transcript
        assert sandbox.submissions == []

    async def test_leaving_by_an_error_sends_no_quit(self, sandbox: Sandbox) -> None:
        """Leaving normally says QUIT."""
        with pytest.raises(ZeroDivisionError):
            async with self.open_session(sandbox):
                raise ZeroDivisionError
        assert "C: QUIT" not in sandbox.transcript
        async with self.open_session(sandbox) as session:
            pass
        with anyio.fail_after(60):
            while "C: QUIT" not in sandbox.transcript:  # noqa: ASYNC110 - the sandbox tells nobody
                await anyio.sleep(0.01)
        with pytest.raises(ClosedError):
            await session.submit(USER, [RECIPIENT], MESSAGE)

    async def test_the_before_end_hook(self, sandbox: Sandbox) -> None:
        """The hook runs once, before the server can have the message; if it raises, nothing is in doubt."""
        for message in (MESSAGE, b"x\r\n" * 90_000):
            hook = RecordingHook()
            async with self.open_session(sandbox) as session:
                await session.submit(USER, [RECIPIENT], message, before_end=hook)
                assert hook.calls == 1
                before = len(sandbox.submissions)
                with pytest.raises(KeyError):
                    await session.submit(USER, [RECIPIENT], message, before_end=RecordingHook(KeyError("disk")))
                assert not session.usable
            assert len(sandbox.submissions) == before

    # What is told.

    async def test_stages_are_reported_in_order(self, sandbox: Sandbox) -> None:
        """`on_stage` is called when each stage begins."""
        for tls, expected in ((True, "tls greeting capabilities"), (False, "greeting capabilities tls capabilities")):
            stages: list[Stage] = []
            async with self.open_session(sandbox, tls=tls, on_stage=stages.append) as session:
                await session.probe(USER, [RECIPIENT])
            steps = [stage for event, stage in enumerate(stages) if stages[event - 1 : event] != [stage]]
            assert " ".join(steps) == f"resolve connect {expected} sign_in token sign_in envelope"

    async def test_no_secret_is_recorded(self, sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
        """Not in the transcript, a log or an error, even if the server echoes it."""
        token = sandbox.provider.issue(USER).value.reveal()
        echoed = f"535 5.7.8 {token} is not good\r\n".encode()
        shown: list[str] = []
        with caplog.at_level(logging.DEBUG):
            for echo in (echoed, token.encode() + b"\r\n", f"421 4.3.2 {token}\r\n".encode()):
                sandbox.faults[:] = [Fault("sign_in", protocol="smtp", act=False, replace=echo)]
                transcript = Transcript()
                error = await self.open_error(sandbox, OAuth(USER, ListedTokenSource(token)), transcript=transcript)
                shown += [str(transcript), error.detail, repr(error), "".join(traceback.format_exception(error))]
            sandbox.faults.clear()
            transcript = Transcript()
            async with self.open_session(
                sandbox, OAuth(USER, ListedTokenSource(token)), transcript=transcript
            ) as session:
                await session.submit(USER, [RECIPIENT], MESSAGE)
        assert any("MAIL FROM" in line for line in transcript.lines)
        shown += [str(transcript), caplog.text]
        assert not [text for text in shown if token in text]
        assert "Hello." not in str(transcript)
