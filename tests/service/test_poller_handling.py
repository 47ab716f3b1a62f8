"""The results of handling a mail, and mails that a pipeline cannot handle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from mailslot.service.handling import handle_waiting, next_due
from mailslot.service.header_summary import summarize_header
from mailslot.service.log import describe_error
from mailslot.service.pipeline import Done, Later, SetAside
from mailslot.spool.errors import SpoolError, full_error
from mailslot.spool.ledger import Ledger
from service.polling_device import RECORD, run_polling_device
from shortage import no_descriptors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from mailslot.service.device import Device
    from mailslot.service.pipeline import Handled
    from mailslot.spool.incoming import Incoming

pytestmark = pytest.mark.virtual_time


class TooLargeError(ValueError):
    """What a plugin makes of it that memory is not enough for a mail."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.__cause__ = MemoryError()


async def stop_after(begun: anyio.Event, work: Callable[..., Awaitable[object]], *arguments: object) -> None:
    """Start something, and stop it as soon as an event is set."""
    async with anyio.create_task_group() as group:
        group.start_soon(work, *arguments)
        await begun.wait()
        group.cancel_scope.cancel()


@pytest.mark.parametrize("fault", [ValueError, MemoryError, TooLargeError])
async def test_a_mail_that_fails_is_set_aside_after_three_tries(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: type[Exception]
) -> None:
    tried = []

    async def answer(mail: Incoming, subject: str) -> Handled:
        tried.append(subject)
        if subject == "poison":
            raise fault("the password is hunter2")
        return Done()

    async with run_polling_device(tmp_path) as harness:
        harness.keeper.answer = answer
        harness.add("poison", "two")
        report = await harness.poll()
        assert [each.outcome for each in report.handled] == ["later", "done"]
        assert await handle_waiting(harness.device, RECORD, harness.keeper) == []
        for seconds in (61, 601):
            due = await next_due(harness.device, RECORD)
            assert due is not None
            assert seconds - 3 < due < seconds
            harness.clocks.set(seconds)
            [handling] = await handle_waiting(harness.device, RECORD, harness.keeper)
        assert handling.outcome == "set aside"
        assert f"It could not be handled in 3 attempts: {fault.__name__}, raised at" in handling.note
        assert tried == ["poison", "two", "poison", "poison"]
        assert "hunter2" not in caplog.text
        [mail] = await harness.device.spool.ledger.mails(states={"set_aside"})
        assert mail.path is not None
        assert b"poison" in mail.path.read_bytes()
        assert await next_due(harness.device, RECORD) is None
        harness.keeper.answer = None
        assert [each.outcome for each in (await harness.poll(again=True)).handled] == ["done"]


async def test_a_mail_that_finds_no_descriptors_is_not_at_fault(tmp_path: Path) -> None:
    async def answer(mail: Incoming, subject: str) -> Handled:
        with no_descriptors():
            assert mail.path is not None
            mail.path.read_bytes()
        return Done()

    async with run_polling_device(tmp_path) as harness:
        harness.keeper.answer = answer
        harness.add("one")
        await harness.poll()
        for _ in range(4):
            harness.clocks.set(301)
            [handling] = await handle_waiting(harness.device, RECORD, harness.keeper)
            assert (handling.outcome, handling.mail.tries) == ("later", 1)
        harness.keeper.answer = None
        harness.clocks.set(301)
        [handling] = await handle_waiting(harness.device, RECORD, harness.keeper)
        assert handling.outcome == "done"


async def test_a_clock_that_is_set_back_delays_no_mail(tmp_path: Path) -> None:
    """The loop that polls by hand only looks when the next mail is due."""

    async def answer(mail: Incoming, subject: str) -> Handled:
        return Later(30, "The printer is off.")

    async with run_polling_device(tmp_path) as harness:
        harness.keeper.answer = answer
        harness.add("one")
        await harness.poll()
        due = await next_due(harness.device, RECORD)
        assert due is not None
        assert 0 < due <= 30
        harness.clocks.set(-365 * 86_400)
        assert await next_due(harness.device, RECORD) == 0
        harness.keeper.answer = None
        [handling] = await handle_waiting(harness.device, RECORD, harness.keeper)
        assert handling.outcome == "done"


async def test_postponing_is_not_counted_as_an_attempt(tmp_path: Path) -> None:
    async def answer(mail: Incoming, subject: str) -> Handled:
        assert mail.tries == 1
        return Later(30, "The printer is off.")

    async with run_polling_device(tmp_path) as harness:
        harness.keeper.answer = answer
        harness.add("one")
        await harness.poll()
        for _ in range(5):
            harness.clocks.set(31)
            [handling] = await handle_waiting(harness.device, RECORD, harness.keeper)
            assert (handling.outcome, handling.note) == ("later", "The printer is off.")
        harness.keeper.answer = None
        harness.clocks.set(31)
        assert [each.outcome for each in await handle_waiting(harness.device, RECORD, harness.keeper)] == ["done"]


def noting(original: Callable[..., Any], noted: list[bool]) -> Callable[..., Any]:
    async def note(*arguments: Any, durable: bool) -> Any:
        noted.append(durable)
        return await original(*arguments, durable=durable)

    return note


async def test_which_attempts_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those after a mail that is out of the way do not: one that resets the machine is the first in the end."""
    waited: dict[str, list[bool]] = {"begin_handling": [], "count_fetch": []}
    for name, noted in waited.items():
        monkeypatch.setattr(Ledger, name, noting(getattr(Ledger, name), noted))
    answers = {"a": Done(), "b": Later(30, "No paper."), "c": SetAside("No pages."), "d": Done()}

    async def answer(mail: Incoming, subject: str) -> Handled:
        return answers[subject]

    async with run_polling_device(tmp_path) as harness:
        harness.keeper.answer = answer
        harness.add(*answers)
        report = await harness.poll()
        assert [each.outcome for each in report.handled] == ["done", "later", "set aside", "done"]
    assert waited == {"begin_handling": [True, False, True, False], "count_fetch": [True, False, False, False]}


async def test_a_full_disk_is_not_counted_as_an_attempt(tmp_path: Path) -> None:
    async def answer(mail: Incoming, subject: str) -> Handled:
        raise full_error("The disk is full.")

    async with run_polling_device(tmp_path) as harness:
        harness.keeper.answer = answer
        harness.add("one")
        await harness.poll()
        for _ in range(5):
            harness.clocks.set(301)
            [handling] = await handle_waiting(harness.device, RECORD, harness.keeper)
            assert (handling.outcome, handling.note) == ("later", "The disk is full.")


async def test_a_pipeline_sets_a_mail_aside(tmp_path: Path) -> None:
    async def answer(mail: Incoming, subject: str) -> Handled:
        return SetAside("It holds no pages.")

    async with run_polling_device(tmp_path) as harness:
        harness.keeper.answer = answer
        harness.add("one")
        report = await harness.poll()
        assert [(each.outcome, each.note) for each in report.handled] == [("set aside", "It holds no pages.")]
        assert harness.maildrop.messages == []


async def test_a_stop_during_a_mail_is_not_counted_as_an_attempt(tmp_path: Path) -> None:
    begun = anyio.Event()

    async def answer(mail: Incoming, subject: str) -> Handled:
        begun.set()
        await anyio.sleep_forever()
        raise AssertionError

    async with run_polling_device(tmp_path) as harness:
        harness.keeper.answer = answer
        harness.add("one")
        for _ in range(4):
            begun = anyio.Event()
            await stop_after(begun, harness.poll)
        [mail] = await harness.device.spool.ledger.mails()
        assert (mail.state, mail.tries) == ("fetched", 0)
        harness.keeper.answer = None
        await harness.poll()
        assert harness.keeper.subjects == ["one"]


async def test_a_mail_that_ends_the_process_is_set_aside(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path) as harness:
        harness.add("one")
        harness.keeper.answer = _stop
        await harness.poll()
        [mail] = await harness.device.spool.ledger.mails()
        for _ in range(3):
            await harness.device.spool.ledger.begin_handling(mail.id)
        harness.keeper.answer = None
        harness.clocks.set(31)
        [handling] = await handle_waiting(harness.device, RECORD, harness.keeper)
        assert (handling.outcome, handling.note) == ("set aside", "Handling it was interrupted 3 times.")
        assert harness.keeper.subjects == []


@pytest.mark.parametrize("fails", [False, True])
async def test_what_a_mail_had_begun_is_undone_before_it_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, fails: bool
) -> None:
    states: list[str] = []

    async def answer(mail: Incoming, subject: str) -> Handled:
        raise ValueError

    async with run_polling_device(tmp_path) as harness:

        async def abandon(mail: Incoming, device: Device) -> None:
            states.append((await device.spool.ledger.mail(mail.id)).state)
            if fails:
                raise ValueError("the password is hunter2")

        harness.keeper.abandon = abandon
        harness.keeper.answer = answer
        harness.add("one")
        await harness.poll()
        for seconds in (61, 601):
            harness.clocks.set(seconds)
            [handling] = await handle_waiting(harness.device, RECORD, harness.keeper)
            assert states == ([] if seconds == 61 else ["fetched"])
        assert handling.outcome == "set aside"
    assert ("could not be undone: ValueError, raised at" in caplog.text) is fails
    assert "hunter2" not in caplog.text


async def test_a_stop_while_a_mail_is_undone_is_not_counted_as_an_attempt(tmp_path: Path) -> None:
    """At the next start it is set aside for what was wrong with it, not for having been interrupted."""
    begun = anyio.Event()

    async def answer(mail: Incoming, subject: str) -> Handled:
        raise ValueError

    async def abandon(mail: Incoming, device: Device) -> None:
        begun.set()
        await anyio.sleep_forever()

    async with run_polling_device(tmp_path) as harness:
        harness.keeper.answer = answer
        harness.add("one")
        await harness.poll()
        harness.clocks.set(61)
        await handle_waiting(harness.device, RECORD, harness.keeper)
        harness.keeper.abandon = abandon
        harness.clocks.set(662)
        for _ in range(2):
            begun = anyio.Event()
            await stop_after(begun, handle_waiting, harness.device, RECORD, harness.keeper)
            [mail] = await harness.device.spool.ledger.mails()
            assert (mail.state, mail.tries) == ("fetched", 2)
        harness.keeper.abandon = None
        [handling] = await handle_waiting(harness.device, RECORD, harness.keeper)
        assert handling.outcome == "set aside"
        assert handling.note.startswith("It could not be handled in 3 attempts: ValueError")


async def test_a_stop_while_an_interrupted_mail_is_undone_is_not_counted_either(tmp_path: Path) -> None:
    """However often the device is stopped meanwhile, its printer is not left with a job."""
    begun = anyio.Event()
    stopped = 0

    async def abandon(mail: Incoming, device: Device) -> None:
        begun.set()
        if stopped < 4:
            await anyio.sleep_forever()

    async with run_polling_device(tmp_path) as harness:
        harness.add("one")
        harness.keeper.answer = _stop
        harness.keeper.abandon = abandon
        await harness.poll()
        [mail] = await harness.device.spool.ledger.mails()
        for _ in range(3):
            await harness.device.spool.ledger.begin_handling(mail.id)
        harness.clocks.set(31)
        for _ in range(4):
            begun = anyio.Event()
            await stop_after(begun, handle_waiting, harness.device, RECORD, harness.keeper)
            stopped += 1
            [mail] = await harness.device.spool.ledger.mails()
            assert (mail.state, mail.tries) == ("fetched", 3)
        begun = anyio.Event()
        [handling] = await handle_waiting(harness.device, RECORD, harness.keeper)
        assert begun.is_set()
        assert (handling.outcome, handling.note) == ("set aside", "Handling it was interrupted 3 times.")


@pytest.mark.parametrize(("interruptions", "asked"), [(3, 1), (5, 1), (6, 0)])
async def test_undoing_is_not_tried_for_ever(tmp_path: Path, interruptions: int, asked: int) -> None:
    """A pipeline that ends the process here, too, must not keep other mail waiting."""
    undone = []

    async def abandon(mail: Incoming, device: Device) -> None:
        undone.append(mail.id)

    async with run_polling_device(tmp_path) as harness:
        harness.add("one")
        harness.keeper.answer = _stop
        harness.keeper.abandon = abandon
        await harness.poll()
        [mail] = await harness.device.spool.ledger.mails()
        for _ in range(interruptions):
            await harness.device.spool.ledger.begin_handling(mail.id)
        harness.clocks.set(31)
        [handling] = await handle_waiting(harness.device, RECORD, harness.keeper)
    assert handling.note == "Handling it was interrupted 3 times."
    assert len(undone) == asked


async def _stop(mail: Incoming, subject: str) -> Handled:
    return Later(30, "Not now.")


async def test_mails_that_are_handled_at_once(tmp_path: Path) -> None:
    """As many as the pipeline says, and no more; the others follow as soon as one of them has ended."""
    running: set[str] = set()
    seen: list[set[str]] = []
    all_run, go_on = anyio.Event(), anyio.Event()

    async def answer(mail: Incoming, subject: str) -> Handled:
        running.add(subject)
        seen.append(set(running))
        if len(running) == 3:
            all_run.set()
        await go_on.wait()
        running.remove(subject)
        return Done(subject)

    async with run_polling_device(tmp_path) as harness:
        harness.keeper.answer = answer
        harness.keeper.handles_at_once = 3
        harness.add("a", "b", "c", "d", "e")
        async with anyio.create_task_group() as group:

            async def let_them_go_on() -> None:
                with anyio.fail_after(600):
                    await all_run.wait()
                await anyio.wait_all_tasks_blocked()
                go_on.set()

            group.start_soon(let_them_go_on)
            report = await harness.poll()
        assert sorted(each.note for each in report.handled) == ["a", "b", "c", "d", "e"]
        assert max(map(len, seen)) == 3
        assert {mail.state for mail in await harness.device.spool.ledger.mails()} == {"done"}


async def test_a_mail_whose_handling_has_broken_off_is_handled_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have ended the process, and mails that are handled meanwhile would be blamed for that.

    The disk must know of the attempt, or a mail that makes the machine fail would be tried for ever.
    """
    done_before: dict[str, int] = {}
    durable: list[bool] = []
    begin = Ledger.begin_handling

    async def noted(ledger: Ledger, mail_id: int, **options: bool) -> Incoming:
        durable.append(options["durable"])
        return await begin(ledger, mail_id, **options)

    async def answer(mail: Incoming, subject: str) -> Handled:
        done_before[subject] = len(await harness.device.spool.ledger.mails(states={"done"}))
        return Done()

    async with run_polling_device(tmp_path) as harness:
        harness.keeper.answer = _stop
        harness.add("a", "b", "c", "d")
        await harness.poll()
        for mail in (await harness.device.spool.ledger.mails())[-2:]:
            await harness.device.spool.ledger.begin_handling(mail.id)
        harness.clocks.set(31)
        harness.keeper.answer = answer
        harness.keeper.handles_at_once = 4
        monkeypatch.setattr(Ledger, "begin_handling", noted)
        await handle_waiting(harness.device, RECORD, harness.keeper)
    assert (done_before["a"], done_before["b"]) == (2, 3)
    assert durable[-2:] == [True, False]


async def test_a_result_that_cannot_be_stored_ends_what_is_handled_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has begun may have had its effect, so it ends; nothing else begins, and no group of errors is raised."""
    begun, failed = anyio.Event(), anyio.Event()
    seen: list[str] = []
    mark_done = Ledger.mark_done

    async def answer(mail: Incoming, subject: str) -> Handled:
        seen.append(subject)
        if subject == "full":
            await begun.wait()
            return Done(subject)
        begun.set()
        await failed.wait()
        await anyio.wait_all_tasks_blocked()
        return Done(subject)

    async def fail(ledger: Ledger, mail_id: int, note: str) -> Incoming:
        if note == "full":
            failed.set()
            raise full_error("The disk is full.")
        return await mark_done(ledger, mail_id, note)

    async with run_polling_device(tmp_path) as harness:
        harness.keeper.answer = _stop
        harness.add("full", "other", "next")
        await harness.poll()
        harness.clocks.set(31)
        harness.keeper.answer = answer
        harness.keeper.handles_at_once = 2
        monkeypatch.setattr(Ledger, "mark_done", fail)
        with pytest.raises(SpoolError, match="The disk is full"):
            await handle_waiting(harness.device, RECORD, harness.keeper)
        mails = await harness.device.spool.ledger.mails()
        assert [(mail.state, mail.tries) for mail in sorted(mails, key=lambda mail: mail.id)] == [
            ("fetched", 1),
            ("done", 1),
            ("fetched", 0),
        ]
        assert sorted(seen) == ["full", "other"]


@pytest.mark.parametrize(
    ("octets", "sender", "subject"),
    [
        (
            b"From: =?utf-8?q?J=C3=B6rg?= <j@example.com>\r\nSubject: a\r\n b\r\n\r\nSubject: c",
            "Jörg <j@example.com>",
            "a b",
        ),
        (b"Subject: " + b"x" * 100_000, "", "x" * 119 + "…"),
        (b"Subject: =?utf-9?q?a?=\x1b[31m\r\n", "", "=?utf-9?q?a?= [31m"),
        (b"\xff\xfe\x00", "", ""),
        (b"", "", ""),
        ("Subject: Übersicht\r\n\r\n".encode(), "", "Übersicht"),
        ("Subject: Übersicht\r\n\r\n".encode("latin-1"), "", "Übersicht"),
        ("Subject: für =?utf-8?Q?M=C3=A4rz?=\r\n\r\n".encode("latin-1"), "", "für März"),
        (
            b"Subject: =?utf-8?Q?M=C3?=\r\n =?utf-8?Q?=A4rz?= =?no?Q?x?=\r\n\r\n",
            "",
            "=?utf-8?Q?M=C3?= =?utf-8?Q?=A4rz?= =?no?Q?x?=",
        ),
    ],
)
def test_any_header_has_a_summary(octets: bytes, sender: str, subject: str) -> None:
    found = summarize_header(octets)
    assert (found.sender, found.subject) == (sender, subject)


@pytest.mark.parametrize(
    "date", ["", "yesterday", "Tue, 99 Nov 2026 10:00:00 +0000", "Tue, 24 Nov 99999 10:00:00 +0000", "\x00", "1" * 5000]
)
def test_an_invalid_date(date: str) -> None:
    assert summarize_header(f"Date: {date}\r\n\r\n".encode()).received_at is None


def test_the_log_of_a_foreign_error() -> None:
    with pytest.raises(KeyError) as caught:
        raise KeyError("secret-token")
    description = describe_error(caught.value)
    assert description.startswith("KeyError, raised at test_poller_handling.py:")
    assert "secret-token" not in description
    assert describe_error(FileNotFoundError(2, "No such file", "/secret")) == "FileNotFoundError: No such file"
