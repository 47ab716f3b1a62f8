"""Parses the structure of a mail into entities, each a header and a body (RFC 5322, RFC 2045, RFC 2046).

The standard library's parser ends the header at the first malformed line, trusts the declared boundary, and keeps some
ten objects per line; real mails have damaged lines and wrong boundaries.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mailslot_plugins.intake.parameters import get_parameter, split_field
from mailslot_plugins.intake.refusal import IntakeRefusedError
from mailslot_plugins.intake.transfer import decode_body, encoding_of

if TYPE_CHECKING:
    from mailslot_plugins.intake.limits import Limits

MAX_FIELDS: Final = 500

_FIELD: Final = re.compile(rb"([!-9;-~]{1,100})[ \t]*:")
_MAIL_FIELDS: Final = re.compile(
    rb"(?:content-[a-z-]+|mime-version|from|to|cc|subject|date|message-id|received|return-path|reply-to|sender|"
    rb"x-[!-9;-~]+|in-reply-to|references|delivered-to|dkim-signature|auto-submitted)[ \t]*:",
    re.IGNORECASE,
)
_COMMENT: Final = re.compile(rb"\([^()]*\)")
_FOLD: Final = re.compile(rb"\r*\n")
_GUESSED_BOUNDARY: Final = re.compile(rb"^--([!-~][^\r\n]{0,250})\r?\ncontent-", re.IGNORECASE | re.MULTILINE)
_IRREGULAR_ENCODINGS: Final = frozenset({"base64", "quoted-printable"})
"""Encodings that multiparts and nested mails must not have, but some do."""

_MESSAGE_TYPES: Final = frozenset({"message/rfc822", "message/global", "message/news"})


@dataclass(slots=True)
class Entity:
    """A mail or a part of a mail.

    Attributes:
        fields: its header fields, names in lower case, values unfolded.
        body: its body, still encoded; empty if the children have it.
        default: its media type if none is declared.
        children: the parts of a multipart, or the mail in a message/rfc822.
        closed: False for a multipart without a closing delimiter.
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
            # An incomplete type like «text» or «multipart» still tells enough.
            self._type = {"text": "text/plain", "html": "text/html", "multipart": "multipart/mixed"}.get(
                kind, self.default if not value else "text/plain"
            )
        self._disposition, self._disposition_parameters = split_field(self.value("content-disposition") or b"")

    def value(self, name: str) -> bytes | None:
        """Return the first field with this name, in lower case; None if there is none."""
        return next((value for field_name, value in self.fields if field_name == name), None)

    @property
    def content_type(self) -> str:
        """Its media type, in lower case."""
        return self._type

    @property
    def disposition(self) -> str:
        """Its Content-Disposition: ``inline``, ``attachment``, or empty."""
        return self._disposition

    def parameter(self, name: str, charset: str = "") -> str | None:
        """Return a parameter of its media type, decoded."""
        return get_parameter(self._parameters, name, charset)

    def boundary(self) -> bytes:
        """Return the declared boundary of a multipart, as written."""
        if "boundary" in self._parameters:
            return self._parameters["boundary"]
        return (self.parameter("boundary") or "").encode("utf-8", "replace")

    def name(self, charset: str = "") -> str | None:
        """Return its file name, decoded; None if it has none."""
        name = get_parameter(self._disposition_parameters, "filename", charset)
        return self.parameter("name", charset) if name is None else name

    @property
    def encoding(self) -> str:
        """Its Content-Transfer-Encoding, in lower case."""
        return encoding_of(self.value("content-transfer-encoding") or b"")

    def decoded(self) -> bytes:
        """Return its decoded body."""
        return decode_body(self.body, self.encoding)

    def is_message(self) -> bool:
        """Whether it is a nested mail."""
        return self._type in _MESSAGE_TYPES


def parse_mail(octets: bytes, limits: Limits, *, opens_mails: bool = True) -> Entity:
    """Parse a mail.

    Args:
        octets: the mail.
        limits: the limits of the task.
        opens_mails: whether mails that are attached to it are parsed, too; otherwise each is one part.

    Raises:
        IntakeRefusedError: it has too many parts, or they are nested too deeply.
    """
    if b"\r" in octets and b"\n" not in octets:
        # Line ends of the classic Macintosh.
        octets = octets.replace(b"\r", b"\n")
    root = parse_entity(octets)
    pending = [(root, 0)]
    seen = 0
    while pending:
        entity, depth = pending.pop()
        seen += 1
        if seen > limits.parts:
            raise IntakeRefusedError(f"The mail has more than {limits.parts} parts.")
        if depth > limits.depth:
            raise IntakeRefusedError(f"The mail is nested more than {limits.depth} levels deep.")
        if entity.content_type.startswith("multipart/"):
            _split_multipart(entity, limits)
        elif opens_mails and entity.is_message():
            inner = entity.decoded() if entity.encoding in _IRREGULAR_ENCODINGS else entity.body
            entity.children = [parse_entity(inner.lstrip(b"\r\n"))]
            entity.body = b""
        pending += [(child, depth + 1) for child in reversed(entity.children)]
    return root


def parse_entity(octets: bytes, default: str = "text/plain") -> Entity:
    """Parse an entity's header; its body is not parsed."""
    fields, start = read_header(octets)
    return Entity(fields, octets[start:], default)


def read_header(octets: bytes) -> tuple[list[tuple[str, bytes]], int]:
    """Return the fields of a header, and the position of the body.

    A line that is not a field is skipped if well-known fields follow; otherwise the body begins there.
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
        elif name is None and not _is_skipped(octets, at, end):
            break
        at = end
    return [(name, _FOLD.sub(b"", value).replace(b"\0", b"").strip()) for name, value in found[:MAX_FIELDS]], at


def _is_skipped(octets: bytes, at: int, end: int) -> bool:
    if octets.startswith((b"From ", b">From "), at):
        # The separator of an mbox file (RFC 4155).
        return True
    if octets.startswith(b"--", at):
        return False
    next_lines = octets[end : end + 2000]
    blank = re.search(rb"^\r?$", next_lines, re.MULTILINE)
    lines = next_lines[: blank.start() if blank else len(next_lines)].splitlines()[:5]
    return any(_MAIL_FIELDS.match(line) for line in lines)


def _split_multipart(entity: Entity, limits: Limits) -> None:
    """Split a multipart into its parts."""
    body = entity.decoded() if entity.encoding in _IRREGULAR_ENCODINGS and b"\n--" not in entity.body else entity.body
    default = "message/rfc822" if entity.content_type == "multipart/digest" else "text/plain"
    boundary = _find_boundary(entity, body)
    delimiter = re.compile(rb"^--" + re.escape(boundary) + rb"(--)?[ \t]*(?:\r*\n|\Z)", re.MULTILINE)
    start: int | None = None
    entity.closed = False
    for found in delimiter.finditer(body):
        if start is not None:
            _add_part(entity, body[start : found.start()], default)
        start = found.end()
        if len(entity.children) > limits.parts:
            raise IntakeRefusedError(f"The mail has more than {limits.parts} parts.")
        if found[1]:
            entity.closed = True
            start = None
            break
    if start is not None and body[start:].strip():
        _add_part(entity, body[start:], default)
    if not entity.children and body.strip():
        # Without delimiters, it is one text.
        entity.children = [Entity([], body)]
    if entity.content_type != "multipart/encrypted":
        # The parts have it; large mails must not be kept once for each level.
        entity.body = b""


def _add_part(entity: Entity, octets: bytes, default: str) -> None:
    # The line end before a delimiter belongs to the delimiter (RFC 2046 section 5.1.1).
    octets = octets.removesuffix(b"\n").removesuffix(b"\r")
    if octets.strip() or not entity.children:
        entity.children.append(parse_entity(octets, default))


def _find_boundary(entity: Entity, body: bytes) -> bytes:
    """Return the boundary that occurs in a multipart; if there is none, a value that never matches.

    The declared boundary is tried as it is, then without blanks from folding; then a line that looks like a delimiter
    is used.
    """
    declared = entity.boundary()[:1000]
    for each in dict.fromkeys(
        (declared.rstrip(), declared.strip(), re.sub(rb"\s+", b"", declared), _COMMENT.sub(b"", declared).strip())
    ):
        if each and (body.startswith(b"--" + each) or b"\n--" + each in body):
            return each
    guessed = _GUESSED_BOUNDARY.search(body)
    return guessed[1].rstrip() if guessed else b"\n"
