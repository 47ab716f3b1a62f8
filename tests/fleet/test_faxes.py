"""A worker puts no received fax where only its own machine has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio.to_thread import run_sync

from mailslot.fleet.homes import FleetHomes
from mailslot.fleet.opening import FleetPlaces
from mailslot.fleet.postgres.local_messages import LocalMessages
from mailslot.service.device import open_device
from mailslot.slots.records import Records
from mailslot_plugins.fax.destinations import DeliveryOutcome, ReceivedPages, deliver
from mailslot_plugins.fax.section import SECTION
from mailslot_plugins.printers.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

    from lab.postgres import Fleet
    from mailslot.fleet.postgres.home import PostgresHome


async def test_faxes_wait_for_a_folder_that_all_machines_have(fleet: Fleet, tmp_path: Path) -> None:
    places = FleetPlaces(fleet.folder, fleet.folder / "master.key")
    homes = FleetHomes(fleet.url, fleet.database, fleet.master, places)
    id_ = (await run_sync(fleet.add_device)).device
    pages, shared = tmp_path / "pages", tmp_path / "shared"
    for folder in (pages, shared):
        folder.mkdir()
    (pages / "fax.pdf").write_bytes(b"%PDF-1.7\n")
    fax = ReceivedPages("fax", pages, "Fax from Alice", "alice@example.com", automatic=False)

    async def outcome(home: PostgresHome, key: str) -> DeliveryOutcome:
        async with open_device(Records(home), [SECTION]) as device:
            return await deliver(device, fax, await Journal.load(device.spool.store("fax"), key), key)

    worker = homes.open(id_, LocalMessages(tmp_path / "messages"))
    waits = await outcome(worker, "1")
    assert "on one machine only" in waits.retry_reason
    assert not (worker.folder / "fax").exists()
    # The service of the device is on one machine.
    assert await outcome(homes.open(id_), "1") == DeliveryOutcome()
    assert len([*(worker.folder / "fax").iterdir()]) == 1
    await run_sync(Records(worker).settings.change_section, SECTION, {"deliver_to": f"folder {shared}"})
    assert await outcome(worker, "2") == DeliveryOutcome()
    assert len([*shared.iterdir()]) == 1
