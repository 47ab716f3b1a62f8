"""What an answer to a status request costs, counted, since a disk's speed is its own."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from alerts.devices import SETTINGS, run_device
from mailslot.service.handling import handle_waiting
from mailslot_plugins.status.pipeline import StatusPipeline, pipeline

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

STATUS = '[status]\nallowed_senders = ["@office.test"]\n'
MAILS = 5


async def test_the_syncs_and_threads_of_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Synced are the reply, its folder and its row; and that the request is done. Those at once share some of that."""
    run_sync, sync = anyio.to_thread.run_sync, os.fsync
    level, begun, costs = "FULL", "", {"files": 0, "commits": 0, "threads": 0}

    async def counted_run(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        costs["threads"] += 1
        return await run_sync(function, *arguments, **options)

    def counted_sync(descriptor: int) -> None:
        costs["files"] += 1
        sync(descriptor)

    def note(statement: str) -> None:
        nonlocal level, begun
        if statement.startswith("PRAGMA synchronous="):
            level = statement.partition("=")[2]
        elif statement.startswith("BEGIN"):
            begun = statement
        elif statement == "COMMIT" and begun == "BEGIN IMMEDIATE":
            costs["commits"] += level == "FULL"

    monkeypatch.setattr(StatusPipeline, "handles_at_once", 1)
    async with run_device(tmp_path / "home", SETTINGS + STATUS) as device:
        connection = device.spool._storage.database._connection
        assert connection is not None
        monkeypatch.setattr(os, "fsync", counted_sync)
        for module in list(sys.modules.values()):
            if getattr(module, "run_sync", None) is run_sync:
                monkeypatch.setattr(module, "run_sync", counted_run)
        spent: list[dict[str, int]] = []
        # The first answer reads what is read once.
        for number, count in enumerate((1, 1, 1 + MAILS)):
            for each in range(count):
                request = (
                    f"From: {each}@office.test\r\nSubject: status\r\nMessage-ID: <{number}.{each}@office.test>\r\n"
                )
                async with device.spool.ledger.receive("status-pop", f"{number}.{each}") as file:
                    await file.write(request.encode() + b"\r\n")
            connection.set_trace_callback(note)
            costs.update(files=0, commits=0, threads=0)
            handled = await handle_waiting(device, "status-pop", pipeline)
            connection.set_trace_callback(None)
            spent.append(costs.copy())
            assert all(each.outcome == "done" for each in handled)
        assert len(await device.spool.jobs()) == 3 + MAILS
    one, several = spent[1:]
    assert {what: (several[what] - one[what]) / MAILS for what in costs} == {"files": 2, "commits": 2, "threads": 11}
