"""The owners of devices are told what was not delivered: once, in one mail for many, and whatever is interrupted."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from email import message_from_bytes, policy
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.to_thread import run_sync

from mailslot.oauth.timing import Clocks
from mailslot.plugin import DEVICE, Done, NewJob, SetAside
from mailslot.service.device import open_device
from mailslot.service.handling import WAITS_FOR_DEVICE, handle_waiting
from mailslot.slots.accounts import add_account
from mailslot.slots.gateway.entries import add_device, remove_device
from mailslot.slots.records import Records
from mailslot.smtp.content import BytesContent
from mailslot.spool.folder.jobs import SqliteJobs
from mailslot.spool.job import CONFIRMATION_NOTE, DEVICE_NOTE, ENVELOPE_ID, RecipientRefusal
from mailslot.spool.spool import Spool
from mailslot.spool.store import Store
from mailslot_plugins.gateway.gateway import open_gateway
from mailslot_plugins.gateway.notice_text import MAX_LISTED
from mailslot_plugins.gateway.owner_notices import INTERVAL, NOTICE_PIPELINE, OwnerNotices
from mailslot_plugins.gateway.pipeline import pipeline
from mailslot_plugins.gateway.undelivered import DUE_NOTE, LATE_AFTER
from mailslot_plugins.intake.report import TRACE_FIELD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from email.message import EmailMessage
    from pathlib import Path
    from typing import Any

    from mailslot.plugin import Device, Incoming, Job

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)]

OFFICE, BOX = "account.office", "account.box"
ACCOUNT, OWNER, BOB, CAROL = "scans@example.com", "it@example.com", "bob@example.com", "carol@example.com"


class Office:
    """A device with a gateway that nobody is connected to, and jobs that end as the tests say."""

    def __init__(self, device: Device, clock: list[float]) -> None:
        self.device = device
        self.spool = device.spool
        self._clock = clock

    def pass_time(self, seconds: float) -> None:
        self._clock[0] += seconds

    async def add(self, name: str = "hall", **values: object) -> None:
        entry = {"user": name, "via": OFFICE, "notify": OWNER, **values}
        await run_sync(add_device, self.device.records, name, {k: v for k, v in entry.items() if v is not None})
        await self.device.refresh()

    async def change(self, record: str, **values: object) -> None:
        await run_sync(self.device.records.change, record, values, {})
        await self.device.refresh()

    async def job(self, *to: str, device: str = "hall", subject: str = "a scan", **values: Any) -> Job:
        notes = {DEVICE_NOTE: device, **values.pop("notes", {})}
        new = NewJob("gateway", OFFICE, ACCOUNT, to or (BOB,), subject, notes=notes, **values)
        return await self.spool.accept(new, BytesContent(b"Subject: a scan\r\n\r\npage one\r\n"))

    async def end(self, job: Job, **refused: str) -> Job:
        """Deliver a job; the recipients with these local parts are refused."""
        addresses = {each.address for each in job.recipients}
        replies = {f"{name}@example.com": RecipientRefusal(f"550 5.1.1 {why}") for name, why in refused.items()}
        async with self.spool.delivery_lock():
            await self.spool.claim(job.via, job_id=job.id)
            await self.spool.hand_over(job.id)
            return await self.spool.record_replies(
                job.id, accepted=addresses - replies.keys(), refused=replies, reply="250 ok"
            )

    async def interrupt(self, job: Job, step: Callable[[], Awaitable[Job]]) -> Job:
        async with self.spool.delivery_lock():
            await self.spool.claim(job.via, job_id=job.id)
            return await step()

    async def tell(self) -> list[EmailMessage]:
        """Return the mails to owners that this accepts, oldest first."""
        before = {job.id for job in await self.notices()}
        await OwnerNotices(self.device).send_due()
        return [await self.read(job) for job in await self.notices() if job.id not in before]

    async def notices(self) -> list[Job]:
        return (await self.spool.jobs(pipeline=NOTICE_PIPELINE))[::-1]

    async def read(self, job: Job) -> EmailMessage:
        octets = b"".join([bytes(piece) async for piece in self.spool.content(job).chunks()])
        mail: EmailMessage = message_from_bytes(octets, policy=policy.default)  # type: ignore[assignment]  # by the policy
        return mail

    async def receive(self, mail: str, record: str = BOX) -> Incoming:
        async with self.spool.ledger.receive(record, mail[-30:]) as file:
            await file.write(mail.replace("\n", "\r\n").encode())
        assert file.mail is not None
        return file.mail


@asynccontextmanager
async def open_office(home: Path) -> AsyncIterator[Office]:
    clock = [1_800_000_000.0]
    records = Records(home)
    if not records.settings.path.exists():
        await run_sync(add_account, records, "office", "SMTP")
        await run_sync(add_account, records, "box", "POP")
        change = {"server": "mail.example.com", "sender_address": ACCOUNT}
        await run_sync(records.change, OFFICE, change, {})
        await run_sync(records.settings.change_section, DEVICE, {"name": "Gateway"})
    async with open_device(records, clocks=replace(Clocks(), wall=lambda: clock[0])) as device:
        yield Office(device, clock)


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with open_office(tmp_path / "home") as running:
        yield running


def bounce(*, trace: str = "", message_id: str = "<1@copier>", to: str = BOB) -> str:
    """A report of a mail server, which returns the header."""
    field = f"{TRACE_FIELD}: {trace}\n" if trace else ""
    return f"""Return-Path: <>
From: Mail Delivery System <MAILER-DAEMON@mail.test>
To: {ACCOUNT}
Subject: Undelivered Mail Returned to Sender
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: text/plain

I could not deliver your message.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mail.test

Final-Recipient: rfc822; {to}
Action: failed
Status: 5.2.2
Diagnostic-Code: smtp; 552 5.2.2 The mailbox is full

--b
Content-Type: text/rfc822-headers

Message-ID: {message_id}
{field}From: hall <{ACCOUNT}>
Subject: a scan

--b--
"""


async def test_a_refused_recipient_is_told_once(office: Office) -> None:
    await office.add()
    await office.end(await office.job(BOB, CAROL), bob="No such user")
    [mail] = await office.tell()
    assert (mail["To"], mail["From"]) == (OWNER, f"Gateway <{ACCOUNT}>")
    assert mail["Subject"] == "Mail from hall was not delivered"
    assert mail["Auto-Submitted"] == "auto-generated"
    text = mail.get_content()
    assert "Job 1, from hall, accepted 20" in text
    assert f"{BOB}: " in text
    assert "550 5.1.1 No such user" in text
    assert CAROL not in text
    [notice] = await office.notices()
    assert (notice.via, [each.address for each in notice.recipients]) == (OFFICE, [OWNER])
    office.pass_time(INTERVAL)
    assert await office.tell() == []


async def test_what_was_delivered_is_not_told(office: Office) -> None:
    await office.add()
    await office.end(await office.job())
    await office.job()
    await office.spool.cancel((await office.job()).id)
    office.pass_time(LATE_AFTER / 2)
    assert await office.tell() == []


@pytest.mark.parametrize("entry", [{"notify": None}, {"name": "attic"}])
async def test_nobody_is_told_about_devices_without_an_owner(office: Office, entry: dict[str, Any]) -> None:
    await office.add(**entry)
    await office.end(await office.job(), bob="No such user")
    assert await office.tell() == []


async def test_one_mail_for_many_and_the_next_after_a_while(office: Office) -> None:
    await office.add()
    await office.add("attic")
    await office.add("cellar", notify="cellar@example.com")
    for number in range(MAX_LISTED + 10):
        job = await office.job(device=("hall", "attic")[number % 2], subject=f"page {number}")
        await office.end(job, bob="No such user")
    await office.end(await office.job(device="cellar", subject="wine"), bob="No such user")
    first, second = await office.tell()
    assert (first["To"], first["Subject"]) == (OWNER, "Mail from 2 devices was not delivered")
    text = first.get_content()
    assert text.count("Job ") == MAX_LISTED
    assert "page 0\r\n" in text
    assert "10 more are in the list of jobs." in text
    assert (second["To"], "wine" in second.get_content()) == ("cellar@example.com", True)
    await office.end(await office.job(subject="later"), bob="No such user")
    office.pass_time(INTERVAL / 2)
    assert await office.tell() == []
    office.pass_time(INTERVAL)
    [third] = await office.tell()
    assert "later" in third.get_content()
    assert third.get_content().count("Job ") == 1


async def test_many_jobs_are_read_in_pages(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a page is read, no device's mail is accepted."""
    await office.add()
    for number in range(5):
        await office.end(await office.job(subject=f"page {number}"), bob="No such user")
    pages: list[int] = []
    whole = SqliteJobs.undelivered

    def undelivered(*arguments: Any) -> list[Job]:
        pages.append(len(found := whole(*arguments)))
        return found

    monkeypatch.setattr(SqliteJobs, "undelivered", undelivered)
    monkeypatch.setattr("mailslot.spool.spool._PAGE", 2)
    [mail] = await office.tell()
    assert pages == [2, 2, 1, 0]
    assert [mail.get_content().count(f"page {number}") for number in range(5)] == [1] * 5


async def test_a_job_that_fails_is_told_with_its_reason(office: Office) -> None:
    await office.add()
    job = await office.job()
    sentence = "The mail server refuses the sender address."
    await office.interrupt(job, partial(office.spool.fail, job.id, "sender_refused", sentence, "550 5.7.60 no"))
    [mail] = await office.tell()
    assert f"{BOB}: {sentence}" in mail.get_content()
    # A person has it sent again: that it fails once more is not news to them.
    await office.spool.retry(job.id)
    await office.interrupt(job, partial(office.spool.fail, job.id, "sender_refused", sentence, "550 5.7.60 no"))
    office.pass_time(INTERVAL)
    assert await office.tell() == []


async def test_mail_that_waits_for_long_is_told_once_and_its_failure_as_well(office: Office) -> None:
    await office.add()
    job = await office.job()
    later = office.device.now() + 3 * LATE_AFTER
    sentence = "The mail server mail.example.com cannot be reached."
    await office.interrupt(job, partial(office.spool.defer, job.id, later, "connection_refused", sentence))
    assert await office.tell() == []
    office.pass_time(LATE_AFTER + 1)
    [mail] = await office.tell()
    assert mail["Subject"] == "Mail from hall is still waiting"
    assert sentence in mail.get_content()
    office.pass_time(LATE_AFTER + 1)
    assert await office.tell() == []
    await office.interrupt(job, partial(office.spool.fail, job.id, "expired", "It could not be delivered.", ""))
    [mail] = await office.tell()
    assert mail["Subject"] == "Mail from hall was not delivered"


async def test_mail_that_is_sent_later_on_purpose_is_not_late_then(office: Office) -> None:
    await office.add()
    due_at = office.device.now() + 3 * LATE_AFTER
    job = await office.job(send_at=due_at, notes={DUE_NOTE: f"{due_at:.0f}"})
    office.pass_time(3 * LATE_AFTER + 60)
    later = office.device.now() + 2 * LATE_AFTER
    await office.interrupt(job, partial(office.spool.defer, job.id, later, "connection_refused", "No connection."))
    assert await office.tell() == []
    office.pass_time(LATE_AFTER)
    [mail] = await office.tell()
    assert mail["Subject"] == "Mail from hall is still waiting"


async def test_held_mail_is_told_only_through_another_account(office: Office) -> None:
    await office.add()
    job = await office.job()
    await office.interrupt(job, partial(office.spool.hold, job.id, "token_refused", "The token has ended."))
    office.pass_time(LATE_AFTER + 1)
    # It would be held as well.
    assert await office.tell() == []
    await office.change("alert-smtp", server="mail.example.com", sender_address="alerts@example.com")
    [mail] = await office.tell()
    assert mail["From"] == "Gateway <alerts@example.com>"
    assert (await office.notices())[0].via == "alert-smtp"


async def test_a_bounce_is_found_by_its_trace_and_told(office: Office) -> None:
    await office.add()
    # Some devices give each mail the same Message-ID.
    jobs = [await office.job(message_id="<1@copier>", notes={ENVELOPE_ID: f"trace-{number}"}) for number in range(3)]
    for job in jobs:
        await office.end(job)
    mail = await office.receive(bounce(trace="trace-1"))
    handled = await pipeline.handle(mail, office.device)
    assert handled == Done("a report about job 2: failed")
    states = [(await office.spool.job(job.id)).notes.get(CONFIRMATION_NOTE) for job in jobs]
    assert states == [None, "failed", None]
    [told] = await office.tell()
    assert "Job 2, " in told.get_content()
    assert "5.2.2: The mailbox is full." in told.get_content()


async def test_a_report_puts_no_words_of_a_stranger_into_the_mail(office: Office) -> None:
    await office.add()
    await office.end(await office.job(message_id="<1@copier>"))
    # Whoever has received a mail can write a report about it.
    forged = bounce().replace(
        "552 5.2.2 The mailbox is full", "550 5.1.1 Sign in at https://evil.example/ or call 0900"
    )
    await pipeline.handle(await office.receive(forged), office.device)
    [told] = await office.tell()
    text = told.get_content()
    assert f"{BOB}: A mail server reports that it could not be delivered." in text
    assert "5.1.1" in text
    assert "evil" not in text
    assert "0900" not in text


async def test_a_report_about_one_of_many_with_the_same_message_id(office: Office) -> None:
    await office.add()
    first, second, last = [await office.end(await office.job(to, message_id="<1@copier>")) for to in (BOB, BOB, CAROL)]
    for to in ("eve@example.com", BOB):
        await pipeline.handle(await office.receive(f"{bounce(to=to)}{to:>40}\n"), office.device)
    states = [(await office.spool.job(job.id)).notes.get(CONFIRMATION_NOTE) for job in (first, second, last)]
    assert states == [None, "failed", None], "Carol's was delivered"


async def test_a_clock_that_was_ahead_keeps_nobody_from_being_told(office: Office) -> None:
    await office.add()
    office.pass_time(10 * 365 * 86_400)
    await office.end(await office.job(), bob="No such user")
    assert len(await office.tell()) == 1
    office.pass_time(-10 * 365 * 86_400)
    await office.end(await office.job(subject="later"), bob="No such user")
    [told] = await office.tell()
    assert "later" in told.get_content()
    await office.end(await office.job(), bob="No such user")
    assert await office.tell() == []


async def test_a_list_of_jobs_that_was_made_anew_silences_nobody(office: Office) -> None:
    await office.add()
    await office.end(await office.job(), bob="No such user")
    assert len(await office.tell()) == 1
    # The jobs come back from their files, with their keys; the stores of the pipelines do not.
    await office.device.store("gateway").delete("notices")
    await office.end(await office.job(subject="later"), bob="No such user")
    [told] = await office.tell()
    assert "later" in told.get_content()


async def test_without_a_trace_the_message_id_counts(office: Office) -> None:
    await office.add()
    job = await office.end(await office.job(message_id="<1@copier>"))
    await pipeline.handle(await office.receive(bounce()), office.device)
    assert (await office.spool.job(job.id)).notes[CONFIRMATION_NOTE] == "failed"


async def test_nothing_is_told_about_a_mail_to_an_owner(office: Office) -> None:
    await office.add()
    await office.end(await office.job(), bob="No such user")
    [mail] = await office.tell()
    [notice] = await office.notices()
    await office.end(notice)
    # It bounces, or comes back to a mailbox that the gateway polls.
    handled = await pipeline.handle(
        await office.receive(bounce(message_id=mail["Message-ID"], to=OWNER)), office.device
    )
    assert handled == Done(f"a report about job {notice.id}: failed")
    assert isinstance(await pipeline.handle(await office.receive(mail.as_string()), office.device), SetAside)
    office.pass_time(INTERVAL)
    assert await office.tell() == []


async def test_mail_of_an_account_that_devices_fetch_from_is_left_to_them(office: Office) -> None:
    await office.add()
    job = await office.end(await office.job(notes={ENVELOPE_ID: "trace-1"}))
    await office.add("fax", via=BOX, notify=None)
    mail = await office.receive(bounce(trace="trace-1"))
    other = await office.receive("Subject: a fax\n\nhello\n")
    assert await pipeline.handle(mail, office.device) == WAITS_FOR_DEVICE
    assert await pipeline.handle(other, office.device) == WAITS_FOR_DEVICE
    assert (await office.spool.job(job.id)).notes[CONFIRMATION_NOTE] == "failed"
    await run_sync(remove_device, office.device.records, "fax")
    assert isinstance(await pipeline.handle(other, office.device), SetAside)


async def test_nothing_is_kept_of_other_mail_that_stays_in_its_mailbox(office: Office) -> None:
    """Strangers could fill the spool with it."""
    await office.change(BOX, after_fetch="keep")
    other = await office.receive("Subject: hello\n\nhello\n")
    assert isinstance(await pipeline.handle(other, office.device), Done)


@pytest.mark.parametrize(("via", "record"), [(BOX, BOX), ("fax.pop", "fax-pop")])
async def test_a_bounce_that_a_device_deletes_is_not_lost(office: Office, via: str, record: str) -> None:
    await office.add()
    job = await office.end(await office.job(notes={ENVELOPE_ID: "trace-1"}))
    await office.add("fax", via=via, notify=None)
    mail = await office.receive(bounce(trace="trace-1"), record)
    if record != BOX:
        await handle_waiting(office.device, record, pipeline)
        assert (await office.spool.ledger.mail(mail.id)).reason == WAITS_FOR_DEVICE.why
    gateway = await open_gateway(office.device)
    opened = await gateway.maildrops.open(record, "fax")
    assert opened is not None
    await opened.delete(opened.messages)
    assert (await office.spool.job(job.id)).notes[CONFIRMATION_NOTE] == "failed"


async def test_an_owner_is_told_through_another_account_once_the_first_is_removed(office: Office) -> None:
    await office.add()
    await office.end(await office.job(), bob="No such user")
    store = office.device.store("gateway")
    # What an interruption has left.
    due = ["notice-7", OWNER, "account.gone", [[1, "1 not delivered"]]]
    await store.put("notices", {"sent": [], "due": [due]})
    assert await office.tell() == []
    [mail] = await office.tell()
    assert mail["To"] == OWNER


class CutError(Exception):
    """The process ends here."""


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("cut", range(4))
async def test_an_interruption_neither_loses_nor_repeats_a_mail(
    office: Office, monkeypatch: pytest.MonkeyPatch, cut: int, after: bool
) -> None:
    await office.add()
    for number in range(3):
        await office.end(await office.job(subject=f"page {number}"), bob="No such user")
    steps: list[str] = []

    def cutting(name: str, whole: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        async def step(*args: object) -> object:
            steps.append(name)
            if len(steps) - 1 == cut and not after:
                raise CutError
            result = await whole(*args)
            if len(steps) - 1 == cut:
                raise CutError
            return result

        return step

    with monkeypatch.context() as patched:
        patched.setattr(Store, "put", cutting("put", Store.put))
        patched.setattr(Spool, "accept", cutting("accept", Spool.accept))
        patched.setattr(Spool, "annotate_all", cutting("annotate_all", Spool.annotate_all))
        with pytest.raises(CutError):
            await OwnerNotices(office.device).send_due()
    await office.end(await office.job(subject="meanwhile"), bob="No such user")
    await office.tell()
    office.pass_time(INTERVAL)
    await office.tell()
    texts = "".join([(await office.read(job)).get_content() for job in await office.notices()])
    assert [texts.count(f"    {subject}\r\n") for subject in ("page 0", "page 1", "page 2", "meanwhile")] == [1] * 4
    assert (steps[:4], len(await office.notices()) <= 2) == (["put", "accept", "annotate_all", "put"][: cut + 1], True)


async def test_it_looks_while_the_gateway_runs(office: Office) -> None:
    notices = OwnerNotices(office.device)
    await office.add()
    await office.end(await office.job(), bob="No such user")
    async with anyio.create_task_group() as group:
        group.start_soon(notices.run)
        with anyio.fail_after(60):
            while not await office.notices():  # noqa: ASYNC110 - the spool is asked
                await anyio.sleep(0.01)
        group.cancel_scope.cancel()
