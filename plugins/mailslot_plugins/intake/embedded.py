"""Files that stand undecoded in a mail's text: nobody wants pages of base64 on paper."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mailslot_plugins.intake.refused import Refused
from mailslot_plugins.intake.transfer import decode_base64, decode_uu

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST_LINES: Final = 10
"""Lines of base64, one below the other, that no person has written."""

_LONG_LINE: Final = 1000
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]{40,}={0,2}|[A-Za-z0-9+/]{1,}={1,2}")
_LAST: Final = re.compile(rb"[A-Za-z0-9+/]{2,}={0,2}")
_UU: Final = re.compile(rb"begin [0-7]{3,4} ([^\r\n]{1,200})")
_UU_BASE64: Final = re.compile(rb"begin-base64 [0-7]{3,4} ([^\r\n]{1,200})")
_ARMOUR: Final = re.compile(rb"-----BEGIN PGP ([A-Z ]{3,40})-----")
_LEAD: Final = re.compile(rb"content-[a-z-]+:.*|--[!-~]{5,}|[ \t]+[a-z-]+\*?=.*", re.IGNORECASE)
_NAME: Final = re.compile(rb"name\*?=\s*\"?([^\";\r\n]{1,200})", re.IGNORECASE)
_MAX_FILES: Final = 20

File = tuple[bytes, bytes]
"""A name, which may be empty, and octets."""


def take_files(text: bytes) -> tuple[bytes, list[File]]:
    """Return a text without the files that stand in it, and these, decoded.

    Raises:
        Refused: it is encrypted by PGP.
    """
    lines = text.split(b"\n")
    kept: list[bytes] = []
    files: list[File] = []
    at = 0
    while at < len(lines):
        line = lines[at].strip()
        end = at
        if len(files) < _MAX_FILES:
            end, file = _file_at(lines, at, line)
            if file is not None:
                name, octets = file
                files.append((name or _lead(kept), octets))
        if end == at:
            kept.append(lines[at])
            end = at + 1
        at = end
    return b"\n".join(kept), files


def _file_at(lines: Sequence[bytes], at: int, line: bytes) -> tuple[int, File | None]:
    """Return where a file that begins at a line ends, and the file; the same line where none does."""
    if line.startswith(b"begin") and (found := _UU.fullmatch(line) or _UU_BASE64.fullmatch(line)):
        return _uu(lines, at, found)
    if line.startswith(b"=ybegin "):
        end = _until(lines, at, b"=yend")
        return end, (_name_of_yenc(line), _yenc(lines[at + 1 : end - 1]))
    if line.startswith(b"-----BEGIN PGP ") and (armour := _ARMOUR.fullmatch(line)):
        if armour[1] == b"MESSAGE":
            raise Refused("The mail is encrypted.")
        # Keys and signatures are for programs.
        return (at, None) if armour[1] == b"SIGNED MESSAGE" else (_until(lines, at, b"-----END PGP "), None)
    if len(line) >= 40 and _BASE64.fullmatch(line):
        return _base64(lines, at, len(line))
    return at, None


def _uu(lines: Sequence[bytes], at: int, found: re.Match[bytes]) -> tuple[int, File | None]:
    following = lines[at + 1].rstrip(b"\r") if at + 1 < len(lines) else b""
    if found.re is _UU_BASE64:
        end = _until(lines, at, b"====")
        return end, (found[1].strip(), decode_base64(b"\n".join(lines[at + 1 : end])))
    # The first letter of a line says how many octets it has.
    if not following or not 0 <= len(following) - 1 - (((following[0] - 32) & 63) + 2) // 3 * 4 <= 2:
        return at, None
    end = _until(lines, at, b"end")
    return end, (found[1].strip(), decode_uu(b"\n".join(lines[at:end])))


def _base64(lines: Sequence[bytes], at: int, length: int) -> tuple[int, File | None]:
    end = at
    while end < len(lines) and len(line := lines[end].strip()) == length and _BASE64.fullmatch(line):
        end += 1
    if end < len(lines) and len(line := lines[end].strip()) < length and _LAST.fullmatch(line):
        end += 1
    if end - at < LEAST_LINES and length < _LONG_LINE:
        return at, None
    return end, (b"", decode_base64(b"".join(lines[at:end])))


def _until(lines: Sequence[bytes], at: int, mark: bytes) -> int:
    """Return the line behind the one that begins with a mark; the end where none does."""
    for number in range(at + 1, len(lines)):
        line = lines[number].strip()
        if line == mark or (len(mark) > 3 and line.startswith(mark)):
            return number + 1
    return len(lines)


def _lead(kept: list[bytes]) -> bytes:
    """Take the header of a part that stands above it away, and return the name that it gives."""
    name = b""
    count = 0
    while kept and count < 12 and (not (line := kept[-1].rstrip()) or _LEAD.fullmatch(line)):
        found = _NAME.search(kept.pop())
        name = found[1] if found else name
        count += 1
    return name


def _name_of_yenc(line: bytes) -> bytes:
    return line.partition(b" name=")[2].strip()[:200]


def _yenc(lines: Sequence[bytes]) -> bytes:
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
