"""Prepares documents for a printer: checks them, and converts them if the printer does not accept them."""

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
class PrinterProfile:
    """What a printer accepts.

    Attributes:
        formats: the media types; empty for any.
        dpi: dots per inch of rendered pages.
        color: whether it prints in colour.
        media: its paper, by the PWG 5101.1 name.
        raster_types: the supported kinds of PWG raster, for example ``sgray_8``; empty if unknown.
        back: how it expects the back of a sheet in PWG raster (``pwg-raster-document-sheet-back``).
        copies: the most copies of one document; more are sent as further documents.
        limits: the limits of a conversion; None for the defaults.
    """

    formats: tuple[str, ...]
    dpi: int = 300
    color: bool = True
    media: str = A4
    raster_types: tuple[str, ...] = ()
    back: str = "normal"
    copies: int = 1000
    limits: Limits | None = None


async def prepare(document: Document, folder: Path, profile: PrinterProfile) -> list[Document]:
    """Return the documents to send to a printer for one document, in order.

    Args:
        document: the document.
        folder: where converted files are written.
        profile: what the printer accepts.

    Raises:
        IntakeError: the document cannot be opened or converted, or has too many pages.
    """
    media_type = choose_format(document.kind, profile.formats)
    if media_type is None:
        raise IntakeError("The printer does not accept documents of this kind.")
    color = profile.color and document.color != "monochrome"
    result = await run_task(
        "printable",
        {
            "path": str(document.path),
            "kind": document.kind,
            "into": media_type,
            "as_is": media_type == MEDIA_TYPES.get(document.kind),
            "name": f"{document.path.stem}-print",
            "suffix": SUFFIXES[media_type],
            "dpi": profile.dpi,
            "color": color,
            "raster_types": list(profile.raster_types),
            "media": document.media or profile.media,
            "duplex": document.sides or "one-sided",
            "back": profile.back,
        },
        folder,
        profile.limits,
    )
    files = [folder / name for name in result["files"]] or [document.path]
    prepared = [replace(document, path=path, media_type=media_type) for path in files]
    # A printer without copies gets the document once for each copy.
    if document.copies > profile.copies:
        prepared = [replace(each, copies=1) for each in prepared] * document.copies
    return prepared
