"""A TIFF file in parts of whole pages, copied as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot_plugins.scan.tiff_pages import HEADER, Page, TiffError, read_pages, write_pages

if TYPE_CHECKING:
    from pathlib import Path


def split_tiff(path: Path, folder: Path, room: int) -> list[Path] | int:
    """Write the pages of a file into as few files as they take, in their order.

    Args:
        path: the file.
        folder: where the parts go.
        room: the most octets of a part.

    Returns:
        the parts; or the octets of the first page that alone is too large.

    Raises:
        TiffError: its pages cannot be taken apart.
        OSError: it cannot be read, or a part cannot be written.
    """
    with path.open("rb") as file:
        groups: list[list[Page]] = []
        filled = 0
        pages = read_pages(file)
        if len(pages) == 1:
            raise TiffError("it has one page only")
        for page in pages:
            if HEADER + page.size > room:
                return HEADER + page.size
            if not groups or filled + page.size > room:
                groups.append([])
                filled = HEADER
            groups[-1].append(page)
            filled += page.size
        parts: list[Path] = []
        for number, group in enumerate(groups, start=1):
            parts.append(folder / f"{number:04}.tif")
            with parts[-1].open("wb") as target:
                write_pages(target, [(file, page) for page in group])
        return parts
