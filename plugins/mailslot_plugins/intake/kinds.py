"""What a document is, by its content: names and declared types lie."""

from __future__ import annotations

from typing import Final, Literal

Kind = Literal["pdf", "tiff", "jpeg", "png", "gif", "text", "html", "postscript", "pcl", "pjl", "pwg", "urf", "other"]

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
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"RaS2", "pwg"),
    (b"UNIRAST\0", "urf"),
)

_LANGUAGES: Final = (b"\x1b%-12345X", b"@PJL", b"\x1bE", b"%!PS")
"""What makes a printer leave plain text; it is looked for in all of what passes for text."""


def kind_of(head: bytes) -> Kind:
    """Return what a document is.

    Args:
        head: its first `LOOKED_AT` octets, or all of it.

    Returns:
        ``text`` only where nothing in `head` is a control of a printer's, and ``other`` where nobody can tell.
    """
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    # A PDF may begin with up to a kilobyte of something else (ISO 32000-1 annex H.3.4.1); where that something is a
    # language of printers, it is not taken for a PDF.
    position = head[:1024].find(b"%PDF-")
    if position >= 0:
        return "pdf" if not any(mark in head[:position] for mark in _LANGUAGES) else "other"
    if any(mark in head for mark in _LANGUAGES):
        return "pjl"
    if not _is_text(head):
        return "other"
    opening = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:200].lower()
    return "html" if opening.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) else "text"


def has_printer_language(piece: bytes) -> bool:
    """Tell whether text holds what makes a printer take the rest for commands."""
    return any(mark in piece for mark in _LANGUAGES)


def _is_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    controls = sum(octet < 32 and octet not in b"\t\n\r\f\v" for octet in head)
    return controls * 100 <= len(head)
