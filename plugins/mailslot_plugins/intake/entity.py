"""The structure of a mail: entities, each a header and a body, found in its octets (RFC 5322, RFC 2045, RFC 2046).

The standard library's parser ends the header at the first line that is none, takes a boundary at its word, and keeps
some ten objects a line; mails that people send have damaged lines and other boundaries than they say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mailslot_plugins.intake.parameters import parameter, split_field
from mailslot_plugins.intake.refused import Refused
from mailslot_plugins.intake.transfer import decode_body, encoding_of

if TYPE_CHECKING:
    from mailslot_plugins.intake.limits import Limits

MAX_FIELDS: Final = 500

_FIELD: Final = re.compile(rb"([!-9;-~]{1,100})[ \t]*:")
_SURE_FIELDS: Final = re.compile(
    rb"(?:content-[a-z-]+|mime-version|from|to|cc|subject|date|message-id|received|return-path|reply-to|sender|"
    rb"x-[!-9;-~]+|in-reply-to|references|delivered-to|dkim-signature|auto-submitted)[ \t]*:",
    re.IGNORECASE,
)
_COMMENT: Final = re.compile(rb"\([^()]*\)")
_FOLD: Final = re.compile(rb"\r*\n")
_GUESSED_BOUNDARY: Final = re.compile(rb"^--([!-~][^\r\n]{0,250})\r?\ncontent-", re.IGNORECASE | re.MULTILINE)
_ENCODED: Final = frozenset({"base64", "quoted-printable"})
"""Encodings that no multipart and no mail within a mail may have, and some have."""

_MESSAGES: Final = frozenset({"message/rfc822", "message/global", "message/news"})


@dataclass(slots=True)
class Entity:
    """A mail or a part of one.

    Attributes:
        fields: its header fields, names in lower case, values unfolded.
        body: its body, as it is in the mail; empty where the children have it.
        default: what it is where it does not say.
        children: the parts of a multipart, the mail in a message/rfc822.
        closed: whether a multipart has an end, or is none.
    """

    fields: list[tuple[str, bytes]]
    body: bytes
    default: str = "text/plain"
    children: list[Entity] = field(default_factory=list["Entity"])
    closed: bool = True
    _type: str = ""
    _parameters: dict[str, bytes] = field(default_factory=dict[str, bytes])
    _disposition: str = ""
    _disposition_parameters: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def __post_init__(self) -> None:
        value, self._parameters = split_field(self.value("content-type") or b"")
        kind, slash, subkind = value.partition("/")
        if slash and kind and subkind:
            self._type = value
        else:
            # No type that there is; what it begins with tells enough, as in «text» and «multipart».
            self._type = {"text": "text/plain", "html": "text/html", "multipart": "multipart/mixed"}.get(
                kind, self.default if not value else "text/plain"
            )
        self._disposition, self._disposition_parameters = split_field(self.value("content-disposition") or b"")

    def value(self, name: str) -> bytes | None:
        """Return the first field of this name, in lower case; None where there is none."""
        return next((value for field_name, value in self.fields if field_name == name), None)

    @property
    def content_type(self) -> str:
        """Its media type, in lower case."""
        return self._type

    @property
    def disposition(self) -> str:
        """How it is meant to be shown: ``inline``, ``attachment``, or empty."""
        return self._disposition

    def parameter(self, name: str, charset: str = "") -> str | None:
        """Return a parameter of its media type, decoded."""
        return parameter(self._parameters, name, charset)

    def boundary(self) -> bytes:
        """Return what is said to be between the parts of a multipart, as it is written."""
        if "boundary" in self._parameters:
            return self._parameters["boundary"]
        return (self.parameter("boundary") or "").encode("utf-8", "replace")

    def name(self, charset: str = "") -> str | None:
        """Return its file's name, decoded; None where it has none."""
        name = parameter(self._disposition_parameters, "filename", charset)
        name = self.parameter("name", charset) if name is None else name
        return None if name is None and self._type.startswith("text/") else name

    @property
    def encoding(self) -> str:
        """Its Content-Transfer-Encoding, in lower case."""
        return encoding_of(self.value("content-transfer-encoding") or b"")

    def decoded(self) -> bytes:
        """Return its body's octets."""
        return decode_body(self.body, self.encoding)

    def is_message(self) -> bool:
        """Whether it is a mail within the mail."""
        return self._type in _MESSAGES


def parse_mail(octets: bytes, limits: Limits) -> Entity:
    """Return a mail's structure.

    Args:
        octets: the mail.
        limits: its parts and its depth.

    Raises:
        Refused: it has too many parts, or they are nested too deeply.
    """
    if b"\r" in octets and b"\n" not in octets:
        # From a Macintosh of long ago.
        octets = octets.replace(b"\r", b"\n")
    root = entity_of(octets)
    waiting = [(root, 0)]
    seen = 0
    while waiting:
        entity, depth = waiting.pop()
        seen += 1
        if seen > limits.parts:
            raise Refused(f"The mail has more than {limits.parts} parts.")
        if depth > limits.depth:
            raise Refused(f"The mail is nested more than {limits.depth} levels deep.")
        if entity.content_type.startswith("multipart/"):
            _split(entity, limits)
        elif entity.is_message():
            inner = entity.decoded() if entity.encoding in _ENCODED else entity.body
            entity.children = [entity_of(inner.lstrip(b"\r\n"))]
            entity.body = b""
        waiting += [(child, depth + 1) for child in reversed(entity.children)]
    return root


def entity_of(octets: bytes, default: str = "text/plain") -> Entity:
    """Return an entity, its header read and its body not looked into."""
    fields, start = read_header(octets)
    return Entity(fields, octets[start:], default)


def read_header(octets: bytes) -> tuple[list[tuple[str, bytes]], int]:
    """Return the fields of a header, and where what follows it begins.

    Lines that are no fields are passed over where fields of a mail follow; otherwise what follows has begun.
    """
    found: list[tuple[str, bytearray]] = []
    at = 0
    while at < len(octets):
        end = octets.find(b"\n", at)
        end = len(octets) if end < 0 else end + 1
        line = octets[at:end]
        if not line.strip(b"\r\n"):
            at = end
            break
        name = _FIELD.match(line)
        if line[:1] in b" \t":
            if found:
                found[-1][1].extend(line)
        elif name is not None and len(found) <= MAX_FIELDS:
            found.append((name[1].decode("ascii").lower(), bytearray(line[name.end() :])))
        elif name is None and not _is_passed_over(octets, at, end):
            break
        at = end
    return [(name, _FOLD.sub(b"", value).replace(b"\0", b"").strip()) for name, value in found[:MAX_FIELDS]], at


def _is_passed_over(octets: bytes, at: int, end: int) -> bool:
    if octets.startswith((b"From ", b">From "), at):
        # Of a mailbox file (RFC 4155).
        return True
    if octets.startswith(b"--", at):
        return False
    following = octets[end : end + 2000]
    blank = re.search(rb"^\r?$", following, re.MULTILINE)
    lines = following[: blank.start() if blank else len(following)].splitlines()[:5]
    return any(_SURE_FIELDS.match(line) for line in lines)


def _split(entity: Entity, limits: Limits) -> None:
    """Give a multipart its parts."""
    body = entity.decoded() if entity.encoding in _ENCODED and b"\n--" not in entity.body else entity.body
    default = "message/rfc822" if entity.content_type == "multipart/digest" else "text/plain"
    boundary = _boundary(entity, body)
    delimiter = re.compile(rb"^--" + re.escape(boundary) + rb"(--)?[ \t]*(?:\r*\n|\Z)", re.MULTILINE)
    start: int | None = None
    entity.closed = False
    for found in delimiter.finditer(body):
        if start is not None:
            _add(entity, body[start : found.start()], default)
        start = found.end()
        if len(entity.children) > limits.parts:
            raise Refused(f"The mail has more than {limits.parts} parts.")
        if found[1]:
            entity.closed = True
            start = None
            break
    if start is not None and body[start:].strip():
        _add(entity, body[start:], default)
    if not entity.children and body.strip():
        # Nothing divides it: it is one text.
        entity.children = [Entity([], body)]
    if entity.content_type != "multipart/encrypted":
        # Its parts have it, and large mails shall not be held once a level.
        entity.body = b""


def _add(entity: Entity, octets: bytes, default: str) -> None:
    # The line's end before a delimiter belongs to the delimiter (RFC 2046 section 5.1.1).
    octets = octets.removesuffix(b"\n").removesuffix(b"\r")
    if octets.strip() or not entity.children:
        entity.children.append(entity_of(octets, default))


def _boundary(entity: Entity, body: bytes) -> bytes:
    """Return the boundary that divides a multipart, and what divides nothing where there is none.

    What is said is tried first as it is, then without the blanks of a fold within its quotation marks; then what
    looks like a boundary is one. A line's end is none.
    """
    said = entity.boundary()[:1000]
    for each in dict.fromkeys(
        (said.rstrip(), said.strip(), re.sub(rb"\s+", b"", said), _COMMENT.sub(b"", said).strip())
    ):
        if each and (body.startswith(b"--" + each) or b"\n--" + each in body):
            return each
    guessed = _GUESSED_BOUNDARY.search(body)
    return guessed[1].rstrip() if guessed else b"\n"
