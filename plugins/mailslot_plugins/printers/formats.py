"""Kinds of documents, their media types, and what a document becomes for a printer that does not take it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mailslot_plugins.intake.kinds import Kind

PDF: Final = "application/pdf"
JPEG: Final = "image/jpeg"
PWG: Final = "image/pwg-raster"

MEDIA_TYPES: Final[Mapping[Kind, str]] = {
    "pdf": PDF,
    "jpeg": JPEG,
    "png": "image/png",
    "tiff": "image/tiff",
    "gif": "image/gif",
    "pwg": PWG,
    "urf": "image/urf",
    "postscript": "application/postscript",
    "pcl": "application/vnd.hp-PCL",
    "pjl": "application/vnd.hp-PCL",
}

SUFFIXES: Final[Mapping[str, str]] = {
    PDF: "pdf",
    JPEG: "jpg",
    PWG: "pwg",
    "image/png": "png",
    "image/tiff": "tif",
    "image/gif": "gif",
    "image/urf": "urf",
    "application/postscript": "ps",
    "application/vnd.hp-PCL": "pcl",
}

CONVERTED: Final[Mapping[Kind, tuple[str, ...]]] = {
    "pdf": (PWG, JPEG),
    "jpeg": (PDF, PWG),
    "png": (PDF, JPEG, PWG),
    "gif": (PDF, JPEG, PWG),
    "bmp": (PDF, JPEG, PWG),
    "webp": (PDF, JPEG, PWG),
    "tiff": (PDF, PWG, JPEG),
    "text": (PDF, PWG, JPEG),
    "html": (PDF, PWG, JPEG),
}
"""What each kind can become, the best first. Text is never handed over as it is: what a printer takes for a command in
it would be done."""


def choose_format(kind: Kind, taken: Collection[str]) -> str | None:
    """Return the media type that a document goes to a printer as; None where it can take none.

    Args:
        kind: the document's.
        taken: the media types that the printer takes; none for one that takes anything.
    """
    own = MEDIA_TYPES.get(kind)
    # What a printer does not tell of a TIFF are the many forms that it can have: converted, it prints everywhere.
    if own is not None and kind != "tiff" and (not taken or own in taken):
        return own
    return next((each for each in CONVERTED.get(kind, ()) if not taken or each in taken), None)
