"""Splits a TIFF file by pages, which are copied unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot_plugins.scan.tiff_pages import HEADER, Page, TiffError, read_pages, write_pages

if TYPE_CHECKING:
    from pathlib import Path


def split_tiff(path: Path, folder: Path, max_size: int) -> list[Path] | int:
    """Write the pages of a file into as few files as possible, in order.

    Args:
        path: the file.
        folder: where the parts are written.
        max_size: the most octets of a part.

    Returns:
        the parts; or the size in octets of the first single page that is too large.

    Raises:
        TiffError: it cannot be split.
        OSError: it cannot be read, or a part cannot be written.
    """
    with path.open("rb") as file:
        groups: list[list[Page]] = []
        used = 0
        pages = read_pages(file)
        if len(pages) == 1:
            raise TiffError("it has one page only")
        for page in pages:
            if HEADER + page.size > max_size:
                return HEADER + page.size
            if not groups or used + page.size > max_size:
                groups.append([])
                used = HEADER
            groups[-1].append(page)
            used += page.size
        parts: list[Path] = []
        for number, group in enumerate(groups, start=1):
            parts.append(folder / f"{number:04}.tif")
            with parts[-1].open("wb") as target:
                write_pages(target, [(file, page) for page in group])
        return parts
