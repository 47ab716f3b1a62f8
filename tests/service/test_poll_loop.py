"""When a record is polled: at its interval, after failures, and after a change of settings."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot.service import mail_fetcher, poller
from mailslot.service.device import Device
from mailslot.service.pipeline import Later
from mailslot.service.poll_loop import PollLoop
from mailslot.service.poller import STORE
from mailslot.slots.records import Records
from mailslot_plugins.sandbox import DOVECOT, GMAIL, Fault
from mailslot_plugins.sandbox.demo_device import obtain_token
from service.polling_device import RECORD, USER, PollingDevice, run_polling_device
from service.sending_device import FastClocks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from mailslot.service.pipeline import Handled
    from mailslot.spool.incoming import Incoming

pytestmark = pytest.mark.virtual_time


@asynccontextmanager
async def polling(harness: PollingDevice, speed: float = 1.0) -> AsyncIterator[None]:
    """Have a record polled beside the block, on clocks that are fast."""
    harness.clocks = FastClocks(speed)
    old = harness.device
    harness.device = Device(old.records, old.connector, old.spool, clocks=harness.clocks.clocks, speed=speed)
    failure: BaseException | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(PollLoop(harness.device, RECORD, harness.keeper).run)
        try:
            yield
        except BaseException as error:  # noqa: BLE001 - raised below, so that the task group does not wrap it
            failure = error
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def until(test: Callable[[], bool]) -> None:
    with anyio.fail_after(60):
        while not test():  # noqa: ASYNC110 - nothing tells of it
            await anyio.sleep(0.05)


async def test_it_polls_at_the_start_and_at_the_interval(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path, check_interval=1) as harness, polling(harness, speed=120):
        harness.add("one")
        await until(lambda: harness.keeper.subjects == ["one"])
        began, polls = harness.clocks.monotonic(), len(harness.sandbox.dialogues)
        harness.add("two")
        await until(lambda: harness.keeper.subjects == ["one", "two"])
        await until(lambda: len(harness.sandbox.dialogues) >= polls + 4)
        assert harness.clocks.monotonic() - began > 3 * 60 - 5


async def test_a_clock_change_does_not_change_the_interval(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path, check_interval=1) as harness, polling(harness, speed=120):
        await until(lambda: len(harness.sandbox.dialogues) == 1)
        for seconds in (10 * 365 * 86_400, -20 * 365 * 86_400):
            polls, began = len(harness.sandbox.dialogues), harness.clocks.monotonic()
            harness.clocks.set(seconds)
            await until(lambda polls=polls: len(harness.sandbox.dialogues) >= polls + 2)
            assert 50 < harness.clocks.monotonic() - began < 300


async def test_polling_on_request_only(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path, check_interval=0) as harness:
        harness.add("one")
        async with polling(harness, speed=10_000):
            await anyio.sleep(0.3)
            assert harness.sandbox.dialogues == []
            harness.set(check_interval=1)
            assert await harness.device.refresh()
            await until(lambda: harness.keeper.subjects == ["one"])


async def test_an_interval_that_is_changed_during_a_poll(tmp_path: Path) -> None:
    async def answer(mail: Incoming, subject: str) -> Handled:
        harness.keeper.answer = None
        harness.set(check_interval=1)
        assert await harness.device.refresh()
        return Later(1e6, "Not now.")

    async with run_polling_device(tmp_path, check_interval=1440) as harness:
        harness.keeper.answer = answer
        harness.add("one")
        async with polling(harness, speed=400):
            await until(lambda: harness.keeper.answer is None)
            began = harness.clocks.monotonic()
            harness.add("two")
            await until(lambda: harness.keeper.subjects == ["two"])
            assert harness.clocks.monotonic() - began < 3600


async def test_a_token_that_another_process_obtains_starts_a_poll(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path, check_interval=1440) as harness:
        sandbox = harness.sandbox
        client = {"issuer": sandbox.issuer, "client_id": sandbox.provider.register("panel").id}
        scopes = f"{sandbox.personality.pop3.scope} offline_access"
        harness.set(token_source=None, scopes=scopes, **client)
        harness.add("one")
        async with polling(harness, speed=20):
            while not await harness.device.store(STORE).items():  # noqa: ASYNC110 - nothing tells of it
                await anyio.sleep(0.01)
            began = harness.clocks.monotonic()
            await obtain_token(Records(tmp_path), RECORD, USER)
            await until(lambda: harness.keeper.subjects == ["one"])
            assert harness.clocks.monotonic() - began < 3600


async def test_postponed_mail_is_handled_without_a_poll(tmp_path: Path) -> None:
    asked: list[float] = []

    async def answer(mail: Incoming, subject: str) -> Handled:
        asked.append(harness.clocks.monotonic())
        if len(asked) == 3:
            harness.keeper.answer = None
        return Later(100, "The printer is off.")

    async with run_polling_device(tmp_path, check_interval=1440) as harness:
        harness.keeper.answer = answer
        harness.add("one")
        async with polling(harness, speed=400):
            await until(lambda: harness.keeper.subjects == ["one"])
        assert len(harness.sandbox.dialogues) == 1
        assert all(100 <= later - sooner < 200 for sooner, later in pairwise(asked))


async def test_a_temporary_failure_is_retried_soon(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path, check_interval=60) as harness:
        harness.sandbox.faults.append(Fault("greeting", replace=b"-ERR [SYS/TEMP] Busy\r\n", ending="close"))
        harness.add("one")
        async with polling(harness, speed=600):
            await until(lambda: len(harness.sandbox.dialogues) == 4)
            harness.sandbox.faults.clear()
            began = harness.clocks.monotonic()
            await until(lambda: harness.keeper.subjects == ["one"])
            assert harness.clocks.monotonic() - began < 1500


async def test_the_servers_login_delay_exceeds_the_interval(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path, GMAIL, check_interval=1) as harness, polling(harness, speed=600):
        await until(lambda: len(harness.sandbox.dialogues) == 1)
        began = harness.clocks.monotonic()
        await until(lambda: len(harness.sandbox.dialogues) == 3)
        assert harness.clocks.monotonic() - began > 590


async def test_polling_waits_for_another_process(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path, replace(DOVECOT), check_interval=1) as harness:
        harness.add("one")
        async with harness.device.spool.ledger.polling_lock(RECORD), polling(harness, speed=60):
            await anyio.sleep(0.3)
            assert harness.sandbox.dialogues == []
        async with polling(harness, speed=60):
            await until(lambda: harness.keeper.subjects == ["one"])


async def test_a_trickling_server_does_not_prolong_a_poll(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path) as harness:
        harness.add("one", size=5_000)
        harness.sandbox.faults.append(Fault("RETR", split=True, pause=2.0))
        began = harness.clocks.monotonic()
        report = await harness.poll()
        assert (report.ok, report.retryable, report.cause, report.fetched) == (False, True, "connection_lost", 0)
        assert 600 < harness.clocks.monotonic() - began < 700
        harness.sandbox.faults.clear()
        await anyio.sleep(60)  # until the server has noticed
        assert (await harness.poll()).fetched == 1
        assert harness.maildrop.messages == []


async def test_a_trickling_list_does_not_prolong_a_poll(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "LISTING_TIMEOUT", 100.0)
    async with run_polling_device(tmp_path) as harness:
        for number in range(5):
            harness.add(f"mail {number}")
        harness.sandbox.faults.append(Fault("UIDL", split=True, pause=2.0))
        began = harness.clocks.monotonic()
        report = await harness.poll()
        assert (report.ok, report.retryable, report.cause, report.fetched) == (False, True, "connection_lost", 0)
        assert 100 <= harness.clocks.monotonic() - began < 200
        harness.sandbox.faults.clear()
        await anyio.sleep(60)  # until the server has noticed
        assert (await harness.poll()).fetched == 5


async def test_a_slow_connection_is_no_error(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path) as harness:
        harness.add("one")
        harness.sandbox.faults.append(Fault("RETR", split=True, pause=2.0))
        assert (await harness.poll()).fetched == 1


async def test_a_header_without_end_does_not_keep_a_poll_going(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "MAX_MAIL_OCTETS", 50_000)
    monkeypatch.setattr(mail_fetcher, "_MAX_HEADER_OCTETS", 100_000)
    async with run_polling_device(tmp_path) as harness:
        harness.add("enormous", size=60_000)
        harness.add("small")
        endless = b"+OK\r\n" + b"X-Line: of a header\r\n" * 100_000
        harness.sandbox.faults.append(Fault("TOP", replace=endless, connection=1))
        report = await harness.poll()
        assert (report.ok, report.refused, report.fetched) == (True, 1, 1)
        assert harness.verbs[0][-1] == "TOP"
        assert harness.keeper.subjects == ["small"]
