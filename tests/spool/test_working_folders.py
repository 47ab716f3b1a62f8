"""Folders for documents in work: removed at the end, also after a kill, and never while they are used."""

from __future__ import annotations

import os
import signal
import stat
from typing import TYPE_CHECKING

import anyio
import pytest

from child_process import fork_child, wait_for_exit
from mailslot.spool.errors import SpoolError
from mailslot.spool.working_folders import remove_abandoned_folders, working_folder

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


def _list(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


async def test_a_folder_is_private_and_removed_with_its_contents(tmp_path: Path) -> None:
    async with working_folder(tmp_path / "work") as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "page").write_bytes(b"x")
        (folder / "parts").mkdir()
        (folder / "parts" / "1").write_bytes(b"x")
    assert list((tmp_path / "work").iterdir()) == []


async def test_a_folder_is_removed_after_a_cancellation(tmp_path: Path) -> None:
    with anyio.CancelScope() as scope:
        async with working_folder(tmp_path / "work") as folder:
            (folder / "page").write_bytes(b"x")
            scope.cancel()
            await anyio.sleep_forever()
    assert list((tmp_path / "work").iterdir()) == []


async def test_two_folders_at_the_same_time(tmp_path: Path) -> None:
    async with working_folder(tmp_path) as first, working_folder(tmp_path) as second:
        remove_abandoned_folders(tmp_path)
        assert {first, second} == set(_list(tmp_path))


async def test_a_folder_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "work").write_bytes(b"a file")
    with pytest.raises(SpoolError, match="cannot be written"):
        async with working_folder(tmp_path / "work"):
            pass


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_folder_of_a_killed_process_is_removed(tmp_path: Path, backend: str) -> None:
    async def work() -> None:
        async with working_folder(tmp_path) as folder:
            (folder / "page").write_bytes(b"x")
            os.kill(os.getpid(), signal.SIGKILL)

    async def work_later() -> None:
        async with working_folder(tmp_path) as folder:
            assert _list(tmp_path) == [folder]

    assert wait_for_exit(fork_child(lambda: anyio.run(work, backend=backend))) == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    anyio.run(work_later, backend=backend)
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path)
    remove_abandoned_folders(tmp_path)
    remove_abandoned_folders(tmp_path / "missing")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]
