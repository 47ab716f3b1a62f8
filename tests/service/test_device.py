"""What all tasks of a process share: the settings as they were read last."""

from __future__ import annotations

import math
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.lowlevel
import pytest
from anyio.to_thread import current_default_thread_limiter, run_sync

from mailslot.oauth.presets import preset
from mailslot.service.device import open_device
from mailslot.service.record_deliverer import RecordDeliverer
from mailslot.service.sending_accounts import SendingAccounts
from mailslot.service.server_limits import ServerLimits
from mailslot.slots import keys
from mailslot.slots.accounts import add_account
from mailslot.slots.keys import Key
from mailslot.slots.records import Records
from mailslot.slots.section import DEVICE, Section
from shortage import no_descriptors

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.slots.settings_file import CurrentSettings

pytestmark = pytest.mark.anyio


async def test_a_slow_refresh_does_not_undo_a_later_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service looks at the settings every two seconds, and the panel after each change."""
    records = Records(tmp_path)
    await run_sync(add_account, records, "first", "SMTP")
    async with open_device(records) as device, anyio.create_task_group() as group:
        await run_sync(add_account, records, "second", "SMTP")
        read = records.settings.current
        has_read, go_on = threading.Event(), threading.Event()

        def read_slowly() -> CurrentSettings:
            found = read()
            if not has_read.is_set():
                has_read.set()
                go_on.wait()
            return found

        monkeypatch.setattr(records.settings, "current", read_slowly)
        group.start_soon(device.refresh)
        await run_sync(has_read.wait)
        await run_sync(add_account, records, "third", "SMTP")
        group.start_soon(device.refresh)
        await anyio.wait_all_tasks_blocked()
        # Unless the second refresh waits for the first, it ends before it.
        while current_default_thread_limiter().borrowed_tokens > 1:
            await anyio.lowlevel.checkpoint()
        go_on.set()
        await anyio.wait_all_tasks_blocked()
        await device.refresh()
    assert {"account.second", "account.third"} <= device.slots.protocols.keys()


async def test_a_refresh_changes_all_at_one_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread changes nothing while tasks look at the settings, or ask for a section for the first time."""
    section = Section("telex", {"answerback": Key("a text", keys.text)})
    records = Records(tmp_path)
    async with open_device(records) as device, anyio.create_task_group() as group:
        await run_sync(add_account, records, "office", "SMTP")
        await run_sync(records.settings.change_section, DEVICE, {"name": "copier"})
        read = records.settings.section
        has_read, go_on = threading.Event(), threading.Event()

        def read_slowly(wanted: Section) -> dict[str, Any]:
            found = read(wanted)
            if wanted is DEVICE:
                has_read.set()
                go_on.wait(60)
            return found

        monkeypatch.setattr(records.settings, "section", read_slowly)
        group.start_soon(device.refresh)
        await run_sync(has_read.wait, 60)
        assert (device.identity.name, "account.office" in device.slots.protocols) == ("", False)
        assert device.settings(section) == {"answerback": None}
        go_on.set()
        await anyio.wait_all_tasks_blocked()
        await device.refresh()
        assert (device.identity.name, "account.office" in device.slots.protocols) == ("copier", True)


async def test_an_emptied_file_takes_nothing_away(tmp_path: Path) -> None:
    """An editor empties it before it writes it; a service that looked just then would refuse devices and drop mail."""
    records = Records(tmp_path)
    path = anyio.Path(records.settings.path)
    await run_sync(add_account, records, "office", "SMTP")
    async with open_device(records) as device:
        content = await path.read_text()
        await path.write_text("")
        assert not await device.refresh()
        await path.write_text("[")
        assert not await device.refresh()
        assert "account.office" in device.slots.protocols
        assert "account.office" in records.settings.current().records
        await path.write_text(f'{content}[device]\nname = "Copier"\n')
        assert await device.refresh()
        assert (device.identity.name, "account.office" in device.slots.protocols) == ("Copier", True)


async def test_settings_that_cannot_be_read_for_a_moment_are_read_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without another change of them."""
    records = Records(tmp_path)
    await run_sync(add_account, records, "first", "SMTP")
    async with open_device(records) as device:
        await run_sync(add_account, Records(tmp_path), "second", "SMTP")
        with no_descriptors():
            assert [await device.refresh() for _ in range(3)] == [False, False, False]
        assert caplog.text.count("The settings that were read before are kept") == 1
        assert await device.refresh()
        assert device.slots.find("account.second")
        assert not await device.refresh()


async def test_a_pause_ends_for_a_change_before_it(tmp_path: Path) -> None:
    """Whoever reads the settings, does something, and then waits for a change, may have missed it meanwhile."""
    records = Records(tmp_path)
    async with open_device(records) as device:
        seen = device.changes
        await run_sync(add_account, records, "office", "SMTP")
        assert await device.refresh()
        with anyio.fail_after(60):
            await device.pause(math.inf, seen=seen)
        with anyio.move_on_after(0) as scope:
            await device.pause(math.inf, seen=device.changes)
        assert scope.cancelled_caught


class SlowStore:
    """A store whose first answer is late."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.asked, self.go_on = anyio.Event(), anyio.Event()

    async def get(self, key: str, default: object = None) -> object:
        found = self.answer
        if not self.asked.is_set():
            self.asked.set()
            await self.go_on.wait()
        return found

    async def put(self, key: str, value: object) -> None:
        self.answer = value


async def test_a_limit_that_was_read_late_does_not_replace_a_newer_one(tmp_path: Path) -> None:
    store = SlowStore({"server": "mail.example.com", "size": 10})
    limits = ServerLimits(cast("Any", store), Records(tmp_path))
    async with anyio.create_task_group() as group:
        group.start_soon(limits.read, "smtp", "mail.example.com")
        await store.asked.wait()
        group.start_soon(limits.remember, "smtp", "mail.example.com", 20)
        await anyio.wait_all_tasks_blocked()
        store.go_on.set()
    assert limits.known("smtp", "mail.example.com") == 20
    assert store.answer == {"server": "mail.example.com", "size": 20}


async def test_records_that_begin_at_once_share_their_account() -> None:
    """What one of them sends counts for the other, and so do its connections."""
    accounts = SendingAccounts(cast("Any", store := SlowStore({})), lambda: 0.0)
    profile: Any = SimpleNamespace(
        provider=preset("microsoft365"),
        settings=SimpleNamespace(account="scanner@example.com"),
        endpoint=SimpleNamespace(host="smtp.example.com"),
    )
    found: list[object] = []

    async def ask() -> None:
        found.append(await accounts.account(profile))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await store.asked.wait()
        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        store.go_on.set()
    assert found[0] is found[1]


async def test_a_job_that_is_told_of_during_a_search_is_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was accepted just after the search for it, and would wait for a minute."""
    async with open_device(Records(tmp_path)) as device, device.spool.delivery_lock():
        deliverer = RecordDeliverer(device, "smtp", SendingAccounts(device.store("delivery"), device.now), Any)
        claim = device.spool.claim

        async def claim_too_early(*arguments: Any, **options: Any) -> object:
            found = await claim(*arguments, **options)
            deliverer.tell_due(1.0)
            return found

        monkeypatch.setattr(device.spool, "claim", claim_too_early)
        assert await deliverer._next_job() is None
        assert deliverer.due_at == 1.0
        monkeypatch.undo()
        assert await deliverer._next_job() is None
        assert deliverer.due_at is None
