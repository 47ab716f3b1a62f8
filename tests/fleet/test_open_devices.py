"""A worker keeps devices open, and still notices what changes."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest
from anyio.to_thread import run_sync

from mailslot.fleet.open_devices import OpenDevices
from mailslot.fleet.postgres.configuration import ConfigurationCache
from mailslot.fleet.postgres.rows import DeviceRows
from mailslot.slots.records import Records
from mailslot.spool.job import NewJob
from mailslot.spool.spool import Spool
from service.polling_device import RECORD, RecordingPipeline
from service.sending_device import ALICE, SENDER
from spool.conftest import message

if TYPE_CHECKING:
    from fleet.tasks import TaskFleet
    from mailslot.fleet.postgres.home import PostgresHome


@pytest.fixture
def home(own: TaskFleet) -> PostgresHome:
    return own.add_device(own.new_tenant())


async def test_some_stay_open(own: TaskFleet, home: PostgresHome) -> None:
    tenant, found = home.device.tenant_name, list[str]()
    first, second = home.device.name, own.add_device(tenant).device.name

    def open_home(of: str, name: str) -> PostgresHome:
        found.append(name)
        return own.home(of, name)

    chances = [1.0, 1.0, 1.0, 0.0]
    async with aclosing(OpenDevices(open_home, 1, lambda: chances.pop(0))) as devices:
        async with (
            devices.lend(tenant, first) as one,
            devices.lend(tenant, second),
            devices.lend(tenant, first) as same,
        ):
            assert same is one
        assert found == [first, second]
        for _ in range(2):
            async with devices.lend(tenant, second):
                pass
        # The first time it was closed after its use, and the second time the other one.
        assert found == [first, second, second, second]
        async with devices.lend(tenant, second) as other:
            assert len(found) == 4
            assert other is not None
            other.is_gone = True
        async with devices.lend(tenant, second):
            assert len(found) == 5


async def test_a_change_is_seen_by_the_next_task(own: TaskFleet, home: PostgresHome) -> None:
    tenant, name = home.device.tenant_name, home.device.name
    async with aclosing(own.work(RecordingPipeline())) as work:
        for minutes in (10, 20):
            settings = {"server": "mail.example.com", "check_interval": minutes}
            await run_sync(Records(home).change, RECORD, settings, {})
            await work.wake(tenant, name, "", "plan")
            assert own.tasks(home)[RECORD, "poll"]["period"] == minutes * 60


async def test_a_device_that_was_added_again_is_another_one(own: TaskFleet, home: PostgresHome) -> None:
    tenant, name = home.device.tenant_name, home.device.name
    own.add_device(tenant)
    async with aclosing(own.work()) as work:
        for _ in range(2):
            current = own.home(tenant, name)
            async with Spool(current) as spool:
                job = await spool.accept(NewJob("scan", "smtp", SENDER, [ALICE], "a page", 86_400.0), message())
            own.make_due(current, "deliver")
            # The first one may come before the worker knows that the device is another one.
            for _ in range(2):
                await work.wake(tenant, name, "", "deliver")
            async with Spool(current) as spool:
                assert (await spool.job(job.id)).state == "held", "there is no server yet"
            await run_sync(own.registry.remove, tenant, name)
            await run_sync(own.registry.add, tenant, name, own.master)


def test_what_was_read_before_a_change_is_not_kept(own: TaskFleet, home: PostgresHome) -> None:
    kept = ConfigurationCache()
    with own.database.device_transaction(home.device, "read") as connection:
        assert kept.read(DeviceRows(connection, home.device)) is kept.fresh

    class ChangedMeanwhile(DeviceRows):
        def tuples(self, query: str, **values: object) -> Any:
            kept.doubt()
            return super().tuples(query, **values)

    with own.database.device_transaction(home.device, "read") as connection:
        kept.read(ChangedMeanwhile(connection, home.device))
    assert kept.fresh is None


def test_what_a_slow_thread_has_read_does_not_replace_what_is_newer(own: TaskFleet, home: PostgresHome) -> None:
    """Another process has changed it in between, so nobody here doubts it."""
    kept = ConfigurationCache()

    class Slow(DeviceRows):
        def tuples(self, query: str, **values: object) -> Any:
            found = super().tuples(query, **values)
            Records(home).change(RECORD, {"server": "mail.example.com"}, {})
            with own.database.device_transaction(home.device, "read") as connection:
                assert "mailslot.toml" in kept.read(DeviceRows(connection, home.device)).documents
            return found

    with own.database.device_transaction(home.device, "read") as connection:
        assert "mailslot.toml" not in kept.read(Slow(connection, home.device)).documents
    assert kept.fresh is not None
    assert "mailslot.toml" in kept.fresh.documents
