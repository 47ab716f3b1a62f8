"""Conformance tests for maildrops, the plugins of `mailslot.maildrops`.

A test module derives from `MaildropSuite`, in a class whose name begins with ``Test``, and overrides the fixture
`mailbox`, an empty mailbox on a running server. If a maildrop cannot support something, `MaildropSuite.differences`
names the test, which then must fail.
"""

from __future__ import annotations

import logging
import tracemalloc
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import anyio
import pytest
from anyio.abc import SocketAttribute
from anyio.to_thread import run_sync

from mailslot.errors import ClosedError, MailError, NetworkError, RefusedError, SignInError
from mailslot.net.endpoint import Endpoint
from mailslot.sasl.credentials import OAuth
from mailslot.slots.maildrop import Maildrop, PushingMaildrop
from mailslot.wire.transcript import Transcript
from mailslot_plugins.conformance.doubles import ListedTokenSource
from mailslot_plugins.conformance.maildrop_harness import MailboxHarness, encodings_of, mail, read_all, refusing

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MailboxHarness", "MaildropSuite"]

LONG_MAIL = 8_000_000
"""Octets of a long mail."""

MAX_MEMORY = 3_000_000
"""The maximum octets of memory to fetch one."""

ORDER = ("resolve", "connect", "tls", "greeting", "capabilities", "token", "sign_in", "transaction", "quit")


class MaildropSuite:
    """Tests of a maildrop.

    Attributes:
        differences: the names of tests that it cannot pass, with the reasons.
    """

    pytestmark = pytest.mark.anyio
    differences: ClassVar[Mapping[str, str]] = {}

    @pytest.fixture
    def mailbox(self) -> MailboxHarness:
        """To be overridden: an empty mailbox."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _listed_difference(self, request: pytest.FixtureRequest) -> None:
        """Mark the tests in `differences` as expected failures."""
        name = getattr(request.node, "originalname", request.node.name)
        if name in self.differences:
            request.applymarker(pytest.mark.xfail(reason=self.differences[name], strict=True))

    async def test_it_implements_the_protocol(self, mailbox: MailboxHarness) -> None:
        """It implements the protocol; its options have defaults, and its mailbox id is printable."""
        assert isinstance(mailbox.maildrop, Maildrop)
        assert set(mailbox.options) == set(mailbox.maildrop.options)
        assert mailbox.maildrop.mailbox_id(mailbox.options).isprintable()

    # Listing

    async def test_an_empty_mailbox(self, mailbox: MailboxHarness) -> None:
        """It can be opened, listed and left."""
        async with mailbox.open() as session:
            assert list(await session.listing()) == []
            assert (await session.stat())[0] == 0

    async def test_a_listing(self, mailbox: MailboxHarness) -> None:
        """It has an entry for each mail; unique-ids differ, and are the same in the next session."""
        for name in ("one", "two", "three"):
            await mailbox.deliver(mail(name))
        found: list[list[str]] = []
        for _ in range(2):
            async with mailbox.open() as session:
                listed = await session.listing()
                assert (await session.stat())[0] == 3
                assert session.login_delay >= 0
            assert len({entry.number for entry in listed}) == 3
            assert all(entry.uid and abs(entry.size - len(mail("one"))) < 20 for entry in listed)
            found.append([entry.uid for entry in listed])
        assert found[0] == found[1]
        assert len(set(found[0])) == 3

    async def test_the_total_size(self, mailbox: MailboxHarness) -> None:
        """`stat` returns the total size without a listing."""
        await mailbox.deliver(mail("one"))
        async with mailbox.open() as session:
            octets = (await session.stat())[1]
            assert octets is not None
            assert abs(octets - len(mail("one"))) < 20

    async def test_renumbered_mails_get_new_unique_ids(self, mailbox: MailboxHarness) -> None:
        """A unique-id is never reused for another mail: after renumbering there are other ones."""
        await mailbox.deliver(mail("one"))
        async with mailbox.open() as session:
            before = {entry.uid for entry in await session.listing()}
        await mailbox.renumber()
        async with mailbox.open() as session:
            after = {entry.uid for entry in await session.listing()}
        assert len(after) == 1
        assert not before & after

    # Mails

    @pytest.mark.parametrize(
        "body",
        [
            b"text\r\n",
            b".\r\n..\r\n.text\r\n\r\n\r\n.\r\n",
            b"gr\xc3\xbc\xdf\xff\r\n",
            b"a) OK {12}\r\n* 1 FETCH (UID 1 BODY[] {3}\r\n+ \r\n+OK\r\n-ERR\r\n* BYE\r\n",
            b"x" * 900 + b"\r\n",
        ],
        ids=["text", "dots", "8bit", "answers", "long-line"],
    )
    async def test_a_mail_is_retrieved_unchanged(self, mailbox: MailboxHarness, body: bytes) -> None:
        """The octets are unchanged, also the second time in a session."""
        octets = mail("one") + body
        await mailbox.deliver(octets)
        async with mailbox.open() as session:
            (entry,) = await session.listing()
            for _ in range(2):
                assert await read_all(session.retrieve(entry)) == octets
        assert await mailbox.count() == 1

    async def test_a_header(self, mailbox: MailboxHarness) -> None:
        """It comes without the body."""
        await mailbox.deliver(mail("one", 100_000))
        async with mailbox.open() as session:
            (entry,) = await session.listing()
            header = await read_all(session.top(entry))
            assert header.startswith(mail("one")[:40])
            assert b"Subject: one\r\n" in header
            assert len(header) < 1_000

    async def test_a_long_mail_takes_little_memory(self, mailbox: MailboxHarness) -> None:
        """It is streamed."""
        octets = mail("long", LONG_MAIL)
        await mailbox.deliver(octets)
        async with mailbox.open() as session:
            (entry,) = await session.listing()
            tracemalloc.start()
            try:
                size = 0
                async for piece in session.retrieve(entry):
                    size += len(piece)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
        assert size == len(octets)
        assert peak < MAX_MEMORY

    async def test_a_retrieval_that_is_left_early(self, mailbox: MailboxHarness) -> None:
        """The next mail is correct, or the session is closed with a `ClosedError`."""
        await mailbox.deliver(mail("long", 300_000))
        await mailbox.deliver(mail("short"))
        with suppress(ClosedError):
            async with mailbox.open() as session:
                entries = await session.listing()
                longest, shortest = sorted(entries, key=lambda entry: -entry.size)
                async for _ in session.retrieve(longest):
                    break
                assert await read_all(session.retrieve(shortest)) == mail("short")
        assert await mailbox.count() == 2

    async def test_mails_that_another_client_has_deleted(self, mailbox: MailboxHarness) -> None:
        """Each is refused, or is complete if the server still has it; the session stays usable."""
        for name in ("one", "two", "three"):
            await mailbox.deliver(mail(name))
        async with mailbox.open() as session:
            entries = await session.listing()
            await mailbox.clear()
            for entry, name in zip(entries, ("one", "two", "three"), strict=True):
                try:
                    assert await read_all(session.retrieve(entry)) == mail(name)
                except RefusedError as error:
                    assert error.stage == "transaction"
            assert len(await session.listing()) in {0, 3}

    # Deletion

    async def test_deletions_are_committed_when_the_session_is_left(self, mailbox: MailboxHarness) -> None:
        """Only the deleted mails are gone."""
        for name in ("one", "two", "three"):
            await mailbox.deliver(mail(name))
        async with mailbox.open() as session:
            first, _, last = await session.listing()
            await session.delete(first, last)
        await mailbox.wait_for(1)
        async with mailbox.open() as session:
            (entry,) = await session.listing()
            await session.delete()
            await session.delete(entry)
        await mailbox.wait_for(0)

    async def test_an_exception_changes_nothing(self, mailbox: MailboxHarness) -> None:
        """Nothing is deleted, and the exception propagates unchanged."""
        await mailbox.deliver(mail("one"))
        with pytest.raises(ZeroDivisionError):
            async with mailbox.open() as session:
                (entry,) = await session.listing()
                await read_all(session.retrieve(entry))
                await session.delete(entry)
                raise ZeroDivisionError
        await anyio.sleep(0.1)
        assert await mailbox.count() == 1

    async def test_a_cancellation_changes_nothing(self, mailbox: MailboxHarness) -> None:
        """It closes the session, also during a retrieval, and nothing is deleted."""
        for name in ("one", "two"):
            await mailbox.deliver(mail(name, 300_000))
        with anyio.CancelScope() as scope:
            async with mailbox.open() as session:
                first, second = await session.listing()
                await session.delete(first)
                async for _ in session.retrieve(second):
                    scope.cancel()
        await anyio.sleep(0.1)
        assert await mailbox.count() == 2

    async def test_a_session_that_was_left_is_closed(self, mailbox: MailboxHarness) -> None:
        """Using it raises a `MailError`."""
        async with mailbox.open() as session:
            pass
        with pytest.raises(MailError):
            await session.listing()

    # Opening a session

    async def test_stages_are_reported_in_order(self, mailbox: MailboxHarness) -> None:
        """All stages of a connection test are reported."""
        stages: list[str] = []
        async with mailbox.open(on_stage=stages.append):
            pass
        firsts = [stage for stage in dict.fromkeys(stages) if stage in ORDER]
        assert firsts[:2] == ["resolve", "connect"]
        assert {"greeting", "capabilities", "token", "sign_in"} <= set(firsts)
        assert stages.index("greeting") < stages.index("token") <= len(stages)

    async def test_without_a_sign_in(self, mailbox: MailboxHarness) -> None:
        """The connection can be opened and left without credentials."""
        with anyio.fail_after(60):
            async with mailbox.open(replace(mailbox.profile, auth=None, token_source=None)):
                pass

    async def test_a_refused_sign_in(self, mailbox: MailboxHarness) -> None:
        """It raises a `SignInError` that contains no secret."""
        user = mailbox.profile.auth.user if mailbox.profile.auth else ""
        tokens = ("no-such-token-at-all", "nor-this-one-either")
        source = ListedTokenSource(*tokens)
        with anyio.fail_after(60), pytest.raises(SignInError) as raised:
            async with mailbox.open(replace(mailbox.profile, auth=OAuth(user, source), token_source=source)):
                pass
        error = raised.value
        assert (error.stage, error.cause, error.retryable) == ("sign_in", "token_refused", False)
        assert source.force_calls == [False, True]
        for secret in tokens:
            assert secret not in f"{error} {error.detail} {error!r} {error.reply} {error.challenge}"

    async def test_a_refused_token_is_requested_again(self, mailbox: MailboxHarness) -> None:
        """After a refusal a new token is requested once, with ``force=True``."""
        user = mailbox.profile.auth.user if mailbox.profile.auth else ""
        source = ListedTokenSource("no-such-token-at-all", mailbox.secrets[0])
        async with mailbox.open(replace(mailbox.profile, auth=OAuth(user, source), token_source=source)) as session:
            assert list(await session.listing()) == []
        assert source.force_calls == [False, True]

    async def test_a_refused_connection(self, mailbox: MailboxHarness) -> None:
        """A refused connection is a retryable `NetworkError`."""
        with refusing(mailbox.profile) as unreachable, pytest.raises(NetworkError) as raised:
            async with mailbox.open(unreachable):
                pass
        assert (raised.value.stage, raised.value.cause) == ("connect", "connection_refused")
        assert raised.value.retryable

    async def test_a_silent_server(self, mailbox: MailboxHarness) -> None:
        """A silent server is a timeout."""
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            port = listener.extra(SocketAttribute.local_port)
            endpoint = Endpoint("127.0.0.1", port, mailbox.profile.endpoint.security)
            with anyio.fail_after(60), pytest.raises(NetworkError) as raised:
                async with mailbox.open(replace(mailbox.profile, endpoint=endpoint, timeout=0.3)):
                    pass
            assert raised.value.cause == "connection_timeout"

    async def test_no_secret_is_recorded(self, mailbox: MailboxHarness, caplog: pytest.LogCaptureFixture) -> None:
        """Neither the transcript nor a log at any level contains a secret or the mail."""
        caplog.set_level(logging.DEBUG)
        transcript = Transcript()
        await mailbox.deliver(mail("one") + b"for my eyes only\r\n")
        async with mailbox.open(transcript=transcript) as session:
            (entry,) = await session.listing()
            await read_all(session.retrieve(entry))
        assert len(transcript.lines) > 5
        for recorded in (str(transcript), caplog.text):
            assert "for my eyes only" not in recorded
            for secret in mailbox.secrets:
                assert not any(form in recorded for form in encodings_of(secret))

    # Optional features

    async def test_it_runs_on_trio(self, mailbox: MailboxHarness) -> None:
        """On trio it connects as well: here to a port where nothing listens."""

        async def connect() -> None:
            async with mailbox.open(unreachable):
                pass

        with refusing(mailbox.profile) as unreachable, pytest.raises(NetworkError):
            await run_sync(lambda: anyio.run(connect, backend="trio"))

    async def test_new_mail_is_reported(self, mailbox: MailboxHarness) -> None:
        """`watch` calls back once when it has begun, and when a mail comes."""
        maildrop = mailbox.maildrop
        assert isinstance(maildrop, PushingMaildrop)
        call_count = 0

        def on_mail() -> None:
            nonlocal call_count
            call_count += 1

        async def wait_for_calls(times: int) -> None:
            with anyio.fail_after(60):
                while call_count < times:  # noqa: ASYNC110 - the maildrop tells a function
                    await anyio.sleep(0.01)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(maildrop.watch, mailbox.profile, mailbox.options, on_mail)
            await wait_for_calls(1)
            await mailbox.deliver(mail("one"))
            await wait_for_calls(2)
            tasks.cancel_scope.cancel()
