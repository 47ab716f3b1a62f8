"""Joins scanned pages into one PDF or TIFF file: JPEG for grey and colour, Group 4 for black and white."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Literal

from PIL import Image

from mailslot_plugins.scan.sane import ScannerError
from mailslot_plugins.scan.tiff_pages import TiffError, read_pages, write_pages

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def assemble(pages: Sequence[Path], kind: Literal["pdf", "tiff"], target: Path, resolution: int | None) -> None:
    """Write pages into one file; only one page is in memory at a time.

    Args:
        pages: the scanner's TIFF files, one page each.
        kind: the format to write.
        target: the file to write.
        resolution: dots per inch; None for what the pages say.

    Raises:
        ScannerError: a page is not complete.
        OSError: the disk is full, or cannot be written.
    """
    joined = target.with_suffix(".pages")
    try:
        with ExitStack() as stack:
            sources = [stack.enter_context(page.open("rb")) for page in pages]
            with joined.open("wb") as file:
                write_pages(file, [(source, page) for source in sources for page in read_pages(source)])
        _encode(joined, kind, target, resolution)
    except (TiffError, Image.DecompressionBombError, SyntaxError) as error:
        raise _incomplete(error) from error
    except OSError as error:
        # Pillow's error for a truncated image has no errno; an error of the disk has one.
        if error.errno is None:
            raise _incomplete(error) from error
        raise
    finally:
        joined.unlink(missing_ok=True)


def _incomplete(error: Exception) -> ScannerError:
    return ScannerError(
        "The scanner delivered an incomplete page. Nothing was sent.", "scanner_failed", detail=str(error)
    )


def _encode(joined: Path, kind: Literal["pdf", "tiff"], target: Path, resolution: int | None) -> None:
    with Image.open(joined) as image:
        dpi = float(resolution or image.info.get("dpi", (0, 0))[0] or 200)
        if kind == "pdf":
            image.save(target, "PDF", save_all=True, resolution=dpi, title="Scan")
        else:
            compression = "group4" if image.mode == "1" else "jpeg"
            image.save(target, "TIFF", save_all=True, compression=compression, dpi=(dpi, dpi))
