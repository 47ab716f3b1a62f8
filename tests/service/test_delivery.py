"""One job in one session: what follows from each reply."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from mailslot.errors import InputError
from mailslot.message import Message
from mailslot.spool.errors import busy_error
from mailslot.spool.recovery import Recovery
from mailslot.spool.spool import Spool
from mailslot_plugins.sandbox import Fault, Sandbox, run_sandbox
from service.sending_device import ALICE, OPEN, SENDER, FastClocks, received, run_sending_device

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from mailslot.smtp.content import Content
    from mailslot.spool.job import Job
    from mailslot_plugins.sandbox.personality import Personality
    from service.sending_device import SendingDevice

    RunSendingDevice = Callable[..., AbstractAsyncContextManager[tuple[SendingDevice, Sandbox]]]

pytestmark = pytest.mark.virtual_time

BOB, CAROL = "bob@example.com", "carol@example.com"


@pytest.fixture(scope="module")
async def running(anyio_backend: object) -> AsyncIterator[Sandbox]:
    """A sandbox for all tests of this module."""
    async with run_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sending_device(running: Sandbox) -> RunSendingDevice:
    """Opens a device that sends to it."""
    return partial(run_sending_device, sandbox=running)


def offering(*more: str) -> Personality:
    """The sandbox, which offers more."""
    return replace(OPEN, smtp=replace(OPEN.smtp, capabilities=(*OPEN.smtp.capabilities, *more)))


class CountingRules(dict[str, str]):
    """Rules that know who was asked about."""

    def __init__(self, rules: dict[str, str]) -> None:
        super().__init__(rules)
        self.asked: list[str] = []

    def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]  # enough here
        self.asked.append(key)
        return super().get(key) or default


class UnreadableContent:
    """A message in a spool that cannot be read at the moment."""

    def __init__(self, content: Content) -> None:
        self.size, self.eight_bit, self.smtputf8 = content.size, content.eight_bit, content.smtputf8

    async def chunks(self) -> AsyncIterator[bytes]:
        if self.size:
            raise busy_error("It is in use.")
        yield b""


async def test_a_message_that_is_lost_between_two_attempts(sending_device: RunSendingDevice, tmp_path: Path) -> None:
    """Somebody has removed its file while the service runs: the job says that, and nothing about settings."""
    async with sending_device(tmp_path, FastClocks(1000)) as (harness, sandbox):
        sandbox.rules.content = "451 4.7.1 Come back"
        async with harness.delivering():
            job = await harness.accept()
            await harness.until(job, "deferred")
            (file,) = (tmp_path / "spool").glob("*.job")
            file.unlink()
            job = await harness.until(job, "failed")
        assert job.cause == "spool_unreadable"
        assert job.sentence == f"{file} cannot be read: No such file or directory."


async def test_a_spool_that_cannot_be_read_for_a_while(
    sending_device: RunSendingDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message is unharmed, such as where a fleet's database is away, so the job is sent later."""
    content_of = Spool.content
    begun: list[int] = []

    def content(spool: Spool, job: Job) -> Content:
        begun.append(job.id)
        return content_of(spool, job) if len(begun) > 1 else UnreadableContent(content_of(spool, job))

    monkeypatch.setattr(Spool, "content", content)
    async with sending_device(tmp_path, FastClocks(1000)) as (harness, _), harness.delivering():
        job = await harness.accept()
        failed = await harness.until(job, "deferred", "failed")
        assert (failed.state, failed.cause, failed.sentence) == ("deferred", "spool_busy", "It is in use.")
        assert (await harness.until(job, "sent")).attempts == 2


async def test_a_job_is_sent_with_the_accepted_octets(sending_device: RunSendingDevice, tmp_path: Path) -> None:
    content = Message(sender=SENDER, to=[ALICE], subject="A page", text=".\n..\nEnd")
    frozen = b"".join([piece async for piece in content.chunks()])
    async with sending_device(tmp_path) as (harness, sandbox):
        job = await harness.accept(content=content)
        await harness.deliver_due()
        job = await harness.job(job)
        assert (job.state, job.cause, job.attempts, job.doubts) == ("sent", None, 1, 0)
        assert job.recipients[0].state == "accepted"
        assert job.reply.startswith("250 ")
        assert [each.content for each in sandbox.submissions] == [frozen]
        assert not sandbox.violations


@pytest.mark.parametrize(
    ("where", "reply", "state", "cause"),
    [
        ("senders", "451 4.3.0 try later", "deferred", "try_again_later"),
        (
            "senders",
            "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
            "failed",
            "sender_refused",
        ),
        ("senders", "530 5.7.0 Authentication required", "held", "authentication_required"),
        ("senders", "550 5.1.8 Access denied, bad outbound sender", "held", "sender_blocked"),
        ("recipients", "450 4.2.0 Greylisted", "deferred", "try_again_later"),
        ("recipients", "452 4.2.2 Mailbox full", "deferred", "mailbox_full"),
        ("recipients", "552 5.2.2 Mailbox full", "deferred", "mailbox_full"),
        ("recipients", "550 5.1.1 No such user", "failed", "recipient_refused"),
        ("content", "451 4.7.1 Come back", "deferred", "try_again_later"),
        ("content", "554 5.6.0 Virus", "failed", "content_refused"),
        ("content", "552 5.3.4 Too large", "failed", "message_too_large"),
    ],
)
async def test_a_refused_job(
    sending_device: RunSendingDevice, tmp_path: Path, where: str, reply: str, state: str, cause: str
) -> None:
    async with sending_device(tmp_path) as (harness, sandbox):
        if where == "content":
            sandbox.rules.content = reply
        else:
            getattr(sandbox.rules, where)[SENDER if where == "senders" else ALICE] = reply
        job = await harness.accept()
        await harness.deliver_due()
        job = await harness.job(job)
        assert (job.state, job.cause) == (state, cause)
        assert reply[:3] in job.reply or reply[:3] in job.recipients[0].reply
        assert job.sentence
        assert job.doubts == 0
        assert (job.next_attempt is not None) is (state == "deferred")
        assert not sandbox.submissions


async def test_recipients_that_are_accepted_refused_and_deferred(
    sending_device: RunSendingDevice, tmp_path: Path
) -> None:
    async with sending_device(tmp_path) as (harness, sandbox):
        sandbox.rules.recipients = {BOB: "550 5.1.1 No such user", CAROL: "450 4.2.0 Greylisted"}
        job = await harness.accept(ALICE, BOB, CAROL)
        await harness.deliver_due()
        job = await harness.job(job)
        assert (job.state, job.cause, job.waiting) == ("deferred", "try_again_later", (CAROL,))
        assert [each.state for each in job.recipients] == ["accepted", "refused", "waiting"]
        sandbox.rules.recipients.pop(CAROL)
        await harness.spool.release("smtp")
        await harness.deliver_due()
        job = await harness.job(job)
        assert (job.state, job.cause, job.attempts) == ("sent", "recipient_refused", 2)
        assert [to for _, to in received(sandbox)] == [(ALICE,), (CAROL,)]


@pytest.mark.parametrize("offers", [["LIMITS RCPTMAX=100"], []], ids=["told", "not told"])
async def test_300_recipients_in_further_transactions(
    sending_device: RunSendingDevice, tmp_path: Path, offers: list[str]
) -> None:
    people = [f"user{number}@example.com" for number in range(300)]
    async with sending_device(tmp_path, personality=offering(*offers)) as (harness, sandbox):
        rules = CountingRules({people[5]: "450 4.2.0 Greylisted", people[250]: "550 5.1.1 No such user"})
        sandbox.rules.recipients = rules
        job = await harness.accept(*people)
        await harness.deliver_due()
        job = await harness.job(job)
        assert [len(to) for _, to in received(sandbox)] == [99, 100, 99]
        assert sorted(address for _, to in received(sandbox) for address in to) == sorted(
            address for address in people if address not in {people[5], people[250]}
        )
        # The one that was put off was not asked again in the meantime.
        assert rules.asked.count(people[5]) == 1
        assert (job.state, job.waiting, job.attempts) == ("deferred", (people[5],), 1)
        assert "421" not in sandbox.transcript
        assert len(sandbox.dialogues) == 1


@pytest.mark.parametrize(
    "extra", ["452 4.5.3 Too many recipients", "452 Too many", "552 5.5.3 Too many", "552 no more"]
)
async def test_a_server_with_a_lower_recipient_limit_than_announced(
    sending_device: RunSendingDevice, tmp_path: Path, extra: str
) -> None:
    """The limit is learned, and the rest goes at once (RFC 5321 section 4.5.3.1.10)."""
    people = [f"user{number}@example.com" for number in range(25)]
    async with sending_device(tmp_path) as (harness, sandbox):
        words = extra.encode() + b"\r\n"
        sandbox.faults += [Fault("RCPT", nth, act=False, replace=words) for nth in range(11, 26)]
        job = await harness.accept(*people)
        await harness.deliver_due()
        assert [len(to) for _, to in received(sandbox)] == [10, 10, 5]
        job = await harness.job(job)
        assert (job.state, job.attempts) == ("sent", 1)


async def test_refusing_all_recipients_is_no_recipient_limit(sending_device: RunSendingDevice, tmp_path: Path) -> None:
    """A server that refuses the first recipient so has another reason; it is not asked in a circle."""
    async with sending_device(tmp_path) as (harness, sandbox):
        sandbox.rules.recipients = dict.fromkeys([ALICE, BOB], "452 4.5.3 Too many recipients")
        job = await harness.accept(ALICE, BOB)
        await harness.deliver_due()
        assert (await harness.job(job)).state == "deferred"
        assert sandbox.transcript.count("MAIL FROM") == 1


async def test_a_limit_of_messages_per_session(sending_device: RunSendingDevice, tmp_path: Path) -> None:
    async with sending_device(tmp_path, personality=offering("LIMITS MAILMAX=3")) as (harness, sandbox):
        for number in range(8):
            await harness.accept(text=str(number))
        await harness.deliver_due()
        assert [subject for subject, _ in received(sandbox)] == [str(number) for number in range(8)]
        assert [str(each).count("MAIL FROM") for each in sandbox.dialogues] == [3, 3, 2]
        assert "421" not in sandbox.transcript


async def test_a_limit_of_domains_per_session(sending_device: RunSendingDevice, tmp_path: Path) -> None:
    people = [f"user@{name}.example" for name in "abcde"]
    async with sending_device(tmp_path, personality=offering("LIMITS RCPTDOMAINMAX=2")) as (harness, sandbox):
        job = await harness.accept(*people)
        await harness.deliver_due()
        assert (await harness.job(job)).state == "sent"
        assert [len(to) for _, to in received(sandbox)] == [2, 2, 1]
        assert len(sandbox.dialogues) == 3


async def test_two_spellings_of_an_address(sending_device: RunSendingDevice, tmp_path: Path) -> None:
    async with sending_device(tmp_path) as (harness, sandbox):
        job = await harness.accept("alice@example.com", "alice@EXAMPLE.com")
        await harness.deliver_due()
        job = await harness.job(job)
        assert job.state == "sent"
        assert {each.state for each in job.recipients} == {"accepted"}
        assert len(sandbox.submissions) == 1


MOMENTS = ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "content"]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("fault", ["close", "reset", "421", "nonsense"])
async def test_a_connection_lost_before_the_end_is_not_in_doubt(
    sending_device: RunSendingDevice, tmp_path: Path, moment: str, fault: str
) -> None:
    async with sending_device(tmp_path) as (harness, sandbox):
        reply = {"421": b"421 4.3.2 closing\r\n", "nonsense": b"What?\r\n"}.get(fault)
        sandbox.faults.append(Fault(moment, act=False, replace=reply, ending="reset" if fault == "reset" else "close"))
        job = await harness.accept(text="x" * 300_000)
        await harness.deliver_due()
        job = await harness.job(job)
        assert (job.state, job.attempts, job.doubts) == ("deferred", 1, 0)
        assert job.cause in {"connection_lost", "server_busy", "protocol_error", "not_a_mail_server"}
        sandbox.faults.clear()
        await harness.spool.release("smtp")
        harness.restart()
        await harness.deliver_due()
        assert (await harness.job(job)).state == "sent"
        assert len(sandbox.submissions) == 1


@pytest.mark.parametrize("act", [True, False], ids=["delivered", "not delivered"])
@pytest.mark.parametrize("size", [10, 300_000])
@pytest.mark.parametrize(
    ("pipeline", "again"),
    [("scan", True), ("alerts", True), ("status", True), ("print", True), ("somebody-elses", False)],
)
async def test_a_connection_lost_after_the_end_is_in_doubt(
    sending_device: RunSendingDevice, tmp_path: Path, size: int, pipeline: str, again: bool, act: bool
) -> None:
    clocks = FastClocks()
    async with sending_device(tmp_path, clocks) as (harness, sandbox):
        sandbox.faults.append(Fault("message", connection=1, act=act, keep=0 if act else None, ending="close"))
        job = await harness.accept(text="x" * size, pipeline=pipeline)
        await harness.deliver_due()
        job = await harness.job(job)
        assert (job.state, job.cause, job.doubts, job.next_attempt) == ("in_doubt", "in_doubt", 1, None)
        assert "may arrive twice" in job.sentence
        taken = len(sandbox.submissions)
        harness.restart()
        await harness.deliver_due()
        assert (await harness.job(job)).state == "in_doubt"
    clocks.speed = 3000
    async with sending_device(tmp_path, clocks) as (harness, sandbox), harness.delivering():
        if not again:
            await harness.until(await harness.accept(text="another"), "sent")
            await harness.device.sleep(1200)
            assert (await harness.job(job)).state == "in_doubt"
            assert len(sandbox.submissions) == 1
            return
        job = await harness.until(job, "sent")
        assert (job.cause, job.doubts) == ("in_doubt", 1)
        assert "may arrive twice" in job.sentence
        assert len(sandbox.submissions) == 1
        assert taken == act


async def test_a_message_awaiting_its_reply_is_not_resent(sending_device: RunSendingDevice, tmp_path: Path) -> None:
    """In this and in other processes; it is resent once the delivery has given up."""
    async with sending_device(tmp_path, grace=0.3) as (harness, sandbox), Spool(tmp_path) as other:
        harness.device.records.change("smtp", {"timeout": 600}, {})
        sandbox.faults.append(Fault("message", connection=1, delay=math.inf))
        job = await harness.accept()
        async with harness.delivering():
            waiting = await harness.until(job, "in_doubt")
            assert waiting.delivering
            assert "answer is awaited" in waiting.sentence
            for spool in (harness.spool, other):
                with pytest.raises(InputError, match="whose answer is awaited at this moment"):
                    await spool.retry(job.id)
        unchanged = await harness.job(job)
        assert (unchanged.state, unchanged.delivering, unchanged.doubts) == ("in_doubt", False, 1)
        assert "the answer never came" in unchanged.sentence
        assert (await other.retry(job.id)).state == "queued"
        sandbox.faults.clear()
        harness.restart()
        await harness.deliver_due()
        assert (await harness.job(job)).state == "sent"


@pytest.mark.parametrize("pipeline", ["scan", "alerts", "status", "print", "somebody-elses"])
async def test_the_time_of_resending_a_job_in_doubt_is_shown(
    sending_device: RunSendingDevice, tmp_path: Path, pipeline: str
) -> None:
    async with sending_device(tmp_path) as (harness, sandbox):
        sandbox.faults.append(Fault("message", connection=1, keep=0, ending="close"))
        job = await harness.accept(pipeline=pipeline)
        await harness.deliver_due()
        await harness.worker._resubmit_doubtful_jobs()
        job = await harness.job(job)
        assert job.next_attempt == (None if pipeline == "somebody-elses" else job.changed_at + 600)


async def test_a_second_doubt_needs_a_person(sending_device: RunSendingDevice, tmp_path: Path) -> None:
    clocks = FastClocks(3000)
    async with sending_device(tmp_path, clocks) as (harness, sandbox):
        sandbox.faults.append(Fault("message", keep=0, ending="close"))
        job = await harness.accept()
        async with harness.delivering():
            await harness.until_true(lambda: len(sandbox.submissions) == 2)
            await harness.device.sleep(3600)
            job = await harness.job(job)
            assert (job.state, job.doubts) == ("in_doubt", 2)
            assert len(sandbox.submissions) == 2
            sandbox.faults.clear()
            await harness.spool.retry(job.id)
            job = await harness.until(job, "sent")
            assert "may arrive twice" in job.sentence
            identities = {each.content for each in sandbox.submissions}
            assert len(identities) == 1


async def test_an_idle_session_closed_by_the_server_costs_no_attempt(
    sending_device: RunSendingDevice, tmp_path: Path
) -> None:
    async with sending_device(tmp_path) as (harness, sandbox):
        # The second message of the first connection meets a farewell.
        sandbox.faults.append(Fault("MAIL", 2, connection=1, act=False, replace=b"421 4.4.2 idle\r\n", ending="close"))
        first, second = await harness.accept(text="1"), await harness.accept(text="2")
        await harness.deliver_due()
        assert [(await harness.job(job)).attempts for job in (first, second)] == [1, 1]
        assert [(await harness.job(job)).state for job in (first, second)] == ["sent", "sent"]
        assert len(sandbox.dialogues) == 2


async def test_a_missing_message_file_fails_only_its_job(sending_device: RunSendingDevice, tmp_path: Path) -> None:
    async with sending_device(tmp_path) as (harness, sandbox):
        lost, kept = await harness.accept(text="lost" * 10), await harness.accept(text="kept")
        # `recover` finds what is missing at the start; this one is cut while the worker runs.
        path = next(file for file in (tmp_path / "spool").glob("*.job") if b"lost" in file.read_bytes())
        async with harness.spool.delivery_lock():
            await harness.spool.recover()
        path.write_bytes(path.read_bytes()[:-10])
        harness.spool.recover = _nothing  # type: ignore[method-assign, assignment]  # it would find out before
        await harness.deliver_due()
        assert (await harness.job(kept)).state == "sent"
        job = await harness.job(lost)
        assert job.state == "failed", job
        assert job.sentence
        assert len(sandbox.submissions) == 1


async def test_a_job_with_all_replies_is_finished(sending_device: RunSendingDevice, tmp_path: Path) -> None:
    async with sending_device(tmp_path) as (harness, sandbox):
        job = await harness.accept()
        answered = '[["alice@example.com", "accepted", "250 ok", null]]'
        await harness.spool._storage.write(
            lambda repositories: repositories.connection.execute("UPDATE jobs SET recipients = ?", [answered])
        )
        await harness.deliver_due()
        assert (await harness.job(job)).state == "sent"
        assert not sandbox.submissions


async def _nothing() -> Recovery:
    return Recovery()


async def test_progress(sending_device: RunSendingDevice, tmp_path: Path) -> None:
    reported: list[tuple[int, int]] = []
    async with sending_device(tmp_path) as (harness, _sandbox):
        job = await harness.accept(text="x" * 1_000_000)
        job = await harness.worker.deliver(job.id, lambda sent, size: reported.append((sent, size)))
        assert job.state == "sent"
    assert reported == sorted(reported)
    assert len(reported) > 3
    assert reported[-1] == (job.size, job.size)
