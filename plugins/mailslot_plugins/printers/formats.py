"""Kinds of documents, their media types, and the formats that they can be converted to."""

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

CONVERSIONS: Final[Mapping[Kind, tuple[str, ...]]] = {
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
"""The formats that each kind can be converted to, best first. Text is never sent unconverted, because a printer may
execute commands in it."""


def choose_format(kind: Kind, accepted: Collection[str]) -> str | None:
    """Return the media type to send a document as; None if the printer accepts none of them.

    Args:
        kind: the document's kind.
        accepted: the media types that the printer accepts; empty if it accepts any.
    """
    unchanged = MEDIA_TYPES.get(kind)
    # TIFF has many variants, and printers do not say which they support: converted, it prints everywhere.
    if unchanged is not None and kind != "tiff" and (not accepted or unchanged in accepted):
        return unchanged
    return next((each for each in CONVERSIONS.get(kind, ()) if not accepted or each in accepted), None)
