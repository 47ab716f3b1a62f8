"""Conformance tests for submitters: sent messages, and refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from mailslot.errors import (
    InputError,
    MailError,
    RecipientsRefusedError,
    RefusedError,
    SignInError,
)
from mailslot.sasl.credentials import OAuth, Password
from mailslot.smtp.envelope import DeliveryStatus
from mailslot_plugins.conformance.doubles import ListedTokenSource, RecordingHook, StreamedMessage
from mailslot_plugins.conformance.submitter_harness import (
    MESSAGE,
    PASSWORD,
    RECIPIENT,
    USER,
    SubmitterHarness,
    with_offers,
)
from mailslot_plugins.sandbox import DOVECOT, EXCHANGE, GMAIL, Fault, run_sandbox

if TYPE_CHECKING:
    from mailslot_plugins.sandbox import Personality, Sandbox


class MessageTests(SubmitterHarness):
    """Tests of messages and refusals."""

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
