"""The service and the panel work for a device in PostgreSQL as for one in a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest
from anyio.to_thread import run_sync

from mailslot.service.device import open_device
from mailslot.service.handling import handle_waiting
from mailslot.service.pipeline import Done
from mailslot.slots.records import Records
from mailslot_plugins.panel.security.keys import ApiKeys
from panel.running_panel import run_panel
from service.sending_device import received, run_sending_device

if TYPE_CHECKING:
    from lab.postgres import Fleet
    from mailslot.fleet.postgres.home import PostgresHome
    from mailslot.service.device import Device
    from mailslot.spool.incoming import Incoming

MAIL = b"From: a@example.com\r\nSubject: a page\r\n\r\nhello\r\n"


@pytest.fixture
def home(fleet: Fleet) -> PostgresHome:
    return fleet.add_device()


async def test_a_job_is_sent(home: PostgresHome) -> None:
    async with run_sending_device(home) as (device, sandbox):
        job = await device.accept()
        async with device.delivering():
            assert (await device.until(job, "sent", "failed")).state == "sent"
        assert len(received(sandbox)) == 1


async def test_a_pipeline_finds_the_mail_in_a_file(home: PostgresHome) -> None:
    seen: list[bytes] = []

    class Pipeline:
        name = "fax"

        async def handle(self, mail: Incoming, device: Device) -> Done:
            assert mail.path is not None
            seen.append(await anyio.Path(mail.path).read_bytes())
            return Done("read")

    async with open_device(Records(home)) as device:
        async with device.spool.ledger.receive("fax-pop", "u1") as file:
            await file.write(MAIL)
        pipeline: Any = Pipeline()
        [result] = await handle_waiting(device, "fax-pop", pipeline)
        assert result.subject == "a page"
        assert seen == [MAIL]
        assert result.mail.path is not None
        assert not await anyio.Path(result.mail.path).exists()


async def test_the_panel(home: PostgresHome) -> None:
    key = await run_sync(ApiKeys(home, lambda: 0.0).make, "test")
    await run_sync(Records(home).change, "smtp", {"server": "mail.example.com"}, {})
    async with run_panel(home) as panel:
        headers = {"authorization": f"Bearer {key.reveal()}"}
        async with httpx2.AsyncClient(base_url=panel.address, headers=headers, timeout=120, trust_env=False) as client:
            slots = (await client.get("/api/slots")).json()
            assert {each["slot"] for each in slots} >= {"network.smtp", "fax.pop"}
            assert (await client.get("/api/jobs")).json() == []
            page = await client.get("/sign-in", headers={"authorization": ""})
            assert page.status_code == 200
