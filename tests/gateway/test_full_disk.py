"""A disk that becomes full while a device sends: it is told so, and nothing is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.test_message_writer import MESSAGE, Clock, Gateway, files
from mailslot.smtp.server.replies import SPOOL_FULL
from mailslot.spool.limits import SpoolLimits
from mailslot.spool.spool import Spool
from spool.conftest import small_disk as small_disk  # noqa: PLC0414 - pytest finds the fixture by this name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.mark.parametrize("size", [1_600_000, 2_500_000], ids=["at the end", "within the message"])
async def test_a_full_disk(home: Path, small_disk: Callable[[str], None], size: int) -> None:
    clock = Clock()
    async with Spool(home, clock=clock, limits=SpoolLimits(disk_reserve=0)) as spool:
        gateway = Gateway(spool, clock)
        stored = await gateway.send(MESSAGE)
        (home / "filler").write_bytes(b"x" * (2_000_000 - size if size < 2_000_000 else 0))
        assert await gateway.send(MESSAGE, *[b"%062d\r\n" % number for number in range(size // 64)]) == SPOOL_FULL
        assert len(files(home)) == len(await spool.jobs()) == 1
        (home / "filler").unlink()
        again = await gateway.send(MESSAGE, b"more\r\n")
        assert again != stored
        assert await gateway.stored(again)
