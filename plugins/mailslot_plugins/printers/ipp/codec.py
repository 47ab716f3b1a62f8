"""Encodes requests and decodes responses of the Internet Printing Protocol (RFC 8010 section 3)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from mailslot.plugin import ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class Tag(IntEnum):
    """Group delimiters and value types (RFC 8010 section 3.5)."""

    OPERATION = 0x01
    JOB = 0x02
    END = 0x03
    PRINTER = 0x04
    UNSUPPORTED = 0x05
    INTEGER = 0x21
    BOOLEAN = 0x22
    ENUM = 0x23
    OCTETS = 0x30
    DATE_TIME = 0x31
    RESOLUTION = 0x32
    RANGE = 0x33
    BEGIN_COLLECTION = 0x34
    TEXT_WITH_LANGUAGE = 0x35
    NAME_WITH_LANGUAGE = 0x36
    END_COLLECTION = 0x37
    TEXT = 0x41
    NAME = 0x42
    KEYWORD = 0x44
    URI = 0x45
    CHARSET = 0x47
    LANGUAGE = 0x48
    MIME_TYPE = 0x49
    MEMBER_NAME = 0x4A


Value: TypeAlias = "int | bool | str | bytes | tuple[int, ...] | Mapping[str, tuple[Value, ...]] | None"
"""A value: integers and enums as int, texts as str, ranges and resolutions as tuples, collections as mappings, values
of unknown type as bytes, and out-of-band values as None."""

MAX_OCTETS: Final = 1 << 20
"""The most octets that are decoded."""

_MAX_TAGS: Final = 20_000
"""The most groups and values that are read: a megabyte could hold a million empty groups, which take long to decode."""

_MAX_DEPTH: Final = 8
_FIRST_VALUE_TAG: Final = 0x10
_NO_VALUE: Final = range(0x10, 0x20)
_TEXTS: Final = range(0x40, 0x60)
_TUPLES: Final = {Tag.RESOLUTION: ">iib", Tag.RANGE: ">ii"}


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of a request."""

    tag: Tag
    name: str
    values: tuple[int | bool | str | bytes, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """A group of attributes of a response, each with its values."""

    tag: int
    attributes: dict[str, tuple[Value, ...]] = field(default_factory=dict[str, "tuple[Value, ...]"])


@dataclass(frozen=True, slots=True)
class Response:
    """A printer's response.

    Attributes:
        status: the status code; below 0x100 it means success (RFC 8011 appendix B).
        request_id: the identifier of the request.
        groups: the attributes, by group.
    """

    status: int
    request_id: int
    groups: tuple[Group, ...]

    def group(self, tag: Tag) -> Mapping[str, tuple[Value, ...]]:
        """Return the attributes of the first group with this tag; empty if there is none."""
        found = [group for group in self.groups if group.tag == tag]
        return found[0].attributes if found else {}


def encode(
    operation: int,
    request_id: int,
    groups: Sequence[tuple[Tag, Sequence[Attribute]]],
    *,
    version: tuple[int, int] = (2, 0),
) -> bytes:
    """Encode a request, which a document may follow.

    Args:
        operation: the operation's code (RFC 8011 section 5.4.15).
        request_id: any positive number.
        groups: each group's tag and attributes, the operation group first.
        version: the version of the protocol.
    """
    pieces = [struct.pack(">BBHI", *version, operation, request_id)]
    for tag, attributes in groups:
        pieces.append(bytes([tag]))
        for attribute in attributes:
            name = attribute.name.encode()
            for value in attribute.values:
                octets = _encode_value(value)
                pieces.append(struct.pack(">BH", attribute.tag, len(name)) + name)
                pieces.append(struct.pack(">H", len(octets)) + octets)
                name = b""  # further values of the same attribute have no name (RFC 8010 section 3.1.5)
    pieces.append(bytes([Tag.END]))
    return b"".join(pieces)


def decode(octets: bytes) -> Response:
    """Decode a response; octets after it are ignored.

    Raises:
        ServerError: the octets are not a response.
    """
    try:
        _, status, request_id = struct.unpack_from(">HHI", octets)
        return Response(status, request_id, tuple(_Reader(octets[:MAX_OCTETS], 8).groups()))
    except (struct.error, IndexError, ValueError) as error:
        raise ServerError(
            "The printer's answer is not IPP.", stage="greeting", cause="protocol_error", detail=str(error)
        ) from None


def _encode_value(value: int | bool | str | bytes) -> bytes:  # noqa: FBT001 - a value like the others
    match value:
        case bool():
            return bytes([value])
        case int():
            return struct.pack(">i", value)
        case str():
            return value.encode()
        case bytes():
            return value


class _Reader:
    """Reads attributes in sequence."""

    def __init__(self, octets: bytes, position: int) -> None:
        self._octets = octets
        self._position = position
        self._tags = 0

    def groups(self) -> Iterator[Group]:
        group: int | None = None
        attributes: dict[str, list[Value]] = {}
        name = ""
        while True:
            tag = self._read_tag()
            if tag < _FIRST_VALUE_TAG:
                if group is not None:
                    yield Group(group, _freeze(attributes))
                if tag == Tag.END:
                    return
                group, attributes, name = tag, {}, ""
                continue
            name = self._read_field().decode("ascii", "replace") or name
            value = self._read_value(tag, 0)
            if group is None or not name:
                raise ValueError("a value stands outside of an attribute")
            attributes.setdefault(name, []).append(value)

    def _read_tag(self) -> int:
        self._tags += 1
        if self._tags > _MAX_TAGS:
            raise ValueError("it has too many groups and values")
        tag = self._octets[self._position]
        self._position += 1
        return tag

    def _read_field(self) -> bytes:
        (length,) = struct.unpack_from(">H", self._octets, self._position)
        start = self._position + 2
        self._position = start + length
        if self._position > len(self._octets):
            raise ValueError("a field is truncated")
        return self._octets[start : self._position]

    def _read_value(self, tag: int, depth: int) -> Value:
        octets = self._read_field()
        if tag == Tag.BEGIN_COLLECTION:
            return self._read_collection(depth + 1)
        return _decode_value(tag, octets)

    def _read_collection(self, depth: int) -> Mapping[str, tuple[Value, ...]]:
        """Read the members of a collection (RFC 8010 section 3.1.6)."""
        if depth > _MAX_DEPTH:
            raise ValueError("collections are nested too deeply")
        members: dict[str, list[Value]] = {}
        name = ""
        while True:
            tag = self._read_tag()
            self._read_field()
            if tag == Tag.END_COLLECTION:
                self._read_field()
                return _freeze(members)
            if tag == Tag.MEMBER_NAME:
                name = self._read_field().decode("ascii", "replace")
                continue
            members.setdefault(name, []).append(self._read_value(tag, depth))


def _freeze(attributes: Mapping[str, list[Value]]) -> dict[str, tuple[Value, ...]]:
    return {name: tuple(values) for name, values in attributes.items()}


def _decode_value(tag: int, octets: bytes) -> Value:
    """Decode a value other than a collection (RFC 8010 section 3.9)."""
    if tag in _NO_VALUE:
        return None
    if tag in {Tag.INTEGER, Tag.ENUM}:
        if len(octets) != 4:
            raise ValueError("an integer does not have four octets")
        return int.from_bytes(octets, "big", signed=True)
    if tag == Tag.BOOLEAN:
        return octets != b"\0"
    if tag in _TUPLES:
        return struct.unpack(_TUPLES[Tag(tag)], octets)
    if tag in {Tag.TEXT_WITH_LANGUAGE, Tag.NAME_WITH_LANGUAGE}:
        (length,) = struct.unpack_from(">H", octets)
        octets = octets[length + 4 :]
    elif tag not in _TEXTS:
        return octets
    return octets.decode("utf-8", "replace")
