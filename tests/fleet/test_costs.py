"""What the work for a device costs the database: counted, since times depend on the machine."""

from __future__ import annotations

from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from anyio.to_thread import run_sync

from fleet.test_transfer import make_device
from mailslot.fleet.transfer import import_folder
from mailslot.home.folder import FolderHome
from mailslot.slots.records import Records
from mailslot.spool.job import NewJob
from mailslot.spool.spool import Spool
from mailslot_plugins.sandbox import run_sandbox
from service.polling_device import RECORD, RecordingPipeline, pop_settings
from service.sending_device import ALICE, OPEN, SENDER, received, sandbox_settings, set_up
from spool.conftest import message

if TYPE_CHECKING:
    from pathlib import Path

    from fleet.tasks import TaskFleet
    from mailslot.fleet.device_work import DeviceWork
    from mailslot.fleet.postgres.home import PostgresHome


class Costs:
    """What was sent to the database.

    Attributes:
        trips: the messages for which an answer is awaited.
        transactions: the transactions by kind: those that read, and those that write.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.trips = 0
        self.transactions: Counter[str] = Counter()
        execute, many = psycopg.Cursor.execute, psycopg.Cursor.executemany

        def counted(cursor: Any, query: Any, *arguments: Any, **options: Any) -> Any:
            self.trips += 1
            text = query.decode() if isinstance(query, bytes) else str(query)
            if text.startswith("BEGIN"):
                self.transactions["read" if "READ ONLY" in text else "write"] += 1
            return execute(cursor, query, *arguments, **options)

        def counted_many(*arguments: Any, **options: Any) -> Any:
            self.trips += 1
            return many(*arguments, **options)

        patch.setattr(psycopg.Cursor, "execute", counted)
        patch.setattr(psycopg.Cursor, "executemany", counted_many)

    def since(self) -> tuple[int, int, int]:
        """Return the round trips, and the transactions that read and that write, since the last call."""
        found = self.trips, self.transactions["read"], self.transactions["write"]
        self.trips = 0
        self.transactions.clear()
        return found


@pytest.fixture
def costs(own: TaskFleet, monkeypatch: pytest.MonkeyPatch) -> Costs:
    # However slow the machine is, what was read a moment ago is still fresh.
    monkeypatch.setattr("mailslot.fleet.postgres.configuration.FRESH_FOR", 3600.0)
    monkeypatch.setattr("mailslot.fleet.breakers._BELIEVED_FOR", 3600.0)
    return Costs(monkeypatch)


@pytest.fixture
def home(own: TaskFleet) -> PostgresHome:
    return own.add_device(own.new_tenant())


async def wake(work: DeviceWork, home: PostgresHome, kind: str, record: str = "") -> None:
    await work.wake(home.device.tenant_name, home.device.name, record, kind)


async def test_cost_of_an_idle_poll(own: TaskFleet, home: PostgresHome, costs: Costs, tmp_path: Path) -> None:
    async with run_sandbox() as sandbox, aclosing(own.work(RecordingPipeline())) as work:
        settings = {**pop_settings(sandbox, tmp_path), "check_interval": 10}
        await run_sync(Records(home).change, RECORD, settings, {})
        await wake(work, home, "plan")
        found = []
        for _ in range(3):
            own.make_due(home, "poll")
            costs.since()
            await wake(work, home, "poll", RECORD)
            found.append(costs.since())
        assert len(sandbox.dialogues) == 3
        assert found[1] == found[2]
        trips, reads, writes = found[2]
        assert writes == 2, "one to begin, which takes the lease, and one to end"
        assert reads <= 3
        assert trips <= 21
        async with aclosing(own.work(RecordingPipeline())) as another:
            own.make_due(home, "poll")
            costs.since()
            await wake(another, home, "poll", RECORD)
        assert len(sandbox.dialogues) == 4
        assert costs.since()[0] <= trips + 8, "it looks up the device, whether the server is down, and its settings"


async def test_cost_of_a_delivery(own: TaskFleet, home: PostgresHome, costs: Costs) -> None:
    async with run_sandbox() as sandbox, aclosing(own.work()) as work:
        sandbox.personality = OPEN
        await run_sync(set_up, home, sandbox_settings(sandbox))
        for number in range(1, 4):
            async with Spool(home) as spool:
                costs.since()
                await spool.accept(NewJob("scan", "smtp", SENDER, [ALICE], "a page", 86_400.0), message())
                assert costs.since()[2] == 1, "the job, its message and the task"
            await wake(work, home, "deliver")
            assert len(received(sandbox)) == number
            found = costs.since()
        trips, reads, writes = found
        assert writes == 5, "one a state, and those that begin and end"
        assert reads <= 9
        assert trips <= 57


async def test_cost_of_an_import(own: TaskFleet, home: PostgresHome, costs: Costs, tmp_path: Path) -> None:
    await make_device(tmp_path)
    costs.since()
    await run_sync(import_folder, FolderHome(tmp_path), home, own.database)
    assert costs.since()[2] == 1, "all of it or nothing"
