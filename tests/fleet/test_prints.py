"""A worker prints into no folder that only its own machine has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from anyio.to_thread import run_sync

from mailslot.errors import InputError
from mailslot.fleet.homes import FleetHomes
from mailslot.fleet.opening import FleetPlaces
from mailslot.fleet.postgres.local_messages import LocalMessages
from mailslot.service.device import open_device
from mailslot.slots.records import Records
from mailslot_plugins.fax.destinations import ReceivedPages, deliver
from mailslot_plugins.fax.section import SECTION as FAX
from mailslot_plugins.print.pipeline import pipeline
from mailslot_plugins.printers.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

    from lab.postgres import Fleet
    from mailslot.fleet.postgres.home import PostgresHome

ONE_MACHINE_ONLY = "The folder prints is on one machine only, and any worker of the fleet may print: "


async def test_what_is_printed_waits_for_a_folder_that_all_machines_have(fleet: Fleet, tmp_path: Path) -> None:
    places = FleetPlaces(fleet.folder, fleet.folder / "master.key")
    homes = FleetHomes(fleet.url, fleet.database, fleet.master, places)
    id_ = (await run_sync(fleet.add_device)).device
    worker, serving = homes.open(id_, LocalMessages(tmp_path / "messages")), homes.open(id_)
    change = Records(worker).settings.change_section
    await run_sync(change, pipeline.section, {"printer": "folder prints"})
    await run_sync(change, FAX, {"deliver_to": "printer folder prints"})

    async def is_ready(home: PostgresHome) -> bool:
        async with open_device(Records(home), [pipeline.section]) as device:
            return (await (await pipeline.printer(device)).check()).ready

    async def reason_to_wait(home: PostgresHome) -> str:
        fax = ReceivedPages("fax", tmp_path, "Fax from Alice", "alice@example.com", automatic=False)
        async with open_device(Records(home), [FAX]) as device:
            return (await deliver(device, fax, await Journal.load(device.spool.store("fax"), "1"), "1")).retry_reason

    with pytest.raises(InputError, match=f"^{ONE_MACHINE_ONLY}"):
        await is_ready(worker)
    assert (await reason_to_wait(worker)).startswith(ONE_MACHINE_ONLY)
    # The service of the device is on one machine.
    assert not await is_ready(serving)
    (serving.folder / "prints").mkdir(parents=True)
    assert await is_ready(serving)
    await run_sync(change, pipeline.section, {"printer": f"folder {tmp_path}"})
    assert await is_ready(worker)
