"""Conformance tests for submitters: opening a session, its stages and its transcript."""

from __future__ import annotations

import logging
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mailslot.errors import (
    InputError,
    RefusedError,
    SignInError,
)
from mailslot.net.endpoint import Endpoint, Security
from mailslot.sasl.credentials import OAuth
from mailslot.wire.transcript import Transcript
from mailslot_plugins.conformance.doubles import ListedTokenSource
from mailslot_plugins.conformance.submitter_harness import (
    MESSAGE,
    RECIPIENT,
    USER,
    SubmitterHarness,
    with_offers,
)
from mailslot_plugins.sandbox import DOVECOT, Fault, run_sandbox

if TYPE_CHECKING:
    from mailslot.errors import Stage
    from mailslot_plugins.sandbox import Sandbox


class SessionTests(SubmitterHarness):
    """Tests of sign-ins and TLS, and of stages and transcripts."""

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

    # Stages and transcripts.

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
