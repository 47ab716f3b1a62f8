"""The service and the panel work for a device in PostgreSQL as for one in a folder."""

from __future__ import annotations

from email.message import EmailMessage
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest
from anyio.to_thread import run_sync

from command_line import mailslot
from mailslot.service.device import open_device
from mailslot.service.handling import handle_waiting
from mailslot.service.pipeline import Done
from mailslot.slots.records import Records
from mailslot.spool.spool import Spool
from mailslot_plugins.gateway.returned_mail import apply_if_report
from mailslot_plugins.panel.security.keys import ApiKeys
from panel.browser_client import BrowserClient, words
from panel.running_panel import run_panel
from service.sending_device import received, run_sending_device

if TYPE_CHECKING:
    from pathlib import Path

    from lab.postgres import Fleet
    from mailslot.fleet.postgres.home import PostgresHome
    from mailslot.service.device import Device
    from mailslot.spool.incoming import Incoming

PAGE = b"%PDF-1.4 a page"
REPORT = b"""From: Mail Delivery System <MAILER-DAEMON@mail.test>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mail.test

Final-Recipient: rfc822; bob@mail.test
Action: failed
Status: 5.2.2

--b--
"""
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


async def test_a_report_that_a_device_deletes_is_read(home: PostgresHome) -> None:
    """Nothing has put it into a file on this machine then."""
    async with open_device(Records(home)) as device:
        async with device.spool.ledger.receive("fax-pop", "u1") as file:
            await file.write(REPORT)
        [mail] = await device.spool.ledger.mails("fax-pop")
        assert await apply_if_report(mail, device) is not None


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


async def test_received_documents(home: PostgresHome, fleet: Fleet, tmp_path: Path) -> None:
    """They are opened and saved by the command, the page and the API, though no file of the mail is on this machine."""
    message = EmailMessage()
    message["From"], message["Subject"] = "alice@example.com", "Two pages"
    message.set_content("Only text.\n")
    message.add_attachment(PAGE, maintype="application", subtype="pdf", filename="page.pdf")
    async with Spool(home) as spool, spool.ledger.receive("fax-pop", "u1") as file:
        await file.write(message.as_bytes())
    address = f"{fleet.url}?device={home.device}"
    places = {"MAILSLOT_HOME": address, "MAILSLOT_MASTER_KEY": str(fleet.folder / "master.key")}
    environment = {**places, "XDG_DATA_HOME": str(tmp_path / "data")}
    for arguments in (("show", 1), ("save", 1, tmp_path), ("save", 1, tmp_path, "--mail")):
        ran = await run_sync(partial(mailslot, "received", *arguments, **environment))
        assert ran.returncode == 0, ran.stderr
        assert "page.pdf" in ran.stdout or "mail-1.eml" in ran.stdout
    assert (tmp_path / "page.pdf").read_bytes() == PAGE
    assert (tmp_path / "mail-1.eml").read_bytes() == message.as_bytes()
    key = await run_sync(partial(ApiKeys(home, lambda: 0.0).make, "test", documents=True))
    async with run_panel(home) as panel:
        headers = {"authorization": f"Bearer {key.reveal()}"}
        async with httpx2.AsyncClient(base_url=panel.address, headers=headers, timeout=120, trust_env=False) as client:
            [mail] = (await client.get("/api/received")).json()
            assert mail["subject"] == "Two pages"
            [document] = (await client.get("/api/received/1/documents")).json()
            assert (document["name"], document["size"]) == ("page.pdf", len(PAGE))
            assert (await client.get("/api/received/1/documents/1")).content == PAGE
            assert (await client.get("/api/received/1/message")).content == message.as_bytes()
        async with BrowserClient(panel.address) as client:
            await client.sign_in()
            assert "page.pdf" in words(await client.get("/received/1"))
            assert (await client.get("/received/1/documents/1")).content == PAGE
            assert (await client.get("/received/1/message")).content == message.as_bytes()
