"""Decodes text in header fields: encoded words (RFC 2047), also malformed ones, and raw octets."""

from __future__ import annotations

import re
from binascii import Error, a2b_base64
from typing import Final

from mailslot_plugins.intake.charsets import decode

MAX_TEXT: Final = 4000
"""The most octets of a field that are decoded."""

# A word that is truncated at the end of the field is decoded too, and so is one with blanks in it.
_WORD: Final = re.compile(rb"=\?([!->@-~]{1,60})\?([bBqQ])\?([^?]*(?:\?(?!=)[^?]*)*)(?:\?=|\Z)")
_LANGUAGE: Final = re.compile(rb"\*.*")
_HEX: Final = re.compile(rb"=([0-9A-Fa-f]{2})")
_NOT_BASE64: Final = re.compile(rb"[^A-Za-z0-9+/]")

_Segment = tuple[bytes, str, bool]
"""Octets, their declared charset, and whether they were an encoded word."""


def decode_header(octets: bytes, charset: str = "") -> str:
    """Return a field's text on one line.

    Args:
        octets: the field's value, unfolded.
        charset: the charset of the mail's text, for octets that are neither encoded nor UTF-8.
    """
    segments: list[_Segment] = []
    end = 0
    octets = octets[:MAX_TEXT]
    for word in _WORD.finditer(octets):
        between = octets[end : word.start()]
        # Blanks between two encoded words are ignored (RFC 2047 section 6.2).
        if between.strip() or (between and not (segments and segments[-1][2])):
            segments.append((between, "", False))
        label = _LANGUAGE.sub(b"", word[1]).decode("ascii").casefold()
        encoded = _decode_b(word[3]) if word[2] in b"bB" else _decode_q(word[3])
        if segments and segments[-1][2] and segments[-1][1] == label:
            # Some programs split a character across two encoded words.
            encoded = segments.pop()[0] + encoded
        segments.append((encoded, label, True))
        end = word.end()
    segments.append((octets[end:], "", False))
    return " ".join(
        "".join(decode(encoded, label, charset) for encoded, label, _ in segments).replace("\0", "").split()
    )


def _decode_b(encoded: bytes) -> bytes:
    found = b""
    for piece in encoded.split(b"="):
        kept = _NOT_BASE64.sub(b"", piece)
        kept = kept[: len(kept) - (len(kept) % 4 == 1)]
        try:
            found += a2b_base64(kept + b"=" * (-len(kept) % 4))
        except Error:
            continue
    return found


def _decode_q(encoded: bytes) -> bytes:
    return _HEX.sub(lambda code: bytes([int(code[1], 16)]), encoded.replace(b"_", b" "))
