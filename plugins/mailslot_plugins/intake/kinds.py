"""Detects the kind of a document by its first octets, and by its declared type only if they do not decide."""

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

HEAD_SIZE: Final = 4096
"""The octets at the beginning of a document that are inspected."""

_SIGNATURES: Final[tuple[tuple[bytes, Kind], ...]] = (
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
"""Signatures of other files: archives and word processor documents."""

_ESCAPES: Final = (b"\x1b%-12345X", b"\x1bE", b"\x1b&", b"\x1b*")
_LANGUAGES: Final = (b"\x1b%-12345X", b"@PJL", b"\x1bE", b"%!PS")
"""Sequences that switch a printer from plain text to a printer language."""

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


def detect_kind(head: bytes, declared: str = "", name: str = "") -> Kind:
    """Return a document's kind: by its first octets, else by its declared type and name.

    Args:
        head: its first `HEAD_SIZE` octets, or all of it.
        declared: its declared media type; empty for none.
        name: its file name; empty for none.

    Returns:
        the kind; ``text`` only if `head` contains no printer commands, ``other`` if the kind is unknown.
    """
    return _by_signature(head) or _by_declaration(head, declared.lower(), PurePath(name).suffix.lower())


def _by_signature(head: bytes) -> Kind | None:
    for start, kind in _SIGNATURES:
        if head.startswith(start):
            return kind
    if _is_bmp(head):
        return "bmp"
    if head.startswith(b"RIFF"):
        return "webp" if head[8:12] == b"WEBP" else "other"
    # A PDF may begin with up to a kilobyte of other data (ISO 32000-1 annex H.3.4.1), but not with printer commands.
    position = head[:1024].find(b"%PDF-")
    if position >= 0:
        return "other" if has_printer_language(head[:position]) else "pdf"
    return "other" if head.startswith(_CONTAINERS) else None


def _by_declaration(head: bytes, declared: str, suffix: str) -> Kind:
    if b"\0" in head:
        # Binary data may contain such sequences by chance; it is a printer language only if it is declared as one.
        declared_kind = _PRINTER_TYPES.get(declared) or _PRINTER_SUFFIXES.get(suffix)
        return declared_kind if declared_kind and any(mark in head for mark in (*_LANGUAGES, *_ESCAPES)) else "other"
    says_text = declared.startswith("text/") or suffix in _TEXT_SUFFIXES
    # Declared text is rendered as pages, so commands in it have no effect; but text for people has no escapes.
    if any(mark in head for mark in _ESCAPES) or (has_printer_language(head) and not says_text):
        return "pjl"
    if not _is_text(head):
        return "other"
    first_characters = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:200].lower()
    return "html" if first_characters.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) else "text"


def has_printer_language(text: bytes) -> bool:
    """Return whether a text contains a sequence that switches a printer to a printer language."""
    return any(mark in text for mark in _LANGUAGES)


def _is_bmp(head: bytes) -> bool:
    """Return whether it is a Windows or OS/2 bitmap: the two letters of the signature also begin ordinary texts."""
    return head.startswith(b"BM") and len(head) >= 18 and int.from_bytes(head[14:18], "little") in _BMP_HEADERS


_BMP_HEADERS: Final = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
"""The sizes of the second header, by version."""


def _is_text(head: bytes) -> bool:
    controls = sum(octet < 32 and octet not in b"\t\n\r\f\v" for octet in head)
    return controls * 100 <= len(head)
