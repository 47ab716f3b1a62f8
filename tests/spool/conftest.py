"""A spool in a home folder, a clock that is set by hand, and disks that are small."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.fixtures import need
from mailslot.smtp.content import BytesContent
from mailslot.spool.job import NewJob
from mailslot.spool.limits import SpoolLimits
from mailslot.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from lab.postgres import Fleet
    from mailslot.fleet.postgres.home import PostgresHome
    from mailslot.smtp.content import Content
    from mailslot.spool.repositories import Repositories

OF_BOTH_KINDS = {"accept", "delivery", "job_file", "ledger", "limits", "store", "watch"}
"""The modules, without ``test_``, whose tests run on each kind of home, except those marked ``in_a_folder``."""

NOON = 1_700_000_000.0
MESSAGE = b"Subject: a scan\r\n\r\nhello\r\n"
SMALL = SpoolLimits(disk_reserve=0, job_reserve=0)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let the tests of a spool run on each kind of home."""
    if "kind" in metafunc.fixturenames:
        name = metafunc.module.__name__.rpartition("test_")[2]
        both = name in OF_BOTH_KINDS and not any(metafunc.definition.iter_markers("in_a_folder"))
        metafunc.parametrize("kind", ["folder", "postgres"] if both else ["folder"])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need PostgreSQL, and leave out those on trio, since fleets run on asyncio."""
    for item in list(items):
        values = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        if values.get("kind") == "postgres":
            item.add_marker("lab")
            if str(values.get("anyio_backend", "asyncio")) != "asyncio":
                items.remove(item)


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
def home(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> Path | PostgresHome:
    """The home of a device, of each kind."""
    if kind == "folder":
        return tmp_path / "home"
    fleet: Fleet = request.getfixturevalue("fleet")
    return fleet.add_device()


@pytest.fixture
async def spool(home: Path, clock: Clock) -> AsyncIterator[Spool]:
    async with Spool(home, clock=clock) as opened:
        yield opened
        # Whatever a test has done, the triggers of the database have kept the totals right.
        if opened.loss_error is None:
            assert await opened._storage.read(kept_totals) == await opened._storage.read(counted_totals)


def kept_totals(repositories: Repositories) -> tuple[int, int]:
    return repositories.totals()[:2]


def counted_totals(repositories: Repositories) -> tuple[int, int]:
    octets = sum(place.size for place in repositories.jobs.with_files())
    octets += sum(size for _, _, size in repositories.mails.with_files())
    return len(repositories.jobs.unfinished()), octets


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


def files(home: Path | PostgresHome, *suffixes: str) -> list[str]:
    """The names of the message files, finished or not."""
    wanted = suffixes or (".job", ".mail", ".new")
    return sorted(name for name in _names(home) if name.endswith(wanted))


def _names(home: Path | PostgresHome) -> list[str]:
    if isinstance(home, Path):
        return [path.name for path in (home / "spool").iterdir()]
    query = "SELECT DISTINCT file FROM messages WHERE device = %(device)s"
    return [file for (file,) in home.spool_storage().read_blocking(lambda each: each.tuples(query))]
