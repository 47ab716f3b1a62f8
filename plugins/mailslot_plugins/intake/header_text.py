"""Text in header fields, as it is written: encoded words (RFC 2047) in all their broken forms, and raw octets."""

from __future__ import annotations

import re
from binascii import Error, a2b_base64
from typing import Final

from mailslot_plugins.intake.charsets import decode

MAX_TEXT: Final = 4000
"""Octets of a field whose text is decoded."""

# What is cut off at the field's end is taken all the same; blanks within are no reason to show the code of it.
_WORD: Final = re.compile(rb"=\?([!->@-~]{1,60})\?([bBqQ])\?([^?]*(?:\?(?!=)[^?]*)*)(?:\?=|\Z)")
_LANGUAGE: Final = re.compile(rb"\*.*")
_HEX: Final = re.compile(rb"=([0-9A-Fa-f]{2})")
_NOT_BASE64: Final = re.compile(rb"[^A-Za-z0-9+/]")

_Piece = tuple[bytes, str, bool]
"""Octets, the charset that they are said to be in, and whether they were an encoded word."""


def header_text(octets: bytes, charset: str = "") -> str:
    """Return a field's text on one line.

    Args:
        octets: the field's value, unfolded.
        charset: that of the mail's text, for octets that are neither encoded nor UTF-8.
    """
    pieces: list[_Piece] = []
    end = 0
    octets = octets[:MAX_TEXT]
    for word in _WORD.finditer(octets):
        between = octets[end : word.start()]
        # Blanks between two encoded words are none (RFC 2047 section 6.2).
        if between.strip() or (between and not (pieces and pieces[-1][2])):
            pieces.append((between, "", False))
        label = _LANGUAGE.sub(b"", word[1]).decode("ascii").casefold()
        said = _base64(word[3]) if word[2] in b"bB" else _quoted(word[3])
        if pieces and pieces[-1][2] and pieces[-1][1] == label:
            # A letter may be cut in two by programs that count octets.
            said = pieces.pop()[0] + said
        pieces.append((said, label, True))
        end = word.end()
    pieces.append((octets[end:], "", False))
    return " ".join("".join(decode(said, label, charset) for said, label, _ in pieces).replace("\0", "").split())


def _base64(said: bytes) -> bytes:
    found = b""
    for piece in said.split(b"="):
        kept = _NOT_BASE64.sub(b"", piece)
        kept = kept[: len(kept) - (len(kept) % 4 == 1)]
        try:
            found += a2b_base64(kept + b"=" * (-len(kept) % 4))
        except Error:
            continue
    return found


def _quoted(said: bytes) -> bytes:
    return _HEX.sub(lambda code: bytes([int(code[1], 16)]), said.replace(b"_", b" "))
