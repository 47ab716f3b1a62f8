"""Fields with parameters, such as Content-Type, in all the forms in which programs write them (RFC 2045, RFC 2231)."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from mailslot_plugins.intake.charsets import decode
from mailslot_plugins.intake.header_text import header_text

MAX_FIELD: Final = 16_384
"""Octets of a field that are looked at."""

_MOST: Final = 100
_VALUE: Final = re.compile(rb"[\s\"]*([^\s;,\"]*)")
_NAME: Final = re.compile(rb"[\s;]*([^\s;=\"]+)\s*(=?)\s*")
_COMMENT: Final = re.compile(rb"\([^()]*\)")
_SECTION: Final = re.compile(r"(.+?)(?:\*(\d{1,4}))?(\*)?")
_PLAIN: Final = frozenset({"charset", "boundary", "smime-type", "report-type", "protocol", "type"})
"""Parameters in which nobody writes a parenthesis that is meant."""


def split_field(field: bytes) -> tuple[str, dict[str, bytes]]:
    """Return a field's value, in lower case, and its parameters as they are written; never fails.

    Names are in lower case. The first one of a name counts.
    """
    field = field[:MAX_FIELD]
    value = _VALUE.match(field)
    assert value is not None  # noqa: S101 - it matches nothing, too
    found: dict[str, bytes] = {}
    at = value.end()
    while at < len(field) and len(found) < _MOST:
        name = _NAME.match(field, at)
        if name is None:
            at += 1
            continue
        at = name.end()
        if not name[2]:
            continue
        said, at = _parameter(field, at)
        found.setdefault(name[1].decode("latin-1").casefold(), said)
    return value[1].decode("latin-1").casefold(), found


def parameter(parameters: dict[str, bytes], name: str, charset: str = "") -> str | None:
    """Return a parameter's text, put together and decoded; None where there is none.

    Args:
        parameters: what `split_field` returned.
        name: its name, in lower case.
        charset: that of the mail's text, for raw octets.
    """
    sections: dict[int, tuple[bytes, bool]] = {}
    for key, said in parameters.items():
        parts = _SECTION.fullmatch(key)
        if parts and parts[1] == name and key != name:
            sections.setdefault(int(parts[2] or 0), (said, bool(parts[3])))
    if sections:
        return _continued(sections, charset)
    if name not in parameters:
        return None
    said = parameters[name]
    if name in _PLAIN:
        said = _COMMENT.sub(b"", said).strip()
    return header_text(said, charset)


def _parameter(field: bytes, at: int) -> tuple[bytes, int]:
    """Return a parameter's value, and where the next one begins."""
    if field[at : at + 1] != b'"':
        end = field.find(b";", at)
        end = len(field) if end < 0 else end
        return field[at:end].strip(), end + 1
    kept = bytearray()
    at += 1
    while at < len(field):
        octet = field[at]
        if octet == 0x5C and at + 1 < len(field):  # a backslash
            following = field[at + 1]
            # Only these need one; elsewhere it is that of a path on Windows.
            kept += bytes([following]) if following in b'"\\' else bytes([octet, following])
            at += 2
            continue
        if octet == 0x22:  # the closing quotation mark
            return bytes(kept), at + 1
        kept.append(octet)
        at += 1
    return bytes(kept).rstrip(), at


def _continued(sections: dict[int, tuple[bytes, bool]], charset: str) -> str:
    label = ""
    whole = b""
    for number, (said, extended) in sorted(sections.items()):
        octets = said
        if extended:
            if number == min(sections) and octets.count(b"'") >= 2:
                name, _, octets = octets.split(b"'", 2)
                label = name.decode("latin-1")
            octets = unquote_to_bytes(octets)
        whole += octets
    # Some put encoded words into continuations.
    return header_text(whole, charset) if b"=?" in whole and not label else decode(whole, label, charset)
