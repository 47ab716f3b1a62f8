"""What the delivery of a job costs, counted, since a disk's speed is its own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest

from service.sending_device import run_sending_device

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.virtual_time

JOBS = 10


async def test_the_threads_and_syncs_of_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file is read, it is in doubt, and replied, with the next one claimed: a thread each, two of them synced."""
    run_sync, threads = anyio.to_thread.run_sync, 0
    level, begun, syncs = "FULL", "", 0

    async def counted(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        nonlocal threads
        threads += 1
        return await run_sync(function, *arguments, **options)

    def note(statement: str) -> None:
        nonlocal level, begun, syncs
        if statement.startswith("PRAGMA synchronous="):
            level = statement.partition("=")[2]
        elif statement.startswith("BEGIN"):
            begun = statement
        elif statement == "COMMIT" and begun == "BEGIN IMMEDIATE":
            syncs += level == "FULL"

    async with run_sending_device(tmp_path) as (harness, sandbox):
        connection = harness.spool._storage.database._connection
        assert connection is not None
        spent: list[tuple[int, int]] = []
        for module in list(sys.modules.values()):
            if getattr(module, "run_sync", None) is run_sync:
                monkeypatch.setattr(module, "run_sync", counted)
        # The first delivery reads what is read once.
        for count in (1, 1, 1 + JOBS):
            for _ in range(count):
                await harness.accept()
            connection.set_trace_callback(note)
            threads = syncs = 0
            await harness.deliver_due()
            connection.set_trace_callback(None)
            spent.append((threads, syncs))
        assert len(sandbox.submissions) == 3 + JOBS
    _, (first_threads, first_syncs), (all_threads, all_syncs) = spent
    assert all_threads - first_threads == 3 * JOBS
    assert all_syncs - first_syncs == 2 * JOBS
