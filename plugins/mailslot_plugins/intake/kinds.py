"""What a document is: by how it begins, and by what it says that it is only where that does not tell."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal[
    "pdf",
    "tiff",
    "jpeg",
    "png",
    "gif",
    "bmp",
    "webp",
    "text",
    "html",
    "postscript",
    "pcl",
    "pjl",
    "pwg",
    "urf",
    "other",
]

LOOKED_AT: Final = 4096
"""The octets from a document's beginning that decide."""

_STARTS: Final[tuple[tuple[bytes, Kind], ...]] = (
    (b"%!", "postscript"),
    (b"\x04%!", "postscript"),
    (b"\xc5\xd0\xd3\xc6", "postscript"),
    (b"\x1b%-12345X", "pjl"),
    (b"@PJL", "pjl"),
    (b"\x1bE", "pcl"),
    (b"\x1b&", "pcl"),
    (b"\x1b*", "pcl"),
    (b") HP-PCL XL", "pcl"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"RaS2", "pwg"),
    (b"UNIRAST\0", "urf"),
)

_CONTAINERS: Final = (b"PK\3\4", b"\xd0\xcf\x11\xe0", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"{\\rtf")
"""How other files begin that are no documents here: archives, and what word processors write."""

_ESCAPES: Final = (b"\x1b%-12345X", b"\x1bE", b"\x1b&", b"\x1b*")
_LANGUAGES: Final = (b"\x1b%-12345X", b"@PJL", b"\x1bE", b"%!PS")
"""What makes a printer leave plain text; it is looked for in all of what passes for text."""

_PRINTER_TYPES: Final[Mapping[str, Kind]] = {
    **dict.fromkeys(("application/vnd.hp-pcl", "application/vnd.hp-pclxl", "application/x-pcl"), "pcl"),
    **dict.fromkeys(("application/postscript", "application/eps", "application/x-eps"), "postscript"),
    **dict.fromkeys(("application/pjl", "application/x-pjl"), "pjl"),
}
_PRINTER_SUFFIXES: Final[Mapping[str, Kind]] = {
    **dict.fromkeys((".pcl", ".pxl", ".prn", ".pcl6"), "pcl"),
    **dict.fromkeys((".ps", ".eps"), "postscript"),
    ".pjl": "pjl",
}
_TEXT_SUFFIXES: Final = frozenset({".txt", ".text", ".log", ".csv", ".md", ".asc"})


def kind_of(head: bytes, declared: str = "", name: str = "") -> Kind:
    """Return what a document is: first by how it begins, then by what it says that it is.

    Args:
        head: its first `LOOKED_AT` octets, or all of it.
        declared: the media type that it is declared to have; empty for none.
        name: its file name; empty for none.

    Returns:
        ``text`` only where nothing in `head` is a control of a printer's, and ``other`` where nobody can tell.
    """
    return _by_beginning(head) or _by_claim(head, declared.lower(), PurePath(name).suffix.lower())


def _by_beginning(head: bytes) -> Kind | None:
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if _is_bmp(head):
        return "bmp"
    if head.startswith(b"RIFF"):
        return "webp" if head[8:12] == b"WEBP" else "other"
    # A PDF may begin with up to a kilobyte of something else (ISO 32000-1 annex H.3.4.1); where that something is a
    # language of printers, it is not taken for a PDF.
    position = head[:1024].find(b"%PDF-")
    if position >= 0:
        return "other" if has_printer_language(head[:position]) else "pdf"
    return "other" if head.startswith(_CONTAINERS) else None


def _by_claim(head: bytes, declared: str, suffix: str) -> Kind:
    if b"\0" in head:
        # A picture or an archive may hold any octets; only where it says so is it what they mean to a printer.
        said = _PRINTER_TYPES.get(declared) or _PRINTER_SUFFIXES.get(suffix)
        return said if said and any(mark in head for mark in (*_LANGUAGES, *_ESCAPES)) else "other"
    says_text = declared.startswith("text/") or suffix in _TEXT_SUFFIXES
    # What says that it is text is laid out on pages, and commands nobody; no text for people holds an escape, though.
    if any(mark in head for mark in _ESCAPES) or (has_printer_language(head) and not says_text):
        return "pjl"
    if not _is_text(head):
        return "other"
    opening = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:200].lower()
    return "html" if opening.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) else "text"


def has_printer_language(piece: bytes) -> bool:
    """Tell whether text holds what makes a printer take the rest for commands."""
    return any(mark in piece for mark in _LANGUAGES)


def _is_bmp(head: bytes) -> bool:
    """Tell whether it begins as a bitmap of Windows or OS/2: two letters alone are those of many a text."""
    return head.startswith(b"BM") and len(head) >= 18 and int.from_bytes(head[14:18], "little") in _BMP_HEADERS


_BMP_HEADERS: Final = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
"""The octets of the second header, by its version."""


def _is_text(head: bytes) -> bool:
    controls = sum(octet < 32 and octet not in b"\t\n\r\f\v" for octet in head)
    return controls * 100 <= len(head)
