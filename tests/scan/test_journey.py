"""A scan through the real servers: it arrives in the maildrop unchanged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from email import message_from_bytes, policy
from typing import TYPE_CHECKING

import anyio
import pytest

import command_line
from lab.process import wait_until
from mailslot.service.device import open_device
from mailslot.service.worker import Worker
from mailslot.slots.records import Records
from mailslot_plugins.scan.pipeline import pipeline
from mailslot_plugins.scan.section import SECTION
from scan.sample_documents import attached, pdf, pdf_pages, tiff

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage
    from pathlib import Path

    import trustme

    from lab.dovecot import Dovecot
    from lab.postfix import Postfix
    from lab.provider import Provider

DAEMON, ALICE = "daemon@example.test", "alice@example.test"


@pytest.fixture
def home(tmp_path: Path, ca: trustme.CA, provider: Provider, dovecot: Dovecot, postfix: Postfix) -> Path:
    """The home of a device that sends through Postfix with OAuth 2.0."""
    home = tmp_path / "office"
    home.mkdir()
    ca.cert_pem.write_to_path(home / "ca.pem")
    (home / "token").write_text(provider.token(DAEMON))
    settings = {
        "server": "localhost",
        "port": postfix.submission.port,
        "security": "starttls",
        "authentication": "oauth2",
        "account": DAEMON,
        "token_source": f"file {home / 'token'}",
        "ca_file": str(home / "ca.pem"),
    }
    Records(home).change("smtp", settings, {})
    dovecot.empty(ALICE)
    return home


def mailslot(home: Path, *arguments: object, given: bytes = b"") -> subprocess.CompletedProcess[str]:
    return command_line.mailslot("--home", home, *arguments, typed=given)


def arrived(dovecot: Dovecot, number: int) -> list[EmailMessage]:
    wait_until(lambda: len(dovecot.messages(ALICE)) >= number)
    return [message_from_bytes(octets, policy=policy.default) for octets in dovecot.messages(ALICE)]  # type: ignore[misc]


def test_files_and_waiting(home: Path, dovecot: Dovecot, tmp_path: Path) -> None:
    page, picture = pdf(tmp_path / "page.pdf", 3), tiff(tmp_path / "Bild Ü.tif", 2)
    ran = mailslot(
        home, "scan", page, picture, "--to", ALICE, "--from-user", "Bob <bob@example.test>", "--wait", "--json"
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    [row] = json.loads(ran.stdout)
    assert row["state"] == "sent"
    [mail] = arrived(dovecot, 1)
    assert attached(mail) == {"page.pdf": page.read_bytes(), "Bild Ü.tif": picture.read_bytes()}
    assert (mail["From"], mail["Reply-To"]) == (DAEMON, "Bob <bob@example.test>")


def test_a_scanner_to_a_maildrop(home: Path, dovecot: Dovecot, tmp_path: Path) -> None:
    ran = mailslot(home, "scan", "--device", "test", "--source", "adf", "--to", ALICE, "--wait")
    assert ran.returncode == 0, ran.stderr
    [mail] = arrived(dovecot, 1)
    [octets] = attached(mail).values()
    (tmp_path / "read.pdf").write_bytes(octets)
    assert pdf_pages(tmp_path / "read.pdf") == 10


def test_refused(home: Path) -> None:
    ran = mailslot(home, "scan", "-", "--to", "nobody@example.test", "--wait", given=b"text")
    assert ran.returncode == 1
    assert ran.stderr.startswith("Job 1: ")
    assert "Traceback" not in ran.stderr


def test_the_size_limit_comes_from_the_connection_test(
    home: Path, dovecot: Dovecot, postfix: Postfix, tmp_path: Path
) -> None:
    """Postfix accepts 1 MiB, which only its EHLO response says."""
    large = pdf(tmp_path / "large.pdf", 12, filler=100_000)
    assert mailslot(home, "scan", large, "--to", ALICE).returncode == 3
    assert mailslot(home, "test", "network.smtp").returncode == 0
    ran = mailslot(home, "scan", large, "--to", ALICE)
    assert ran.returncode == 1
    assert f"the mail server takes at most {postfix.size_limit / 1e6:.1f} MB. Nothing was sent" in ran.stderr
    ran = mailslot(home, "scan", large, "--to", ALICE, "--split", "--wait")
    assert ran.returncode == 0, ran.stderr
    parts = arrived(dovecot, 2)
    pages = 0
    for mail in parts:
        [octets] = attached(mail).values()
        (tmp_path / "part.pdf").write_bytes(octets)
        pages += pdf_pages(tmp_path / "part.pdf")
    assert pages == 12


def test_the_size_limit_comes_from_the_last_delivery(home: Path, postfix: Postfix, tmp_path: Path) -> None:
    assert mailslot(home, "scan", "-", "--to", ALICE, "--wait", given=b"text").returncode == 0
    ran = mailslot(home, "scan", pdf(tmp_path / "large.pdf", 12, filler=100_000), "--to", ALICE)
    assert ran.returncode == 1
    assert f"the mail server takes at most {postfix.size_limit / 1e6:.1f} MB" in ran.stderr


async def test_a_watched_folder_to_a_maildrop(home: Path, dovecot: Dovecot, tmp_path: Path) -> None:
    folder = tmp_path / "share"
    folder.mkdir()
    records = Records(home)
    records.settings.change_section(SECTION, {"folder": str(folder), "to": ALICE, "settle": 1})
    whole = pdf(tmp_path / "a.pdf", 2)
    async with open_device(records, [SECTION]) as device, anyio.create_task_group() as group:
        group.start_soon(pipeline.run, device)
        group.start_soon(Worker(device).run)
        shutil.copy(whole, folder / "a.pdf.part")
        (folder / "a.pdf.part").rename(folder / "a.pdf")
        with anyio.fail_after(120):
            while not dovecot.messages(ALICE):  # noqa: ASYNC110 - it is another process
                await anyio.sleep(0.05)
        group.cancel_scope.cancel()
    [mail] = arrived(dovecot, 1)
    assert attached(mail) == {"a.pdf": whole.read_bytes()}
    assert os.listdir(folder) == []  # noqa: PTH208 - of no loop's concern


def test_waiting_while_the_service_delivers(home: Path, dovecot: Dovecot) -> None:
    with serving(home):
        ran = mailslot(home, "scan", "-", "--to", ALICE, "--wait", given=b"text")
    assert ran.returncode == 0, ran.stderr
    assert len(arrived(dovecot, 1)) == 1


@contextmanager
def serving(home: Path) -> Iterator[None]:
    """Another process that holds the delivery lock and delivers."""
    code = (
        "import sys, anyio; from pathlib import Path; from mailslot.slots.records import Records;"
        "from mailslot.service.device import open_device; from mailslot.service.worker import Worker\n"
        "async def main():\n"
        "    async with open_device(Records(Path(sys.argv[1]))) as device: await Worker(device).run()\n"
        "anyio.run(main)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(home)]) as service:
        try:
            wait_until((home / "spool" / "delivery.lock").exists)
            yield
        finally:
            service.terminate()
