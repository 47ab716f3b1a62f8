"""Documents made ready for a printer: looked through, and converted where it does not take them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mailslot_plugins.intake.process import IntakeError, run_task
from mailslot_plugins.printers.formats import MEDIA_TYPES, SUFFIXES, choose_format

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot_plugins.intake.limits import Limits
    from mailslot_plugins.printers.printer import Document

A4 = "iso_a4_210x297mm"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a printer takes.

    Attributes:
        formats: the media types; empty for any.
        dpi: dots an inch of pages that are rendered.
        color: whether it prints colours.
        media: the paper that is in it, as PWG 5101.1 names its size.
        raster_types: the kinds of PWG raster that it takes, such as ``sgray_8``; empty where it does not say.
        back: how it wants the back of a sheet in PWG raster (``pwg-raster-document-sheet-back``).
        copies: the most copies that it makes of one document; more are handed over as documents of their own.
        limits: what a conversion may cost; None for the usual ones.
    """

    formats: tuple[str, ...]
    dpi: int = 300
    color: bool = True
    media: str = A4
    raster_types: tuple[str, ...] = ()
    back: str = "normal"
    copies: int = 1000
    limits: Limits | None = None


async def prepare(document: Document, folder: Path, wanted: Wanted) -> list[Document]:
    """Return the documents that a printer takes in place of one, in order.

    Args:
        document: what is to be printed.
        folder: where converted files go.
        wanted: what the printer takes.

    Raises:
        IntakeError: the document cannot be opened, has too many pages, or cannot become what the printer takes.
    """
    media_type = choose_format(document.kind, wanted.formats)
    if media_type is None:
        raise IntakeError("The printer takes no documents of this kind.")
    color = wanted.color and document.color != "monochrome"
    said = await run_task(
        "printable",
        {
            "path": str(document.path),
            "kind": document.kind,
            "into": media_type,
            "as_is": media_type == MEDIA_TYPES.get(document.kind),
            "name": f"{document.path.stem}-print",
            "suffix": SUFFIXES[media_type],
            "dpi": wanted.dpi,
            "color": color,
            "raster_types": list(wanted.raster_types),
            "media": document.media or wanted.media,
            "duplex": document.sides or "one-sided",
            "back": wanted.back,
        },
        folder,
        wanted.limits,
    )
    files = [folder / name for name in said["files"]] or [document.path]
    prepared = [replace(document, path=path, media_type=media_type) for path in files]
    # A printer that makes one copy is handed as many documents as copies are wanted.
    if document.copies > wanted.copies:
        prepared = [replace(each, copies=1) for each in prepared] * document.copies
    return prepared
