"""Inspecting files, and files that change while they are mailed."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from child_process import fork_child, wait_for_exit
from mailslot.errors import InputError
from mailslot_plugins.scan.compose import compose
from mailslot_plugins.scan.document import FileChangedError, inspect_file, inspect_files
from mailslot_plugins.scan.enqueue import enqueue_scan
from scan.sample_documents import pdf, scan_to_alice

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot.service.device import Device


@pytest.mark.parametrize(
    ("head", "name", "kind", "suffix"),
    [
        (b"%PDF-1.4", "a.pdf", "pdf", ".pdf"),
        (b"junk\n%PDF-1.7", "SCAN0001", "pdf", ".pdf"),
        (b"II*\0", "a.TIFF", "tiff", ".TIFF"),
        (b"MM\0*", "a.pdf", "tiff", ".tif"),
        (b"\xff\xd8\xff\xe0", "a.jpeg", "jpeg", ".jpeg"),
        (b"\x89PNG\r\n\x1a\n", "a", "png", ".png"),
        (b"hello", "notes.docx", "other", ".docx"),
    ],
)
def test_kinds(tmp_path: Path, head: bytes, name: str, kind: str, suffix: str) -> None:
    (tmp_path / name).write_bytes(head)
    document = inspect_file(tmp_path / name)
    assert (document.kind, document.suffix) == (kind, suffix)


def test_every_unusable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "good").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError) as caught:
        inspect_files([tmp_path / name for name in ("empty", "folder", "good", "gone", "pipe", "link", "good/x")])
    result = str(caught.value)
    for part in ("'empty' is empty", "'folder' is a folder", "'gone' does not exist", "'pipe' is not a file", "'link'"):
        assert part in result
    assert "'good'" not in result
    assert result.endswith("Nothing was sent.")


def test_unreadable_file() -> None:
    def look_as_nobody() -> None:
        # The superuser may read everything.
        if os.geteuid() == 0:
            os.setuid(pwd.getpwnam("nobody").pw_uid)
        with pytest.raises(InputError, match=r"^The file 'shadow' may not be read by this program\."):
            inspect_file(Path("/etc/shadow"))

    assert wait_for_exit(fork_child(look_as_nobody)) == 0


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def rewrite(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def cut(path: Path) -> None:
    os.truncate(path, 10)


@pytest.mark.parametrize("change", [grow, rewrite, cut, Path.unlink])
async def test_a_file_that_changes_is_not_mailed(
    device: Device, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    path = pdf(tmp_path / "a.pdf", 2)
    scan_message = await scan_to_alice(device, [inspect_file(path)])
    [mail] = await compose(scan_message, None, tmp_path, may_split=False)
    change(path)
    with pytest.raises(InputError):
        await enqueue_scan(device.spool, scan_message, [mail], lifetime=60)
    assert await device.spool.jobs() == []


async def test_a_file_that_grows_while_it_is_read(device: Device, tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(3_000_000))
    scan_message = await scan_to_alice(device, [inspect_file(path)])
    [mail] = await compose(scan_message, None, tmp_path, may_split=False)
    seen: list[int] = []

    def progress(octets: int) -> None:
        if not seen:
            grow(path)
        seen.append(octets)

    with pytest.raises(InputError, match="changed"):
        await enqueue_scan(device.spool, scan_message, [mail], lifetime=60, progress=progress)
    assert len(seen) > 1
    assert await device.spool.jobs() == []


async def test_a_file_that_is_rewritten_while_it_is_read(device: Device, tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(3_000_000))
    scan_message = await scan_to_alice(device, [inspect_file(path)])
    [mail] = await compose(scan_message, None, tmp_path, may_split=False)
    with pytest.raises(FileChangedError):
        await enqueue_scan(device.spool, scan_message, [mail], lifetime=60, progress=lambda _: rewrite(path))
    assert await device.spool.jobs() == []
