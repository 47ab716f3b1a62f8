"""When a record is polled: at its interval, after failures, and after a change of settings."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot.service import poller
from mailslot.service.device import Device
from mailslot.service.pipeline import Later
from mailslot.service.poll_loop import PollLoop
from mailslot_plugins.sandbox import DOVECOT, GMAIL, Fault
from service.polling_device import RECORD, PollingDevice, run_polling_device
from service.sending_device import FastClocks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from mailslot.service.pipeline import Handled
    from mailslot.spool.incoming import Incoming

pytestmark = pytest.mark.virtual_time


@asynccontextmanager
async def polling(box: PollingDevice, speed: float = 1.0) -> AsyncIterator[None]:
    """Have a record polled beside the block, on clocks that are fast."""
    box.clocks = FastClocks(speed)
    old = box.device
    box.device = Device(old.records, old.connector, old.spool, clocks=box.clocks.clocks, speed=speed)
    failure: BaseException | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(PollLoop(box.device, RECORD, box.keeper).run)
        try:
            yield
        except BaseException as error:  # noqa: BLE001 - raised below, so that the task group does not wrap it
            failure = error
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def until(test: Callable[[], bool]) -> None:
    with anyio.fail_after(15):
        while not test():  # noqa: ASYNC110 - nothing tells of it
            await anyio.sleep(0.01)


async def test_it_polls_at_the_start_and_at_the_interval(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path, check_interval=1) as box, polling(box, speed=120):
        box.add("one")
        await until(lambda: box.keeper.subjects == ["one"])
        began, polls = box.clocks.monotonic(), len(box.sandbox.dialogues)
        box.add("two")
        await until(lambda: box.keeper.subjects == ["one", "two"])
        await until(lambda: len(box.sandbox.dialogues) >= polls + 4)
        assert box.clocks.monotonic() - began > 3 * 60 - 5


async def test_a_clock_change_does_not_change_the_interval(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path, check_interval=1) as box, polling(box, speed=120):
        await until(lambda: len(box.sandbox.dialogues) == 1)
        for seconds in (10 * 365 * 86_400, -20 * 365 * 86_400):
            polls, began = len(box.sandbox.dialogues), box.clocks.monotonic()
            box.clocks.set(seconds)
            await until(lambda polls=polls: len(box.sandbox.dialogues) >= polls + 2)
            assert 50 < box.clocks.monotonic() - began < 300


async def test_polling_on_request_only(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path, check_interval=0) as box:
        box.add("one")
        async with polling(box, speed=10_000):
            await anyio.sleep(0.3)
            assert box.sandbox.dialogues == []
            box.set(check_interval=1)
            assert await box.device.refresh()
            await until(lambda: box.keeper.subjects == ["one"])


async def test_postponed_mail_is_handled_without_a_poll(tmp_path: Path) -> None:
    asked: list[float] = []

    async def answer(mail: Incoming, subject: str) -> Handled:
        asked.append(box.clocks.monotonic())
        if len(asked) == 3:
            box.keeper.answer = None
        return Later(100, "The printer is off.")

    async with run_polling_device(tmp_path, check_interval=1440) as box:
        box.keeper.answer = answer
        box.add("one")
        async with polling(box, speed=400):
            await until(lambda: box.keeper.subjects == ["one"])
        assert len(box.sandbox.dialogues) == 1
        assert all(100 <= later - sooner < 200 for sooner, later in pairwise(asked))


async def test_a_temporary_failure_is_retried_soon(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path, check_interval=60) as box:
        box.sandbox.faults.append(Fault("greeting", replace=b"-ERR [SYS/TEMP] Busy\r\n", ending="close"))
        box.add("one")
        async with polling(box, speed=600):
            await until(lambda: len(box.sandbox.dialogues) == 4)
            box.sandbox.faults.clear()
            began = box.clocks.monotonic()
            await until(lambda: box.keeper.subjects == ["one"])
            assert box.clocks.monotonic() - began < 1500


async def test_the_servers_login_delay_exceeds_the_interval(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path, GMAIL, check_interval=1) as box, polling(box, speed=600):
        await until(lambda: len(box.sandbox.dialogues) == 1)
        began = box.clocks.monotonic()
        await until(lambda: len(box.sandbox.dialogues) == 3)
        assert box.clocks.monotonic() - began > 590


async def test_polling_waits_for_another_process(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path, replace(DOVECOT), check_interval=1) as box:
        box.add("one")
        async with box.device.spool.ledger.polling_lock(RECORD), polling(box, speed=60):
            await anyio.sleep(0.3)
            assert box.sandbox.dialogues == []
        async with polling(box, speed=60):
            await until(lambda: box.keeper.subjects == ["one"])


async def test_a_trickling_server_does_not_prolong_a_poll(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path) as box:
        box.add("one", size=5_000)
        box.sandbox.faults.append(Fault("RETR", split=True, pause=2.0))
        began = box.clocks.monotonic()
        report = await box.poll()
        assert (report.ok, report.retryable, report.cause, report.fetched) == (False, True, "connection_lost", 0)
        assert 600 < box.clocks.monotonic() - began < 700
        box.sandbox.faults.clear()
        await anyio.sleep(60)  # until the server has noticed
        assert (await box.poll()).fetched == 1
        assert box.maildrop.messages == []


async def test_a_slow_connection_is_no_error(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path) as box:
        box.add("one")
        box.sandbox.faults.append(Fault("RETR", split=True, pause=2.0))
        assert (await box.poll()).fetched == 1


async def test_a_header_without_end_does_not_keep_a_poll_going(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "MAX_MAIL_OCTETS", 50_000)
    monkeypatch.setattr(poller, "_MAX_HEADER_OCTETS", 100_000)
    async with run_polling_device(tmp_path) as box:
        box.add("enormous", size=60_000)
        box.add("small")
        endless = b"+OK\r\n" + b"X-Line: of a header\r\n" * 100_000
        box.sandbox.faults.append(Fault("TOP", replace=endless, connection=1))
        report = await box.poll()
        assert (report.ok, report.refused, report.fetched) == (True, 1, 1)
        assert box.verbs[0][-1] == "TOP"
        assert box.keeper.subjects == ["small"]
