"""Extracts text and files from Outlook's ``winmail.dat`` (MS-OXTNEF).

The only Python library for it is under the LGPL and has had no release since 2021; the needed part of the format is a
simple list of attributes with their lengths.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mailslot_plugins.intake.charsets import decode

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNATURE: Final = b"\x78\x9f\x3e\x22"
_BODY, _ATTACH_TITLE, _ATTACH_DATA, _MESSAGE_PROPERTIES, _ATTACH_BEGIN, _ATTACH_PROPERTIES, _CODE_PAGE = (
    *(0x800C, 0x8010, 0x800F, 0x9003),
    *(0x9002, 0x9005, 0x9007),
)
_BODY_TEXT, _BODY_HTML, _LONG_NAME, _FILE_NAME, _DATA = 0x1000, 0x1013, 0x3707, 0x3704, 0x3701
_STRING8, _UNICODE, _BINARY, _OBJECT = 0x1E, 0x1F, 0x102, 0x0D
_MULTIPLE: Final = 0x1000
_SIZES: Final = {
    **dict.fromkeys((0x01, 0x02, 0x03, 0x04, 0x0A, 0x0B), 4),
    **dict.fromkeys((0x05, 0x06, 0x07, 0x14, 0x40), 8),
    0x48: 16,
}
_MAX_FILES: Final = 100
_MAX_PROPERTIES: Final = 5000
_MAX_DEPTH: Final = 3


@dataclass(slots=True)
class TnefFile:
    """A file: its name, which may be empty, and its octets."""

    name: str = ""
    octets: bytes = b""


@dataclass(slots=True)
class Tnef:
    """The content: plain text, HTML, and files; each may be empty."""

    text: str = ""
    html: bytes = b""
    files: list[TnefFile] = field(default_factory=list[TnefFile])


def read_tnef(octets: bytes, depth: int = 0) -> Tnef | None:
    """Return the readable content of a ``winmail.dat``; None if it is not one."""
    if not octets.startswith(_SIGNATURE) or depth > _MAX_DEPTH:
        return None
    found = Tnef()
    charset = ""
    try:
        for name, value in _attributes(octets):
            if name == _CODE_PAGE and len(value) >= 4:
                charset = f"cp{struct.unpack_from('<I', value)[0]}"
            elif name == _BODY:
                found.text = found.text or decode(value.rstrip(b"\0"), charset)
            elif name == _MESSAGE_PROPERTIES:
                _read_message(found, value, charset)
            elif name == _ATTACH_BEGIN and len(found.files) < _MAX_FILES:
                found.files.append(TnefFile())
            elif found.files:
                _read_attachment(found, name, value, charset, depth)
    except (struct.error, IndexError):
        # What was read before the damage is kept.
        pass
    found.files = [file for file in found.files if file.octets]
    return found


def _read_message(found: Tnef, value: bytes, charset: str) -> None:
    for name, kind, data in _properties(value):
        if name == _BODY_TEXT:
            found.text = _text(kind, data, charset)
        elif name == _BODY_HTML:
            found.html = data if kind == _BINARY else _text(kind, data, charset).encode("utf-8", "replace")


def _read_attachment(found: Tnef, name: int, value: bytes, charset: str, depth: int) -> None:
    file = found.files[-1]
    if name == _ATTACH_DATA:
        file.octets = value
    elif name == _ATTACH_TITLE:
        file.name = file.name or decode(value.rstrip(b"\0"), charset)
    elif name == _ATTACH_PROPERTIES:
        for key, kind, data in _properties(value):
            if key == _LONG_NAME or (key == _FILE_NAME and not file.name):
                file.name = _text(kind, data, charset)
            elif key == _DATA and kind == _OBJECT:
                # A nested mail: an interface identifier, then another TNEF stream.
                inner = read_tnef(data[16:], depth + 1)
                if inner is not None:
                    found.files += inner.files[: _MAX_FILES - len(found.files)]
            elif key == _DATA:
                file.octets = data


def _attributes(octets: bytes) -> Iterator[tuple[int, bytes]]:
    at = len(_SIGNATURE) + 2
    while at + 9 <= len(octets):
        name, _, length = struct.unpack_from("<HHI", octets, at + 1)
        at += 9
        yield name, octets[at : at + length]
        # A checksum follows; it is ignored, so that damaged files are still read.
        at += length + 2


def _properties(value: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield each property's identifier, its type and its first value."""
    count = min(struct.unpack_from("<I", value)[0], _MAX_PROPERTIES)
    at = 4
    for _ in range(count):
        kind, name = struct.unpack_from("<HH", value, at)
        at += 4
        if name >= 0x8000:
            at = _skip_name(value, at)
        single = kind & ~_MULTIPLE
        values = 1
        if kind & _MULTIPLE or single not in _SIZES:
            values = struct.unpack_from("<I", value, at)[0]
            at += 4
        first = b""
        for number in range(values):
            size = _SIZES.get(single)
            if size is None:
                size = struct.unpack_from("<I", value, at)[0]
                at += 4
            if at + size > len(value):
                raise IndexError
            first = value[at : at + size] if not number else first
            at += size + -size % 4
        yield name, single, first


def _skip_name(value: bytes, at: int) -> int:
    """Return the position after a named property's set, and its number or name."""
    is_text, length = struct.unpack_from("<II", value, at + 16)
    return at + 24 + (length + -length % 4 if is_text else 0)


def _text(kind: int, data: bytes, charset: str) -> str:
    text = data.decode("utf-16-le", "replace") if kind == _UNICODE else decode(data, charset)
    return text.rstrip("\0")
