"""A spool in a home folder, a clock that is set by hand, and disks that are small."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from lab.fixtures import need
from mailslot.smtp.content import BytesContent
from mailslot.spool import job_rows
from mailslot.spool.job import UNFINISHED, NewJob
from mailslot.spool.limits import SpoolLimits
from mailslot.spool.spool import Spool

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from mailslot.smtp.content import Content

NOON = 1_700_000_000.0
MESSAGE = b"Subject: a scan\r\n\r\nhello\r\n"
SMALL = SpoolLimits(disk_reserve=0)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
async def spool(home: Path, clock: Clock) -> AsyncIterator[Spool]:
    async with Spool(home, clock=clock) as opened:
        yield opened
        # Whatever a test has done, the triggers of the database have kept the totals right.
        if opened.loss_error is None:
            assert await opened._database.read(kept_totals) == await opened._database.read(counted_totals)


def kept_totals(connection: sqlite3.Connection) -> tuple[int, int]:
    return job_rows.count_unfinished(connection), job_rows.total_octets(connection)


def counted_totals(connection: sqlite3.Connection) -> tuple[int, int]:
    jobs = connection.execute("SELECT state, file, size FROM jobs").fetchall()
    mails = connection.execute("SELECT file, size FROM mails").fetchall()
    unfinished = sum(row["state"] in UNFINISHED for row in jobs)
    return unfinished, sum(row["size"] for row in [*jobs, *mails] if row["file"] is not None)


@pytest.fixture
def small_disk(home: Path) -> Iterator[Callable[[str], None]]:
    """A file system of 2 MiB at the home folder; called with options, it is mounted anew with them."""
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", str(home)]
    mounted = os.geteuid() == 0 and not subprocess.run(mount, check=False, capture_output=True).returncode
    need("a small disk", mounted, "needs root on Debian")

    def remount(options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(home)], check=True)

    try:
        yield remount
    finally:
        subprocess.run(["umount", str(home)], check=True)


def new(*recipients: str, via: str = "smtp", pipeline: str = "scan", **values: object) -> NewJob:
    return NewJob(pipeline, via, "scanner@example.com", recipients or ("to@example.com",), **values)


def message(text: bytes = MESSAGE) -> Content:
    return BytesContent(text)


async def octets(content: Content) -> bytes:
    return b"".join([piece async for piece in content.chunks()])


def files(home: Path, *suffixes: str) -> list[str]:
    """The names of the message files, finished or not."""
    wanted = suffixes or (".job", ".mail", ".new")
    return sorted(path.name for path in (home / "spool").iterdir() if path.name.endswith(wanted))
