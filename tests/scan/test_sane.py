"""SANE's test scanner: feeder, flatbed, and all errors of scanners."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from PIL import Image

from lab.scanner import PATIENCE, PROGRAM
from mailslot_plugins.scan.sane import Scanner, ScannerError
from mailslot_plugins.scan.sources import from_scanner
from scan.sample_documents import pdf_pages, tiff_pages

pytestmark = pytest.mark.usefixtures("scanner")


def nothing(page: int, part: float) -> None:
    pass


def failing(status: str, source: str | None = None) -> Scanner:
    return Scanner("test", source, options=(f"--read-return-value=SANE_STATUS_{status}",))


PATTERN = ("-x", "60", "-y", "60", "--test-picture=Color pattern")


async def test_feeder_to_pdf(tmp_path: Path) -> None:
    heard: list[tuple[int, float]] = []
    scanner = Scanner("test", "adf", 100, "Color", PATTERN)
    [document] = await from_scanner(scanner, "pdf", tmp_path, lambda page, part: heard.append((page, part)))
    assert document.kind == "pdf"
    assert pdf_pages(document.path) == 10
    assert [page for page, part in heard if part == 1.0][-1] == 10
    assert heard == sorted(heard)


async def test_feeder_to_tiff_in_black_and_white(tmp_path: Path) -> None:
    scanner = Scanner("test", "ADF", 200, "Gray", (*PATTERN, "--depth=1"))
    [document] = await from_scanner(scanner, "tiff", tmp_path, nothing)
    assert tiff_pages(document.path) == 10
    with Image.open(document.path) as image:
        assert image.mode == "1"
        assert image.info["compression"] == "group4"
        assert image.info["dpi"] == (200, 200)


async def test_pages_keep_the_scanners_size(tmp_path: Path) -> None:
    scanner = Scanner("test", "flatbed", 100, "Gray", PATTERN)
    raw = tmp_path / "raw.tif"
    options = ("--resolution=100", "--mode=Gray", *PATTERN)
    await anyio.run_process(["scanimage", "-d", "test", *options, "--format=tiff", "-o", str(raw)])
    [document] = await from_scanner(scanner, "png", tmp_path, nothing)
    with Image.open(document.path) as scanned, Image.open(raw) as whole:
        assert scanned.tobytes() == whole.tobytes()


@pytest.mark.parametrize("encoding", ["jpeg", "png"])
async def test_one_file_per_page(tmp_path: Path, encoding: str) -> None:
    documents = await from_scanner(Scanner("test", "Automatic Document Feeder"), encoding, tmp_path, nothing)  # type: ignore[arg-type]
    assert [document.kind for document in documents] == [encoding] * 10


async def test_without_a_source_it_is_one_page(tmp_path: Path) -> None:
    [document] = await from_scanner(Scanner("test"), "pdf", tmp_path, nothing)
    assert pdf_pages(document.path) == 1


@pytest.mark.parametrize("source", [None, "adf"])
@pytest.mark.parametrize(
    ("status", "cause", "says", "retryable"),
    [
        ("DEVICE_BUSY", "scanner_busy", "is busy", True),
        ("JAMMED", "feeder_jammed", "paper jam", True),
        ("NO_DOCS", "feeder_empty", "no paper in its feeder", True),
        ("COVER_OPEN", "scanner_cover_open", "cover open", True),
        ("IO_ERROR", "scanner_failed", "does not answer", False),
        ("ACCESS_DENIED", "scanner_refused", "may not be used", False),
        ("CANCELLED", "scanner_cancelled", "stopped at its own panel", True),
    ],
)
async def test_scanner_errors(
    tmp_path: Path,
    source: str | None,
    status: str,
    cause: str,
    says: str,
    retryable: bool,
) -> None:
    with pytest.raises(ScannerError, match=r" Nothing was sent\.$") as caught:
        await from_scanner(failing(status, source), "pdf", tmp_path, nothing)
    assert re.search(rf"^The scanner 'test' .*{says}", str(caught.value))
    assert (caught.value.cause, caught.value.retryable) == (cause, retryable)
    assert caught.value.detail


async def test_a_page_that_is_cut_off(tmp_path: Path) -> None:
    with pytest.raises(ScannerError, match="incomplete page"):
        await from_scanner(failing("EOF"), "pdf", tmp_path, nothing)
    assert not (tmp_path / "scan.pages").exists()


@pytest.mark.parametrize(
    ("scanner", "cause", "says"),
    [
        (Scanner("nosuch:1"), "scanner_not_found", "There is no scanner 'nosuch:1'"),
        (Scanner("nosuch:1", "adf"), "scanner_not_found", "There is no scanner 'nosuch:1'"),
        (Scanner("--help"), "scanner_not_found", "There is no scanner '--help'"),
        (Scanner("test", "moon"), "scanner_failed", "no source 'moon'; it has Flatbed, Automatic Document Feeder"),
        (Scanner("test", mode="Purple"), "scanner_failed", "does not know such a setting .*--mode"),
        (Scanner("test", mode="Gray --batch"), "scanner_failed", "does not know such a setting"),
    ],
)
async def test_wrong_settings(tmp_path: Path, scanner: Scanner, cause: str, says: str) -> None:
    with pytest.raises(ScannerError, match=says) as caught:
        await from_scanner(scanner, "pdf", tmp_path, nothing)
    assert caught.value.cause == cause
    assert "\n" not in str(caught.value)


async def test_scanimage_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ScannerError, match="scanimage is not installed"):
        await from_scanner(Scanner("test"), "pdf", tmp_path, nothing)


SLOW = Scanner("test", options=("--read-delay=yes", "--read-delay-duration=200000", "--resolution=300"))


@pytest.fixture
def scanimage(scanner: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """scanimage itself, which tells of its progress while it scans."""
    monkeypatch.setenv("PATH", str(Path(PROGRAM or "").parent))


@pytest.mark.usefixtures("scanimage")
async def test_a_cancelled_scan_leaves_no_process(tmp_path: Path) -> None:
    for seconds in PATIENCE:
        begun = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(from_scanner, SLOW, "pdf", tmp_path, lambda _page, _part, begun=begun: begun.set())
            with anyio.move_on_after(seconds):
                await begun.wait()
            assert running(tmp_path)
            group.cancel_scope.cancel()
        assert not running(tmp_path)
        if begun.is_set():
            return
    raise AssertionError


@pytest.mark.usefixtures("scanimage")
async def test_a_scan_cancelled_during_its_start_leaves_no_process(tmp_path: Path) -> None:
    for steps in range(12):
        async with anyio.create_task_group() as group:
            group.start_soon(from_scanner, SLOW, "pdf", tmp_path, nothing)
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        assert not running(tmp_path), steps


@pytest.mark.usefixtures("scanimage")
async def test_a_silent_scanner_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(ScannerError, match="did not respond for 0 seconds"):
        await from_scanner(replace(SLOW, silence_timeout=0), "pdf", tmp_path, nothing)
    assert not running(tmp_path)


def running(folder: Path) -> bool:
    """Whether a scanimage that writes into a folder runs."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if f"batch={folder}".encode() in path.read_bytes():
                return True
    return False
