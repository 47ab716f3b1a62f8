"""A fax from one device to another, through Postfix and Dovecot, with its reports."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest
from PIL import Image

from command_line import mailslot
from fax.faxes import files_in, pages_of_pdf, same
from mailslot.service.device import Device, open_device
from mailslot.service.poller import poll_once
from mailslot.service.worker import Worker
from mailslot.slots.records import Records
from mailslot.spool.spool import Spool
from mailslot_plugins.fax.pipeline import pipeline
from mailslot_plugins.fax.received_pages import read_pages
from mailslot_plugins.fax.section import SECTION
from mailslot_plugins.intake.process import run_task

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from trustme import CA

    from lab.dovecot import Dovecot
    from lab.postfix import Postfix
    from lab.provider import Provider
    from mailslot.service.poll_report import PollReport
    from mailslot.spool.job import Job

DAEMON, ALICE = "daemon@example.test", "alice@example.test"


class Machines:
    """Two fax machines: one of daemon, which sends, and one of alice."""

    def __init__(self, folder: Path, servers: tuple[Postfix, Dovecot, Provider], ca: CA) -> None:
        self.folder = folder
        self.postfix, self.dovecot, self.provider = servers
        ca.cert_pem.write_to_path(folder / "ca.pem")
        for user in (DAEMON, ALICE):
            self.dovecot.empty(user)

    def home(self, user: str, **fax: object) -> Path:
        """Set a machine up."""
        home = self.folder / user
        records = Records(home)
        home.mkdir()
        (home / "token").write_text(self.provider.token(user))
        common = {
            "server": "localhost",
            "authentication": "oauth2",
            "token_source": f"file {home / 'token'}",
            "account": user,
            "ca_file": str(self.folder / "ca.pem"),
        }
        smtp = {**common, "port": self.postfix.submissions.port, "security": "tls", "sender_address": user}
        pop = {**common, "port": self.dovecot.pop3s.port, "security": "tls", "first_poll": "all"}
        records.change("smtp", smtp, {})
        records.change("fax-pop", pop, {})
        if fax:
            records.settings.change_section(SECTION, fax)
        return home

    async def arrive(self, user: str, number: int = 1) -> None:
        """Wait until so many mails are there."""
        with anyio.fail_after(120):
            while len(self.dovecot.messages(user)) < number:  # noqa: ASYNC110 - it is another process
                await anyio.sleep(0.02)


@pytest.fixture
def machines(tmp_path: Path, postfix: Postfix, dovecot: Dovecot, provider: Provider, ca: CA) -> Machines:
    return Machines(tmp_path, (postfix, dovecot, provider), ca)


async def fax_send(home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return await anyio.to_thread.run_sync(lambda: mailslot("--home", home, "fax", "send", *arguments))


async def poll(home: Path) -> PollReport:
    async with open_fax_machine(home) as device:
        report = await poll_once(device, "fax-pop", pipeline)
    assert report.cause is None, report.sentence
    return report


@asynccontextmanager
async def open_fax_machine(home: Path) -> AsyncGenerator[Device]:
    async with open_device(Records(home), [SECTION]) as device:
        yield device


async def job(home: Path, number: int = 1) -> Job:
    async with Spool(home) as spool:
        return await spool.job(number)


async def deliver(home: Path) -> None:
    async with open_fax_machine(home) as device:
        await Worker(device).deliver_due()


def document(folder: Path) -> Path:
    path = folder / "document.pdf"
    pages = [Image.new("L", (1240, 1754), 255) for _ in range(2)]
    for number, page in enumerate(pages):
        page.paste(0, (100, 200 + 300 * number, 900, 400 + 300 * number))
    pages[0].save(path, "PDF", resolution=150, save_all=True, append_images=pages[1:])
    return path


async def test_a_fax_and_its_report(machines: Machines, tmp_path: Path) -> None:
    sender = machines.home(DAEMON, header_line=False)
    receiver = machines.home(ALICE, allowed_senders=DAEMON, receipts=True)
    paper = document(tmp_path)
    ran = await fax_send(sender, paper, "--to", ALICE, "--confirm", "--wait")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("Sent: job 1, 'Fax from daemon@example.test (2 pages)'")
    rendered = tmp_path / "rendered"
    rendered.mkdir()
    request = {"paths": [str(paper)], "resolution": "fine", "coding": "MH", "header": "", "into": "fax.tif"}
    await run_task("fax", request, rendered)
    expected = [page.image for page in read_pages((rendered / "fax.tif").read_bytes())]

    await machines.arrive(ALICE)
    report = await poll(receiver)
    assert [each.handled.note for each in report.handled] == ["printed"]  # type: ignore[union-attr]
    [file] = files_in(receiver / "fax")
    found = pages_of_pdf(file)
    assert all(same(one, other) for one, other in zip(expected, found, strict=True))
    assert min(page.convert("L").getextrema()[0] for page in found) == 0

    # Postfix has reported that it was delivered; then the receipt comes.
    await machines.arrive(DAEMON)
    await poll(sender)
    sent = await job(sender)
    assert sent.notes["confirmation"] == "delivered"
    assert sent.notes[f"report of {ALICE}"].startswith("delivered: 2.0.0")
    await deliver(receiver)
    receipt = await job(receiver)
    assert receipt.state == "sent", receipt
    await machines.arrive(DAEMON, 1)
    with anyio.fail_after(120):
        while (await job(sender)).notes["confirmation"] != "processed":
            await poll(sender)
            await anyio.sleep(0.1)
    sent = await job(sender)
    assert "dispatched" in sent.notes[f"report of {ALICE}"]
    # Nothing more comes of it: the receipt is not answered, and no report of it is sent.
    assert (await poll(receiver)).fetched == 0
    # What the receipt says of the recipient is known from now on.
    ran = await fax_send(sender, paper, "--to", ALICE, "--wait")
    assert ran.returncode == 0, ran.stderr
    await machines.arrive(ALICE)
    assert b"image/tiff" in machines.dovecot.messages(ALICE)[-1]
    await poll(receiver)
    assert len(files_in(receiver / "fax")) == 2
    assert all(
        same(one, other)
        for file in files_in(receiver / "fax")
        for one, other in zip(expected, pages_of_pdf(file), strict=True)
    )
    async with open_fax_machine(sender) as device:
        assert (await device.store("fax").get(f"capable {ALICE}"))["coding"] == "MMR"


async def test_a_recipient_that_is_refused(machines: Machines, tmp_path: Path) -> None:
    sender = machines.home(DAEMON)
    ran = await fax_send(sender, document(tmp_path), "--to", "nobody@example.test", "--confirm", "--wait")
    assert ran.returncode == 1
    assert ran.stderr.startswith("Job 1: ")
    assert (await job(sender)).state == "failed"


async def test_the_history_of_a_fax_is_shown(machines: Machines, tmp_path: Path) -> None:
    sender = machines.home(DAEMON, confirmation=True)
    ran = await fax_send(sender, document(tmp_path), "--to", ALICE, "--wait")
    assert ran.returncode == 0, ran.stderr
    await machines.arrive(DAEMON)
    await poll(sender)
    shown = await anyio.to_thread.run_sync(lambda: mailslot("--home", sender, "jobs", "show", "1"))
    assert shown.returncode == 0, shown.stderr
    assert "Confirmation" in shown.stdout
    assert "delivered: 2.0.0" in shown.stdout
