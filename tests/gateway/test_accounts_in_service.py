"""Accounts that come and go while the service runs: their jobs are delivered, and their mail is fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot.service.metrics import metrics
from mailslot.service.service import Service
from mailslot.service.systemd import ServiceManager
from mailslot.service.worker import Worker
from mailslot.slots.accounts import add_account, find_account, remove_account
from service.polling_device import USER, RecordingPipeline, mail, pop_settings, run_polling_device
from service.sending_device import FastClocks, run_sending_device, sandbox_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.virtual_time


class AccountPipeline(RecordingPipeline):
    """A pipeline that handles the mail of all accounts."""

    polls_accounts = True


async def until(test: Callable[[], bool]) -> None:
    with anyio.fail_after(120):
        while not test():  # noqa: ASYNC110 - nothing tells of it
            await anyio.sleep(1)


async def test_a_job_is_sent_through_an_account_that_was_added_while_the_worker_ran(tmp_path: Path) -> None:
    async with run_sending_device(tmp_path, FastClocks(10)) as (box, sandbox):
        records = box.device.records
        async with box.delivering():
            early = await box.accept(via="account.office")
            assert (await box.until(await box.accept(), "sent")).state == "sent"
            assert (await box.job(early)).state == "queued"
            add_account(records, "office", "SMTP")
            records.change("account.office", sandbox_settings(sandbox), {})
            await box.device.refresh()
            assert (await box.until(early, "sent")).via == "account.office"
            await remove_account(records, find_account(records, "office"))
            await box.device.refresh()
            late = await box.accept(via="account.office")
            assert (await box.until(await box.accept(), "sent")).state == "sent"
            assert (await box.job(late)).state == "queued"
        # A worker that begins later knows the accounts from the start.
        add_account(records, "office", "SMTP")
        records.change("account.office", sandbox_settings(sandbox), {})
        await box.device.refresh()
        worker = Worker(box.device)
        await worker.deliver_due()
        assert (await box.job(late)).state == "sent"
        assert 'mailslot_jobs{pipeline="scan",state="sent"} 4' in await metrics(box.device)


async def test_the_mail_of_an_account_is_fetched_from_when_it_is_added_until_it_is_removed(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path) as box:
        pipeline, stop = AccountPipeline(polls=None), anyio.Event()  # type: ignore[arg-type]
        service = Service(box.device, [pipeline], ServiceManager())
        records = box.device.records
        async with anyio.create_task_group() as group:
            group.start_soon(service.run, stop.wait)
            box.sandbox.maildrops[USER].add(mail("one"))
            add_account(records, "inbox", "POP")
            settings = {**pop_settings(box.sandbox, tmp_path), "check_interval": 1}
            records.change("account.inbox", settings, {})
            await until(lambda: pipeline.subjects == ["one"])
            box.sandbox.maildrops[USER].add(mail("two"))
            await until(lambda: pipeline.subjects == ["one", "two"])
            assert 'mailslot_last_poll_ok{record="account.inbox",cause=""} 1' in await metrics(box.device)
            await remove_account(records, find_account(records, "inbox"))
            await until(lambda: "account.inbox" not in box.device.slots.accounts)
            await anyio.sleep(1)
            polls = len(box.sandbox.dialogues)
            box.sandbox.maildrops[USER].add(mail("three"))
            await anyio.sleep(130)
            assert len(box.sandbox.dialogues) == polls
            stop.set()
        assert pipeline.subjects == ["one", "two"]
