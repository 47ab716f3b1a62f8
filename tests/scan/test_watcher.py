"""The folder watcher: every file becomes one scan, and unmailable files are set aside."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from mailslot.service.device import open_device
from mailslot.slots.records import Records
from mailslot.spool.errors import SpoolError
from mailslot.spool.spool import Spool
from mailslot_plugins.scan import watcher as watcher_module
from mailslot_plugins.scan.section import SECTION
from mailslot_plugins.scan.watcher import ERROR_INTERVAL, POLL_INTERVAL, FolderWatcher
from scan.sample_documents import attached, mails, pdf, pdf_pages
from shortage import no_descriptors

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.service.device import Device

SetScan = Callable[..., None]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One is enough for what becomes of a file; the whole way of one has tests on both."""
    return "asyncio"


@pytest.fixture
def folder(tmp_path: Path, set_scan: SetScan) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    set_scan(folder=str(folder), to="alice@example.com", subject="{name} {counter}")
    return folder


@pytest.fixture
async def watcher(folder: Path, device: Device) -> FolderWatcher:
    return FolderWatcher(device)


def put(folder: Path, name: str, octets: bytes = b"%PDF-1.4 scan", age: float = 60.0) -> Path:
    """Put a file into the folder as a scanner leaves it, written a while ago."""
    path = folder / name
    path.write_bytes(octets)
    settled(path, age)
    return path


def settled(path: Path, age: float = 60.0) -> None:
    scanned_at = path.stat().st_mtime - age
    os.utime(path, (scanned_at, scanned_at))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def reasons(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text().strip() for path in (folder / "failed").glob("*.txt")}


async def test_files_become_scans(watcher: FolderWatcher, device: Device, folder: Path) -> None:
    put(folder, "a.pdf", age=90)
    put(folder, "b.txt", b"text")
    assert await watcher.check_folder() == POLL_INTERVAL
    found = await mails(device)
    assert [mail["Subject"] for mail in found] == ["a 1", "b 2"]
    assert next(attached(mail) for mail in found) == {"a.pdf": b"%PDF-1.4 scan"}
    assert names(folder) == []
    await watcher.check_folder()
    assert len(await device.spool.jobs()) == 2
    assert list(await device.store("scan").items()) == ["counter"]


async def test_files_are_moved_where_that_is_set(
    watcher: FolderWatcher, device: Device, folder: Path, set_scan: SetScan
) -> None:
    set_scan(after="move")
    await device.refresh()
    path = put(folder, "a.pdf")
    await watcher.check_folder()
    assert (folder / "done" / "a.pdf").exists()
    # Whoever puts it back wants it mailed again.
    (folder / "done" / "a.pdf").rename(path)
    await watcher.check_folder()
    assert len(await device.spool.jobs()) == 2


@pytest.mark.parametrize("step", ["enqueue_scan", "remove_mailed", "delete"])
async def test_a_crash_at_any_step_mails_a_file_once(
    watcher: FolderWatcher, device: Device, folder: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Simulates SIGKILL in one process: the following steps never happen."""

    class Stopped(BaseException):
        pass

    def stop(*_: object, **__: object) -> None:
        raise Stopped

    put(folder, "a.pdf")
    with monkeypatch.context() as patch:
        if step == "delete":
            patch.setattr("mailslot.spool.store.Store.delete", stop)
        else:
            patch.setattr(watcher_module, step, stop)
        with pytest.raises(Stopped):
            await watcher.check_folder()
    assert await FolderWatcher(device).check_folder() == POLL_INTERVAL
    [job] = await device.spool.jobs()
    assert job.subject == "a 1"
    assert names(folder) == []
    assert list(await device.store("scan").items()) == ["counter"]


async def test_unmailable_files_are_set_aside_and_others_are_mailed(
    watcher: FolderWatcher, device: Device, folder: Path
) -> None:
    (folder / "link.pdf").symlink_to("/etc/hostname")
    os.mkfifo(folder / "pipe")
    huge = put(folder, "huge.jpg", b"\xff\xd8\xff")
    os.truncate(huge, 100_000_000)
    settled(huge)
    put(folder, "good.pdf")
    await watcher.check_folder()
    assert [mail["Subject"] for mail in await mails(device)] == ["good 2"]
    found = reasons(folder)
    assert found["link.pdf.txt"] == "'link.pdf' is a link; links are not followed."
    assert "pipe.txt" in found
    assert "100.0 MB and would be a mail of 136" in found["huge.jpg.txt"]
    assert (folder / "failed" / "huge.jpg").stat().st_size == 100_000_000
    assert names(folder) == ["failed"]
    assert list(await device.store("scan").items()) == ["counter"]


async def test_a_large_one_is_split(
    watcher: FolderWatcher, device: Device, folder: Path, tmp_path: Path, set_scan: SetScan
) -> None:
    set_scan(oversize="split", max_size=60_000)
    await device.refresh()
    settled(pdf(folder / "a.pdf", 9, filler=9_000))
    await watcher.check_folder()
    found = await mails(device)
    assert [mail["Subject"] for mail in found] == [f"a 1 ({n}/{len(found)})" for n in range(1, len(found) + 1)]
    pages = 0
    for mail in found:
        [octets] = attached(mail).values()
        (tmp_path / "part.pdf").write_bytes(octets)
        pages += pdf_pages(tmp_path / "part.pdf")
    assert pages == 9


async def test_a_crash_between_parts_resumes_with_the_same_parts(
    watcher: FolderWatcher, device: Device, folder: Path, set_scan: SetScan, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_scan(oversize="split", max_size=60_000)
    await device.refresh()
    settled(pdf(folder / "a.pdf", 9, filler=9_000))
    accept = Spool.accept

    async def full(self: Spool, *arguments: object) -> object:
        if await self.jobs():
            raise SpoolError("The spool is full.", cause="spool_full", retryable=True)
        return await accept(self, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Spool, "accept", full)
        assert await watcher.check_folder() == ERROR_INTERVAL
    assert len(await device.spool.jobs()) == 1
    assert (folder / "a.pdf").exists()
    # The limit has changed meanwhile: the parts must be those of before.
    set_scan(max_size=30_000, subject="other")
    await device.refresh()
    assert await watcher.check_folder() == POLL_INTERVAL
    subjects = [mail["Subject"] for mail in await mails(device)]
    assert subjects == [f"a 1 ({n}/{len(subjects)})" for n in range(1, len(subjects) + 1)]
    assert names(folder) == []


@pytest.mark.parametrize(
    ("record", "section", "says"),
    [
        ({"server": None}, {}, "server of network.smtp is not set"),
        ({}, {"to": None}, "They have no recipients"),
        ({}, {"to": "a@example.com, b@example.com", "max_recipients": 1}, "2 recipients, and at most 1"),
    ],
)
async def test_files_wait_while_the_settings_are_invalid(
    watcher: FolderWatcher,
    device: Device,
    home: Path,
    folder: Path,
    set_scan: SetScan,
    caplog: pytest.LogCaptureFixture,
    record: dict[str, object],
    section: dict[str, object],
    says: str,
) -> None:
    Records(home).change("smtp", record, {})
    set_scan(**section)
    await device.refresh()
    path = put(folder, "a.pdf")
    assert await watcher.check_folder() == ERROR_INTERVAL
    assert await watcher.check_folder() == ERROR_INTERVAL
    assert [message for message in caplog.messages if says in message] == caplog.messages
    assert len(caplog.messages) == 1
    assert path.exists()
    Records(home).change("smtp", {"server": "127.0.0.1"}, {})
    set_scan(to="alice@example.com", max_recipients=None)
    await device.refresh()
    assert await watcher.check_folder() == POLL_INTERVAL
    assert not path.exists()
    assert len(await device.spool.jobs()) == 1


@pytest.mark.parametrize("left", range(5))
async def test_files_wait_while_the_machine_has_no_descriptors(
    watcher: FolderWatcher, folder: Path, device: Device, left: int
) -> None:
    put(folder, "one.pdf")
    with no_descriptors(left=left):
        await watcher.check_folder()
    assert set(names(folder)) <= {"one.pdf"}
    await watcher.check_folder()
    assert names(folder) == []
    assert len(await device.spool.jobs()) == 1


async def test_a_share_that_is_unmounted(
    watcher: FolderWatcher, device: Device, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    put(folder, "a.pdf")
    os.rename(folder, f"{folder}-away")  # noqa: PTH104 - of no loop's concern
    assert await watcher.check_folder() == ERROR_INTERVAL
    assert await watcher.check_folder() == ERROR_INTERVAL
    assert caplog.messages == [f"The folder {folder} cannot be used: No such file or directory."]
    os.rename(f"{folder}-away", folder)  # noqa: PTH104 - of no loop's concern
    assert await watcher.check_folder() == POLL_INTERVAL
    assert caplog.messages[-1] == f"The folder {folder} is watched again."
    assert len(await device.spool.jobs()) == 1


async def test_a_file_that_cannot_be_removed_is_not_mailed_again(
    watcher: FolderWatcher,
    device: Device,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = put(folder, "a.pdf")
    monkeypatch.setattr(watcher_module, "remove_mailed", refuse)
    for look in (watcher.check_folder, watcher.check_folder, FolderWatcher(device).check_folder):
        assert await look() == POLL_INTERVAL
    assert path.exists()
    assert len(await device.spool.jobs()) == 1
    assert "'a.pdf' was mailed but cannot be deleted: Permission denied." in caplog.messages[0]
    monkeypatch.undo()
    assert await FolderWatcher(device).check_folder() == POLL_INTERVAL
    assert not path.exists()
    assert len(await device.spool.jobs()) == 1


async def test_a_file_that_vanishes_or_changes_is_not_set_aside(
    watcher: FolderWatcher,
    device: Device,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    real_fingerprint = watcher_module.fingerprint
    gone, grown = put(folder, "gone.pdf"), put(folder, "grown.pdf")

    def meddle(found: object) -> str:
        result = real_fingerprint(found)  # type: ignore[arg-type]
        gone.unlink(missing_ok=True)
        grown.write_bytes(b"%PDF more")
        return result

    monkeypatch.setattr(watcher_module, "fingerprint", meddle)
    assert await watcher.check_folder() == POLL_INTERVAL
    monkeypatch.undo()
    assert await device.spool.jobs() == []
    assert not (folder / "failed").exists()
    assert caplog.messages == []
    settled(grown)
    await watcher.check_folder()
    assert await watcher.check_folder() == POLL_INTERVAL


async def test_no_folder_is_watched_without_a_setting(device: Device) -> None:
    assert await FolderWatcher(device).check_folder() == POLL_INTERVAL


async def test_a_folder_of_the_home(device: Device, home: Path, set_scan: SetScan) -> None:
    set_scan(folder="scans", to="alice@example.com")
    await device.refresh()
    (home / "scans").mkdir()
    put(home / "scans", "a.pdf")
    await FolderWatcher(device).check_folder()
    assert len(await device.spool.jobs()) == 1
    shutil.rmtree(home / "scans")


async def test_two_services_on_one_folder_mail_each_file_once(
    watcher: FolderWatcher,
    device: Device,
    home: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shutil.copytree(home, f"{home}-copy")
    async with open_device(Records(home.with_name("home-copy")), [SECTION]) as copy:
        other = FolderWatcher(copy)
        compose = watcher_module.compose

        async def meanwhile(*arguments: object, **options: object) -> object:
            monkeypatch.undo()
            for _ in range(2):
                assert await other.check_folder() == POLL_INTERVAL
            return await compose(*arguments, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(watcher_module, "compose", meanwhile)
        put(folder, "a.pdf")
        assert await watcher.check_folder() == POLL_INTERVAL
        assert [len(await each.spool.jobs()) for each in (device, copy)] == [1, 0]
        assert caplog.messages == [
            f"Another service of mailslot takes files from {folder}, too: each is mailed by one of them only."
        ]
        put(folder, "b.pdf")
        assert await other.check_folder() == POLL_INTERVAL
        assert [len(await each.spool.jobs()) for each in (device, copy)] == [1, 1]
    assert names(folder) == []


async def test_a_file_taken_by_another_service_is_no_error(
    watcher: FolderWatcher,
    device: Device,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    claim = watcher_module.claim
    path = put(folder, "a.pdf")

    def late(folder: Path) -> int | None:
        path.unlink()
        return claim(folder)

    monkeypatch.setattr(watcher_module, "claim", late)
    assert await watcher.check_folder() == POLL_INTERVAL
    assert await device.spool.jobs() == []
    assert names(folder) == []
    assert caplog.messages == []
