"""Decodes content transfer encodings (RFC 2045 section 6) leniently."""

from __future__ import annotations

import re
from binascii import Error, a2b_base64, a2b_qp, a2b_uu
from typing import Final

_TOKEN: Final = re.compile(rb"[a-z0-9-]+")
_COMMENT: Final = re.compile(rb"\([^()]*\)")
_BASE64_LINE: Final = re.compile(rb"[A-Za-z0-9+/]*={0,2}")
_NOT_BASE64: Final = re.compile(rb"[^A-Za-z0-9+/=]")
_SOFT_BREAK: Final = re.compile(rb"=[ \t]+(\r?\n)")
_UU: Final = frozenset({"uuencode", "x-uuencode", "x-uue", "uue"})
_SAMPLE_SIZE: Final = 100_000
_SPACE: Final = b" \t\r\n\v\f"


def encoding_of(field: bytes) -> str:
    """Return the name in Content-Transfer-Encoding, in lower case, without blanks, quotation marks and comments."""
    found = _TOKEN.search(_COMMENT.sub(b"", field[:200].lower()))
    return found[0].decode("ascii") if found else ""


def decode_body(body: bytes, encoding: str) -> bytes:
    """Decode a body; never fails. With an unknown encoding, the body is returned unchanged.

    Args:
        body: the encoded body.
        encoding: the result of `encoding_of`.
    """
    if encoding == "base64":
        return decode_base64(body)
    if encoding == "quoted-printable":
        return a2b_qp(_SOFT_BREAK.sub(rb"=\1", body))
    return decode_uu(body) if encoding in _UU else body


def is_base64(body: bytes) -> bool:
    """Return whether a body is base64, except for at most 1 % of stray octets."""
    found = body.translate(None, _SPACE)
    return len(_NOT_BASE64.findall(found)) * 100 <= len(found)


def is_mostly_base64(body: bytes) -> bool:
    """Return whether at least half of a text's lines are base64; damage affects only the other lines."""
    lines = [line for line in body[:_SAMPLE_SIZE].split(b"\n") if line.strip()]
    return sum(_BASE64_LINE.fullmatch(line.strip()) is not None for line in lines) * 2 >= len(lines)


def decode_base64(body: bytes) -> bytes:
    """Decode base64: all of several concatenated texts, but not the footer of a mailing list."""
    if b"=" in body:
        body = _strip_footer(body)
    found: list[bytes] = []
    for piece in _NOT_BASE64.sub(b"", body).split(b"="):
        complete = piece[: len(piece) - (len(piece) % 4 == 1)]
        if complete:
            try:
                found.append(a2b_base64(complete + b"=" * (-len(complete) % 4)))
            except Error:
                continue
    return b"".join(found)


def _strip_footer(body: bytes) -> bytes:
    """Return a body up to the first line after its padding that is not base64."""
    end = body.find(b"=")
    end = body.find(b"\n", end)
    while 0 <= end < len(body):
        following = body.find(b"\n", end + 1)
        following = len(body) if following < 0 else following
        if not _BASE64_LINE.fullmatch(body[end:following].translate(None, _SPACE)):
            return body[:end]
        end = following
    return body


def decode_uu(body: bytes) -> bytes:
    """Decode uuencoded text between ``begin`` and ``end``; all of it without these lines."""
    lines = body.splitlines()
    start = next((at for at, line in enumerate(lines) if line.startswith(b"begin ")), -1)
    found = bytearray()
    for line in lines[start + 1 :]:
        if line.strip() in {b"end", b"`"}:
            break
        try:
            found += a2b_uu(line)
        except Error:
            # Some programs pad lines wrongly; the first character gives the number of octets.
            try:
                found += a2b_uu(line[: 1 + (((line[0] - 32) & 63) * 4 + 5) // 3])
            except (Error, IndexError):
                continue
    return bytes(found)
