"""``mailslot fax send`` on the command line, without a mail server."""

from __future__ import annotations

import email
import json
import os
import subprocess
import sys
from collections.abc import Callable
from email import policy
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from command_line import mailslot, no_service
from fax.faxes import SETTINGS
from mailslot.spool.spool import Spool
from mailslot_plugins.fax.received_pages import read_pages

if TYPE_CHECKING:
    from mailslot.spool.job import Job

Send = Callable[..., subprocess.CompletedProcess[str]]
PAGE = Path(__file__).parents[2] / "fixtures" / "scan" / "page.pdf"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    (home / "mailslot.toml").write_text(SETTINGS)
    return home


@pytest.fixture
def send(home: Path) -> Send:
    def run(*arguments: object, given: bytes = b"") -> subprocess.CompletedProcess[str]:
        return mailslot("--home", home, "fax", "send", *arguments, typed=given)

    return run


def spooled(home: Path) -> list[tuple[Job, bytes]]:
    async def read() -> list[tuple[Job, bytes]]:
        async with Spool(home) as spool:
            return [
                (job, b"".join([piece async for piece in spool.content(job).chunks()])) for job in await spool.jobs()
            ]

    return anyio.run(read)


def test_accepted(send: Send, home: Path) -> None:
    ran = send(PAGE, PAGE, "--to", "FAX=+1-202-7653000@gw.example, bob@example.com")
    assert (ran.returncode, ran.stderr) == (3, no_service(home))
    [(job, octets)] = spooled(home)
    assert ran.stdout == f"Accepted as job {job.id}, still to be delivered.\n"
    assert [each.address for each in job.recipients] == ["FAX=+12027653000@gw.example", "bob@example.com"]
    assert job.notes == {"pages": "2"}
    message = email.message_from_bytes(octets, policy=policy.default)
    assert message["Subject"] == "Fax from Copier (2 pages)"
    assert message["Disposition-Notification-To"] is None
    assert message["Date"] is not None
    [part] = message.iter_attachments()
    assert (part.get_content_type(), part.get_filename()) == ("image/tiff", "fax.tif")
    pages = list(read_pages(part.get_content()))
    assert [(page.image.width, page.y, page.is_facsimile) for page in pages] == [(1728, 196, True)] * 2


def test_confirmation(send: Send, home: Path) -> None:
    ran = send("-", "--to", "bob@example.com", "--confirm", "--subject", "Grüße", "--json", given=b"Plain text.\n")
    assert ran.returncode == 3, ran.stderr
    row = json.loads(ran.stdout)
    assert (row["pipeline"], row["subject"], row["notes"]["confirmation"]) == ("fax", "Grüße", "none yet")
    [(job, octets)] = spooled(home)
    assert job.notes["notify"] == "SUCCESS,FAILURE"
    assert len(job.notes["envelope_id"]) == 36
    assert b"\r\nDisposition-Notification-To: copier@example.test\r\n" in octets
    ran = send(PAGE, "--to", "bob@example.com", "--confirm")
    assert spooled(home)[0][0].notes["envelope_id"] != job.notes["envelope_id"]


def test_settings(send: Send, home: Path) -> None:
    text = f'{SETTINGS}\n[fax]\nresolution = "standard"\nconfirmation = "on"\nheader_line = "off"\nmax_pages = 1\n'
    (home / "mailslot.toml").write_text(text)
    assert send(PAGE, "--to", "bob@example.com").returncode == 3
    assert send(PAGE, "--to", "bob@example.com", "--no-confirm").returncode == 3
    (second, _), (first, octets) = spooled(home)
    assert ("notify" in first.notes, "notify" in second.notes) == (True, False)
    [part] = email.message_from_bytes(octets, policy=policy.default).iter_attachments()
    assert [page.y for page in read_pages(part.get_content())] == [98]
    ran = send(PAGE, PAGE, "--to", "bob@example.com")
    assert (ran.returncode, "more than 1 pages" in ran.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["PAGE"], 2, "--to"),
        (["--to", "a@example.com"], 2, "FILE"),
        (["PAGE", "--to", "bad, worse"], 2, "'worse'"),
        (["PAGE", "--to", "FAX=0123@gw.example"], 2, "begin with"),
        (["PAGE", "--to", " , "], 2, "has no recipients"),
        (["gone.pdf", "--to", "a@example.com"], 2, "'gone.pdf' does not exist"),
        (["/bin/true", "--to", "a@example.com"], 2, "Documents of this kind cannot be faxed. Nothing was sent."),
        (["PAGE", "--to", "a@example.com", "--subject", "a\nBcc: b@example.com"], 2, "line break"),
        (["PAGE", "--to", ",".join(f"a{n}@example.com" for n in range(101))], 2, "101 recipients, and at most 100"),
    ],
)
def test_bad_input(send: Send, home: Path, arguments: list[str], code: int, says: str) -> None:
    ran = send(*(PAGE if argument == "PAGE" else argument for argument in arguments))
    assert ran.returncode == code, ran.stderr
    assert says in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""
    assert spooled(home) == []


def test_wait_where_the_server_is_down(send: Send) -> None:
    ran = send(PAGE, "--to", "a@example.com", "--wait")
    assert ran.returncode == 3
    assert ran.stderr.startswith("Job 1 is deferred: ")


def test_not_configured(send: Send, home: Path) -> None:
    (home / "mailslot.toml").write_text("")
    ran = send(PAGE, "--to", "a@example.com")
    assert ran.returncode == 1
    assert ran.stderr.startswith("Nothing can be sent yet: server and sender_address of network.smtp are not set.")


def test_help_is_light() -> None:
    code = (
        "import sys; import mailslot_plugins.fax.command, mailslot_plugins.fax.pipeline;"
        "print(sorted({'PIL', 'pypdfium2', 'httpx2', 'trio', 'sqlite3'} & set(sys.modules)))"
    )
    # Measuring coverage loads sqlite3 by itself.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=900, check=True, env=plain
    )
    assert ran.stdout.strip() == "[]"
