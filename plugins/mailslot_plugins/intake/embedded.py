"""Extracts files that are embedded in a mail's text (base64, uuencode, yEnc), so that they are not printed as text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mailslot_plugins.intake.refusal import IntakeRefusedError
from mailslot_plugins.intake.transfer import decode_base64, decode_uu

if TYPE_CHECKING:
    from collections.abc import Sequence

MIN_BASE64_LINES: Final = 10
"""Consecutive lines of base64 that count as a file."""

_LONG_LINE_LENGTH: Final = 1000
_BASE64_LINE: Final = re.compile(rb"[A-Za-z0-9+/]{40,}={0,2}|[A-Za-z0-9+/]{1,}={1,2}")
_LAST_BASE64_LINE: Final = re.compile(rb"[A-Za-z0-9+/]{2,}={0,2}")
_UU: Final = re.compile(rb"begin [0-7]{3,4} ([^\r\n]{1,200})")
_UU_BASE64: Final = re.compile(rb"begin-base64 [0-7]{3,4} ([^\r\n]{1,200})")
_PGP_ARMOR: Final = re.compile(rb"-----BEGIN PGP ([A-Z ]{3,40})-----")
_PART_HEADER_LINE: Final = re.compile(rb"content-[a-z-]+:.*|--[!-~]{5,}|[ \t]+[a-z-]+\*?=.*", re.IGNORECASE)
_NAME: Final = re.compile(rb"name\*?=\s*\"?([^\";\r\n]{1,200})", re.IGNORECASE)
_MAX_FILES: Final = 20

EmbeddedFile = tuple[bytes, bytes]
"""A file's name, which may be empty, and its octets."""


def extract_files(text: bytes) -> tuple[bytes, list[EmbeddedFile]]:
    """Return a text without its embedded files, and the decoded files.

    Raises:
        IntakeRefusedError: it is encrypted with PGP.
    """
    lines = text.split(b"\n")
    kept: list[bytes] = []
    files: list[EmbeddedFile] = []
    at = 0
    while at < len(lines):
        line = lines[at].strip()
        end = at
        if len(files) < _MAX_FILES:
            end, file = _file_at(lines, at, line)
            if file is not None:
                name, octets = file
                files.append((name or _pop_part_header(kept), octets))
        if end == at:
            kept.append(lines[at])
            end = at + 1
        at = end
    return b"\n".join(kept), files


def _file_at(lines: Sequence[bytes], at: int, line: bytes) -> tuple[int, EmbeddedFile | None]:
    """Return the end of a file that begins at a line, and the file; the same line if none begins there."""
    if line.startswith(b"begin") and (found := _UU.fullmatch(line) or _UU_BASE64.fullmatch(line)):
        return _decode_uu_at(lines, at, found)
    if line.startswith(b"=ybegin "):
        end = _find_end(lines, at, b"=yend")
        return end, (_yenc_name(line), _decode_yenc(lines[at + 1 : end - 1]))
    if line.startswith(b"-----BEGIN PGP ") and (armor := _PGP_ARMOR.fullmatch(line)):
        if armor[1] == b"MESSAGE":
            raise IntakeRefusedError("The mail is encrypted.")
        # Keys and signatures are dropped.
        return (at, None) if armor[1] == b"SIGNED MESSAGE" else (_find_end(lines, at, b"-----END PGP "), None)
    if len(line) >= 40 and _BASE64_LINE.fullmatch(line):
        return _decode_base64_at(lines, at, len(line))
    return at, None


def _decode_uu_at(lines: Sequence[bytes], at: int, found: re.Match[bytes]) -> tuple[int, EmbeddedFile | None]:
    following = lines[at + 1].rstrip(b"\r") if at + 1 < len(lines) else b""
    if found.re is _UU_BASE64:
        end = _find_end(lines, at, b"====")
        return end, (found[1].strip(), decode_base64(b"\n".join(lines[at + 1 : end])))
    # The first character of a line gives its number of octets.
    if not following or not 0 <= len(following) - 1 - (((following[0] - 32) & 63) + 2) // 3 * 4 <= 2:
        return at, None
    end = _find_end(lines, at, b"end")
    return end, (found[1].strip(), decode_uu(b"\n".join(lines[at:end])))


def _decode_base64_at(lines: Sequence[bytes], at: int, length: int) -> tuple[int, EmbeddedFile | None]:
    end = at
    while end < len(lines) and len(line := lines[end].strip()) == length and _BASE64_LINE.fullmatch(line):
        end += 1
    if end < len(lines) and len(line := lines[end].strip()) < length and _LAST_BASE64_LINE.fullmatch(line):
        end += 1
    if end - at < MIN_BASE64_LINES and length < _LONG_LINE_LENGTH:
        return at, None
    return end, (b"", decode_base64(b"".join(lines[at:end])))


def _find_end(lines: Sequence[bytes], at: int, end_mark: bytes) -> int:
    """Return the line after the one that begins with an end mark; the end of the text if there is none."""
    for number in range(at + 1, len(lines)):
        line = lines[number].strip()
        if line == end_mark or (len(end_mark) > 3 and line.startswith(end_mark)):
            return number + 1
    return len(lines)


def _pop_part_header(kept: list[bytes]) -> bytes:
    """Remove a part's header above a file, and return the file name in it."""
    name = b""
    count = 0
    while kept and count < 12 and (not (line := kept[-1].rstrip()) or _PART_HEADER_LINE.fullmatch(line)):
        found = _NAME.search(kept.pop())
        name = found[1] if found else name
        count += 1
    return name


def _yenc_name(line: bytes) -> bytes:
    return line.partition(b" name=")[2].strip()[:200]


def _decode_yenc(lines: Sequence[bytes]) -> bytes:
    found = bytearray()
    for line in lines:
        if line.startswith(b"=ypart "):
            continue
        escaped = False
        for octet in line.rstrip(b"\r"):
            if octet == 0x3D and not escaped:
                escaped = True
                continue
            found.append((octet - (106 if escaped else 42)) & 255)
            escaped = False
    return bytes(found)
