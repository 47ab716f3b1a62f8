"""``mailslot scan`` on the command line, without a mail server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO, TextIOWrapper
from typing import TYPE_CHECKING

import anyio
import pytest

from command_line import mailslot, no_service
from mailslot.cli import main
from mailslot.slots.records import Records
from mailslot.spool.spool import Spool
from scan.sample_documents import ACCOUNT, pdf

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.spool.job import Job

Scan = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def scan(home: Path) -> Scan:
    def run(*arguments: object, given: bytes = b"") -> subprocess.CompletedProcess[str]:
        return mailslot("--home", home, "scan", *arguments, typed=given)

    return run


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return pdf(tmp_path / "page.pdf", 1)


def jobs(home: Path) -> list[Job]:
    async def read() -> list[Job]:
        async with Spool(home) as spool:
            return await spool.jobs()

    return anyio.run(read)


def message(home: Path) -> bytes:
    async def read() -> bytes:
        async with Spool(home) as spool:
            [job] = await spool.jobs()
            return b"".join([piece async for piece in spool.content(job).chunks()])

    return anyio.run(read)


def test_accepted(scan: Scan, page: Path, home: Path) -> None:
    ran = scan(
        page, "--to", "alice@example.com, bob@example.com", "--cc", "carol@example.com", "--from-user", "u@example.com"
    )
    assert (ran.returncode, ran.stderr) == (3, no_service(home))
    [job] = jobs(home)
    assert ran.stdout == f"Accepted as job {job.id}, still to be delivered.\n"
    assert job.state == "queued"
    assert [each.address for each in job.recipients] == [f"{name}@example.com" for name in ("alice", "bob", "carol")]
    assert b"Reply-To: u@example.com" in message(home)
    assert f"From: {ACCOUNT}".encode() in message(home)


def test_json(scan: Scan, page: Path, home: Path) -> None:
    ran = scan(page, "--to", "alice@example.com", "--json", "--subject", "Ü {counter}")
    assert (ran.returncode, ran.stderr) == (3, no_service(home))
    [row] = json.loads(ran.stdout)
    expected = {"pipeline": "scan", "state": "queued", "subject": "Ü 1", "recipients": ["alice@example.com"]}
    assert {key: row[key] for key in expected} == expected
    assert row.keys() >= {"id", "cause", "attempts", "next_attempt"}


def test_wait_where_the_server_is_down(scan: Scan, page: Path, home: Path) -> None:
    ran = scan(page, "--to", "alice@example.com", "--wait")
    assert ran.returncode == 3
    assert ran.stderr.startswith("Job 1 is deferred: ")
    assert ran.stdout == ""
    [job] = jobs(home)
    assert (job.state, job.cause, job.attempts) == ("deferred", "connection_refused", 1)


def test_standard_input(scan: Scan, home: Path, page: Path) -> None:
    assert scan("-", "--to", "alice@example.com", given=page.read_bytes()).returncode == 3
    assert b'filename="scan.pdf"' in message(home)
    assert b"application/pdf" in message(home)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["PAGE"], 2, "--to"),
        (["--to", "a@example.com"], 2, "FILE"),
        (["PAGE", "--to", "bad, a@example.com", "--cc", "worse"], 2, "'bad'"),
        (["PAGE", "--to", " , "], 2, "has no recipients"),
        (["PAGE", "--to", "a@example.com", "--from-user", "me"], 2, "me"),
        (["PAGE", "--to", "a@example.com", "--subject", "{devise}"], 2, "{devise} is not known"),
        (["PAGE", "--to", "a@example.com", "--subject", "a\nBcc: b@example.com"], 2, "line break"),
        (["PAGE", "--to", "a@example.com", "--name", "../../x"], 2, "slash"),
        (["gone.pdf", "PAGE", "also-gone.pdf", "--to", "a@example.com"], 2, "'also-gone.pdf' does not exist"),
        (["/", "--to", "a@example.com"], 2, "is a folder"),
        (["/dev/zero", "--to", "a@example.com"], 2, "is not a file"),
        (["-", "--to", "a@example.com"], 2, "Standard input is empty"),
        (["-", "-", "--to", "a@example.com"], 2, "only once"),
        (["PAGE", "--to", "a@example.com", "--resolution", "0"], 2, "resolution"),
        (["PAGE", "--to", "a@example.com", "--format", "gif"], 2, "format"),
        (["PAGE", "--to", ",".join(f"a{n}@example.com" for n in range(101))], 2, "101 recipients, and at most 100"),
    ],
)
def test_bad_input(
    page: Path,
    home: Path,
    arguments: list[str],
    code: int,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [str(page) if argument == "PAGE" else argument for argument in arguments]
    monkeypatch.setattr(sys, "argv", ["mailslot", "--home", str(home), "scan", *given])
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO()))
    with pytest.raises(SystemExit) as ended:
        main()
    result = capsys.readouterr()
    assert ended.value.code == code
    assert says in result.err
    assert "Traceback" not in result.err
    assert result.out == ""
    assert jobs(home) == []


def test_bad_to_and_cc_are_named_together(scan: Scan, page: Path) -> None:
    result = scan(page, "--to", "bad", "--cc", "worse").stderr
    assert "'bad'" in result
    assert "'worse'" in result


def test_not_configured(scan: Scan, page: Path, home: Path) -> None:
    Records(home).change("smtp", {"server": None, "sender_address": None}, {})
    ran = scan(page, "--to", "a@example.com")
    assert ran.returncode == 1
    assert ran.stderr.startswith("Nothing can be sent yet: server and sender_address of network.smtp are not set.")
    assert page.exists()
    assert jobs(home) == []


def test_too_large(scan: Scan, home: Path, tmp_path: Path, set_scan: Callable[..., None]) -> None:
    set_scan(max_size=50_000)
    large = pdf(tmp_path / "large.pdf", 9, filler=9_000)
    ran = scan(large, "--to", "a@example.com")
    assert ran.returncode == 1
    assert "would be a mail of 0.1 MB; the mail server takes at most 50.0 kB. Nothing was sent" in ran.stderr
    assert jobs(home) == []
    ran = scan(large, "--to", "a@example.com", "--split", "--json")
    assert ran.returncode == 3, ran.stderr
    rows = json.loads(ran.stdout)
    assert [row["subject"][-6:] for row in rows] == [f" ({n}/{len(rows)})" for n in range(1, len(rows) + 1)]
    set_scan(oversize="split")
    assert scan(large, "--to", "a@example.com", "--no-split").returncode == 1
    assert len(jobs(home)) == len(rows)


@pytest.mark.usefixtures("scanner")
def test_a_scanner(scan: Scan, home: Path) -> None:
    ran = scan("--device", "test", "--source", "adf", "--resolution", "50", "--mode", "Gray", "--to", "a@example.com")
    assert (ran.returncode, ran.stderr) == (3, no_service(home))
    assert b'filename="Scan ' in message(home)
    ran = scan("--device", "nosuch:1", "--to", "a@example.com")
    assert ran.returncode == 1
    assert ran.stderr == "There is no scanner 'nosuch:1', or it is switched off. Nothing was sent.\n"
    assert len(jobs(home)) == 1


def test_nothing_is_left_behind(scan: Scan, page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    scan("-", "--to", "a@example.com", given=page.read_bytes())
    scan("-", "--to", "bad", given=page.read_bytes())
    assert list((tmp_path / "tmp").iterdir()) == []


def test_help_is_light() -> None:
    code = (
        "import sys; import mailslot_plugins.scan.command, mailslot_plugins.scan.pipeline;"
        "print(sorted({'PIL', 'pypdfium2', 'httpx2', 'trio', 'sqlite3'} & set(sys.modules)))"
    )
    # Measuring coverage loads sqlite3 by itself.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=900, check=True, env=plain
    )
    assert ran.stdout.strip() == "[]"
