"""Received documents are readable by their owner only, whatever the umask and permissions."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from anyio.to_thread import run_sync

from fax.faxes import FAX, fax_device, make_mail, store_incoming
from mailslot.service.pipeline import Done
from mailslot.vault import durable
from mailslot_plugins.fax.cleanup import clean_up
from mailslot_plugins.fax.pipeline import pipeline
from mailslot_plugins.printers.folder import FolderPrinter
from mailslot_plugins.printers.journal import Journal
from mailslot_plugins.printers.printer import Document, PrinterOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

SCAN = Path(__file__).parents[2] / "fixtures" / "scan" / "page.pdf"


@pytest.fixture(autouse=True)
def _everything_is_open() -> Iterator[None]:
    """A umask that makes nothing private."""
    mask = os.umask(0)
    yield
    os.umask(mask)


def open_to_others(home: Path) -> dict[str, str]:
    """Return what others could read or write below an accessible folder, with its mode."""
    found = {}
    for path in home.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            found[str(path.relative_to(home))] = oct(mode)
    return found


async def test_a_fax_that_is_received(tmp_path: Path) -> None:
    home = tmp_path / "home"
    settings = 'deliver_to = "folder fax; folder out/of/sight"'
    async with fax_device(home, settings) as device:
        home.chmod(0o777)
        assert await pipeline.handle(store_incoming(make_mail(FAX), tmp_path), device) == Done("printed")
    there = open_to_others(home)
    # It was written by this test.
    there.pop("mailslot.toml")
    assert there == {}
    assert {path.parent.name for path in home.rglob("*.pdf")} == {"fax", "sight"}
    assert list(home.glob("thumbnails/*.png"))


async def test_folders_that_were_open_are_closed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for folder in ("fax", "spool", "fax/2025"):
        (home / folder).mkdir(parents=True)
    for file in ("fax/a.pdf", "fax/2025/b.pdf", "spool/c.eml"):
        (home / file).write_bytes(b"x")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "d.pdf").write_bytes(b"x")
    (home / "fax" / "link").symlink_to(elsewhere / "d.pdf")
    (home / "linked").symlink_to(elsewhere)
    settings = f'deliver_to = "folder fax; folder linked; folder ../elsewhere; folder {elsewhere}; folder ."'
    async with fax_device(home, settings) as device:
        await clean_up(device)
    assert open_to_others(home).keys() <= {"mailslot.toml", "linked", "linked/d.pdf", "fax/link"}
    # Whoever has put those there knows why.
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o777
    assert stat.S_IMODE((elsewhere / "d.pdf").stat().st_mode) == 0o666
    assert stat.S_IMODE(home.stat().st_mode) & 0o077


@pytest.mark.parametrize(("folder_mode", "file_mode"), [(0o777, 0o600), (0o700, 0o600), (0o2770, 0o640)])
@pytest.mark.parametrize("umask", [0, 0o077])
async def test_a_file_is_private_at_every_moment(tmp_path: Path, folder_mode: int, file_mode: int, umask: int) -> None:
    """The document comes through a pipe, so that the file is looked at before its first octet is there."""
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(folder_mode)
    pipe = tmp_path / "page.pdf"
    os.mkfifo(pipe)
    seen: list[int] = []

    def write_tiff_fx() -> None:
        with pipe.open("wb") as end:
            # The other side has opened it; the file is made right after, and stays empty until this goes on.
            while not (files := list(out.iterdir())):
                pass
            seen.append(stat.S_IMODE(files[0].stat().st_mode))
            end.write(SCAN.read_bytes())

    os.umask(umask)
    async with fax_device(tmp_path / "home") as device:
        attempt = (await Journal.load(device.store("print"), "mail:1")).attempt("0.0")
        thread = threading.Thread(target=write_tiff_fx)
        thread.start()
        document = Document(pipe, "pdf", "It", "x", media_type="application/pdf")
        printed = await FolderPrinter(out, PrinterOptions()).print(document, attempt)
        await run_sync(thread.join)
    file = out / printed.job
    assert file.read_bytes() == SCAN.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == file_mode
    assert seen
    assert not seen[0] & ~file_mode


async def test_an_existing_file_or_link_is_not_overwritten(tmp_path: Path) -> None:
    """In a folder that others can write to, too."""
    out, theirs = tmp_path / "out", tmp_path / "theirs"
    out.mkdir()
    theirs.write_bytes(b"")
    async with fax_device(tmp_path / "home") as device:
        attempt = (await Journal.load(device.store("print"), "mail:1")).attempt("0.0")
        (out / f".{attempt.token}.partial").symlink_to(theirs)
        await FolderPrinter(out, PrinterOptions()).print(
            Document(SCAN, "pdf", "It", "x", media_type="application/pdf"), attempt
        )
    assert theirs.read_bytes() == b""
    [file] = out.iterdir()
    assert not file.is_symlink()


def test_a_private_folder(tmp_path: Path) -> None:
    durable.make_private_folder(tmp_path / "a" / "b")
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "a/b")] == [0o700, 0o700]
    durable.make_private_folder(tmp_path / "a" / "b")
