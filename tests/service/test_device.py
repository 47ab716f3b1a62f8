"""What all tasks of a process share: the settings as they were read last."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest
from anyio.to_thread import current_default_thread_limiter, run_sync

from mailslot.service.device import open_device
from mailslot.slots.accounts import add_account
from mailslot.slots.records import Records

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
