"""What an answer to a status request costs, counted, since a disk's speed is its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from alerts.devices import SETTINGS, run_device
from costs import Commits, threads_counted
from mailslot.service.handling import handle_waiting
from mailslot_plugins.status.pipeline import StatusPipeline, pipeline

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

STATUS = '[status]\nallowed_senders = ["@office.test"]\n'
MAILS = 5


async def test_the_syncs_and_threads_of_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Synced are the reply, its folder and its row; and that the request is done. Those at once share some of that."""
    sync, commits, files = os.fsync, Commits(), 0

    def counted_sync(descriptor: int) -> None:
        nonlocal files
        files += 1
        sync(descriptor)

    monkeypatch.setattr(StatusPipeline, "handles_at_once", 1)
    async with run_device(tmp_path / "home", SETTINGS + STATUS) as device:
        connection = device.spool._storage.database._connection
        assert connection is not None
        monkeypatch.setattr(os, "fsync", counted_sync)
        spent: list[dict[str, int]] = []
        # The first answer reads what is read once.
        for number, count in enumerate((1, 1, 1 + MAILS)):
            for each in range(count):
                request = (
                    f"From: {each}@office.test\r\nSubject: status\r\nMessage-ID: <{number}.{each}@office.test>\r\n"
                )
                async with device.spool.ledger.receive("status-pop", f"{number}.{each}") as file:
                    await file.write(request.encode() + b"\r\n")
            connection.set_trace_callback(commits.note)
            commits.levels.clear()
            files = 0
            with threads_counted() as threads:
                handled = await handle_waiting(device, "status-pop", pipeline)
            connection.set_trace_callback(None)
            spent.append({"files": files, "commits": commits.levels.count("FULL"), "threads": threads.calls})
            assert all(each.outcome == "done" for each in handled)
        assert len(await device.spool.jobs()) == 3 + MAILS
    one, several = spent[1:]
    assert {what: (several[what] - one[what]) / MAILS for what in one} == {"files": 2, "commits": 2, "threads": 11}
