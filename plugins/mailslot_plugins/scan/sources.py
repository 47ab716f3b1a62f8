"""Where documents come from: files, standard input, a scanner."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from anyio import to_thread

from mailslot.errors import InputError
from mailslot_plugins.scan.document import SUFFIXES, Document, inspect_file, inspect_files
from mailslot_plugins.scan.sane import scan_pages
from mailslot_plugins.scan.stdin import read_stdin

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mailslot_plugins.scan.sane import Format, Scanner

STDIN = "-"
"""The file name that stands for standard input."""


async def from_files(names: Sequence[str], folder: Path) -> list[Document]:
    """Return files as documents, in order.

    Args:
        names: paths; one may be `STDIN`.
        folder: where standard input is stored.

    Raises:
        InputError: some cannot be used; the sentence names all of them.
    """
    if names.count(STDIN) > 1:
        raise InputError("Standard input can be read only once.", stage="data")
    documents = await to_thread.run_sync(inspect_files, [Path(name) for name in names if name != STDIN])
    if STDIN in names:
        documents.insert(names.index(STDIN), await read_stdin(folder))
    return documents


async def from_scanner(
    scanner: Scanner, encoding: Format, folder: Path, progress: Callable[[int, float], None]
) -> list[Document]:
    """Scan into documents: one for PDF or TIFF, one for each page for JPEG or PNG.

    Args:
        scanner: the scanner.
        encoding: the file format.
        folder: where the files are written.
        progress: called with the page's number and the scanned fraction of it, 0.0 to 1.0.

    Raises:
        ScannerError: there is no complete scan.
    """
    target = folder / f"scan{SUFFIXES[encoding]}"
    match encoding:
        case "jpeg" | "png":
            return await to_thread.run_sync(inspect_files, await scan_pages(scanner, encoding, folder, progress))
        case "pdf" | "tiff":
            pages = await scan_pages(scanner, "tiff", folder, progress)
    from mailslot_plugins.scan.assemble import assemble  # noqa: PLC0415 - Pillow takes a while to import

    try:
        await to_thread.run_sync(assemble, pages, encoding, target, scanner.resolution)
    except OSError as error:
        raise InputError(
            f"The scan cannot be stored: {error.strerror}. Nothing was sent.",
            stage="data",
            cause="spool_full",
            detail=str(error),
        ) from error
    return [await to_thread.run_sync(inspect_file, target)]
