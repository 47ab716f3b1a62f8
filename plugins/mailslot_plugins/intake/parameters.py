"""Parses fields with parameters, for example Content-Type, as programs write them (RFC 2045, RFC 2231)."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from mailslot_plugins.intake.charsets import decode
from mailslot_plugins.intake.header_text import decode_header

MAX_FIELD: Final = 16_384
"""The most octets of a field that are parsed."""

_MAX_PARAMETERS: Final = 100
_VALUE: Final = re.compile(rb"[\s\"]*([^\s;,\"]*)")
_NAME: Final = re.compile(rb"[\s;]*([^\s;=\"]+)\s*(=?)\s*")
_COMMENT: Final = re.compile(rb"\([^()]*\)")
_SECTION: Final = re.compile(r"(.+?)(?:\*(\d{1,4}))?(\*)?")
_WITHOUT_PARENTHESES: Final = frozenset({"charset", "boundary", "smime-type", "report-type", "protocol", "type"})
"""Parameters in which a parenthesis is always a comment."""


def split_field(field: bytes) -> tuple[str, dict[str, bytes]]:
    """Return a field's value, in lower case, and its raw parameters; never fails.

    Parameter names are in lower case; the first of a name counts.
    """
    field = field[:MAX_FIELD]
    value = _VALUE.match(field)
    assert value is not None  # noqa: S101 - it matches nothing, too
    found: dict[str, bytes] = {}
    at = value.end()
    while at < len(field) and len(found) < _MAX_PARAMETERS:
        name = _NAME.match(field, at)
        if name is None:
            at += 1
            continue
        at = name.end()
        if not name[2]:
            continue
        value_octets, at = _parse_value(field, at)
        found.setdefault(name[1].decode("latin-1").casefold(), value_octets)
    return value[1].decode("latin-1").casefold(), found


def get_parameter(parameters: dict[str, bytes], name: str, charset: str = "") -> str | None:
    """Return a parameter, joined and decoded; None if it is missing.

    Args:
        parameters: the result of `split_field`.
        name: its name, in lower case.
        charset: the charset of the mail's text, for raw octets.
    """
    sections: dict[int, tuple[bytes, bool]] = {}
    for key, value_octets in parameters.items():
        parts = _SECTION.fullmatch(key)
        if parts and parts[1] == name and key != name:
            sections.setdefault(int(parts[2] or 0), (value_octets, bool(parts[3])))
    if sections:
        return _join_sections(sections, charset)
    if name not in parameters:
        return None
    value_octets = parameters[name]
    if name in _WITHOUT_PARENTHESES:
        value_octets = _COMMENT.sub(b"", value_octets).strip()
    return decode_header(value_octets, charset)


def _parse_value(field: bytes, at: int) -> tuple[bytes, int]:
    """Return a parameter's value, and the position of the next one."""
    if field[at : at + 1] != b'"':
        end = field.find(b";", at)
        end = len(field) if end < 0 else end
        return field[at:end].strip(), end + 1
    unquoted = bytearray()
    at += 1
    while at < len(field):
        octet = field[at]
        if octet == 0x5C and at + 1 < len(field):  # a backslash
            next_octet = field[at + 1]
            # Only these are escaped; any other backslash is part of a Windows path.
            unquoted += bytes([next_octet]) if next_octet in b'"\\' else bytes([octet, next_octet])
            at += 2
            continue
        if octet == 0x22:  # the closing quotation mark
            return bytes(unquoted), at + 1
        unquoted.append(octet)
        at += 1
    return bytes(unquoted).rstrip(), at


def _join_sections(sections: dict[int, tuple[bytes, bool]], charset: str) -> str:
    label = ""
    joined = b""
    for number, (value_octets, extended) in sorted(sections.items()):
        octets = value_octets
        if extended:
            if number == min(sections) and octets.count(b"'") >= 2:
                name, _, octets = octets.split(b"'", 2)
                label = name.decode("latin-1")
            octets = unquote_to_bytes(octets)
        joined += octets
    # Some programs put encoded words into continuations.
    return decode_header(joined, charset) if b"=?" in joined and not label else decode(joined, label, charset)
