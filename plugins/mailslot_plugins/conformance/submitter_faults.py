"""Conformance tests for submitters: broken connections, protocol violations, cancellation, and the hook."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot.errors import (
    ClosedError,
    NetworkError,
    RefusedError,
    ServerError,
)
from mailslot.net.endpoint import Endpoint, Security
from mailslot_plugins.conformance.doubles import RecordingHook, SlowStream
from mailslot_plugins.conformance.submitter_harness import (
    MESSAGE,
    RECIPIENT,
    SILENCE_TIMEOUTS,
    USER,
    SubmitterHarness,
)
from mailslot_plugins.sandbox import Fault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailslot.errors import Stage
    from mailslot_plugins.sandbox import Sandbox
    from mailslot_plugins.sandbox.faults import ConnectionEnd


class FaultTests(SubmitterHarness):
    """Tests of failures."""

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
