"""Collects the content of a mail for people: the text, of the best alternative, and the attachments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mailslot_plugins.intake.charsets import decode, find_codec
from mailslot_plugins.intake.embedded import extract_files
from mailslot_plugins.intake.entity import Entity, parse_mail
from mailslot_plugins.intake.html_text import html_to_text
from mailslot_plugins.intake.kinds import HEAD_SIZE, detect_kind
from mailslot_plugins.intake.refusal import IntakeRefusedError
from mailslot_plugins.intake.smime import unwrap_smime
from mailslot_plugins.intake.tnef import read_tnef
from mailslot_plugins.intake.transfer import decode_base64, is_base64, is_mostly_base64

if TYPE_CHECKING:
    from mailslot_plugins.intake.limits import Limits

_SMIME: Final = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
_TNEF: Final = frozenset({"application/ms-tnef", "application/vnd.ms-tnef"})
_MAX_TEXT: Final = 8 << 20
"""The most octets of a text that are searched for embedded files."""

_NOT_TEXT: Final = frozenset(
    {"postscript", "pcl", "pjl", "pdf", "tiff", "jpeg", "png", "gif", "bmp", "webp", "pwg", "urf"}
)
"""Kinds that are not text, whatever their declared type."""

_PARTIAL_TYPES: Final = frozenset({"message/partial", "message/external-body"})
_HIDDEN_TYPES: Final = frozenset({"text/x-amp-html", "application/pgp-signature", "application/pkcs7-signature"})
_KEY_TYPES: Final = frozenset({"application/x-pkcs7-signature", "application/pgp-keys"})


@dataclass(slots=True)
class AttachedFile:
    """An attachment: its octets, its declared media type, its name, and whether the text shows it inline."""

    octets: bytes
    declared: str
    name: str
    inline: bool = False


@dataclass(slots=True)
class Content:
    """The content of a mail.

    Attributes:
        texts: the texts with their media types, in order.
        attachments: the attachments, in order.
        defects: defects of the mail's form, for engineers.
    """

    texts: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    attachments: list[AttachedFile] = field(default_factory=list[AttachedFile])
    defects: list[str] = field(default_factory=list[str])

    def text(self) -> str:
        """Return the whole text; HTML with the same text as a plain part before it is left out."""
        found: list[str] = []
        seen: set[str] = set()
        for _, text in self.texts:
            plain = " ".join(text.split())
            if plain and plain not in seen:
                seen.add(plain)
                found.append(text)
        return "\n\n".join(found)


class ContentReader:
    """Collects the content of a mail, part by part.

    Args:
        limits: the limits of the task; nested signed mails count, too.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._smime_parts = 0

    def read(self, entity: Entity) -> Content:
        """Return the content of an entity.

        Raises:
            IntakeRefusedError: it is encrypted, a fragment of another mail, or exceeds the limits.
        """
        if entity.content_type in _PARTIAL_TYPES:
            raise IntakeRefusedError("The mail is a fragment of a larger one.")
        if entity.content_type == "multipart/encrypted":
            raise IntakeRefusedError("The mail is encrypted.")
        content = Content()
        self._add_entity(entity, content)
        return content

    def _add_entity(self, entity: Entity, content: Content) -> None:
        kind = entity.content_type
        if kind == "multipart/alternative":
            self._add_alternatives(entity, content)
        elif kind == "multipart/encrypted" or kind in _PARTIAL_TYPES:
            # In a mail with other content, it is an attachment that will be refused.
            content.attachments.append(AttachedFile(entity.body, kind, entity.name() or ""))
        elif kind.startswith("multipart/") or entity.is_message():
            if not entity.closed:
                content.defects.append("a multipart has no end")
            for child in entity.children:
                self._add_entity(child, content)
        elif kind in _SMIME or _is_named(entity, ".p7m"):
            self._add_smime(entity, content)
        elif kind in _TNEF or _is_named(entity, "winmail.dat"):
            self._add_tnef(entity, content)
        else:
            self._add_leaf(entity, content)

    def _read_entity(self, entity: Entity) -> Content:
        content = Content()
        self._add_entity(entity, content)
        return content

    def _add_alternatives(self, entity: Entity, content: Content) -> None:
        """Take the plain text if there is one, else the last alternative with text; and the attachments of all."""
        found = [self._read_entity(child) for child in entity.children]
        shown = [each for each in found if any(text.strip() for _, text in each.texts)]
        plain = [each for each in shown if any(kind == "text/plain" and text.strip() for kind, text in each.texts)]
        for each in plain[:1] or shown[-1:]:
            content.texts += each.texts
        for each in found:
            content.attachments += each.attachments
            content.defects += each.defects

    def _add_smime(self, entity: Entity, content: Content) -> None:
        octets = entity.decoded()
        self._smime_parts += 1
        if self._smime_parts > self._limits.depth:
            raise IntakeRefusedError(f"The mail is nested more than {self._limits.depth} levels deep.")
        inner = unwrap_smime(octets, self._limits.file_size)
        if inner is None and entity.encoding != "base64" and is_base64(octets):
            inner = unwrap_smime(decode_base64(octets), self._limits.file_size)
        if inner is None:
            # Its content is unknown; it is kept as an attachment.
            self._add_attachment(entity, content)
        else:
            self._add_entity(parse_mail(inner, self._limits), content)

    def _add_tnef(self, entity: Entity, content: Content) -> None:
        found = read_tnef(entity.decoded())
        if found is None or not (found.files or found.text.strip() or found.html.strip()):
            # It is damaged, or has its text only in compressed RTF.
            self._add_attachment(entity, content)
            return
        # Usually the mail has its text in another part.
        if not any(text.strip() for _, text in content.texts):
            text = found.text or html_to_text(decode(found.html)[: 4 * self._limits.text])
            content.texts.append(("text/plain", text[: 4 * self._limits.text]))
        content.attachments += [
            AttachedFile(each.octets, "application/octet-stream", each.name) for each in found.files
        ]

    def _add_leaf(self, entity: Entity, content: Content) -> None:
        kind = entity.content_type
        if kind in {"text/plain", "text/html"} and entity.disposition != "attachment" and entity.name() is None:
            octets = entity.decoded()
            if entity.encoding == "base64" and not is_mostly_base64(entity.body):
                octets = entity.body
            if kind == "text/plain":
                octets, files = extract_files(octets[:_MAX_TEXT])
                for name, file in files:
                    content.attachments.append(AttachedFile(file, "application/octet-stream", decode(name)))
            text = decode(octets, entity.parameter("charset") or "")[: 4 * self._limits.text]
            content.texts.append((kind, html_to_text(text) if kind == "text/html" else text))
        elif kind not in _HIDDEN_TYPES and kind not in _KEY_TYPES:
            self._add_attachment(entity, content)

    def _add_attachment(self, entity: Entity, content: Content) -> None:
        if entity.encoding == "base64" and not is_base64(entity.body):
            raise IntakeRefusedError("A part of the mail is declared as base64, but is not.")
        octets = _file_octets(entity, entity.decoded())
        inline = entity.disposition != "attachment" and entity.value("content-id") is not None
        content.attachments.append(AttachedFile(octets, entity.content_type, entity.name() or "", inline))


def _file_octets(entity: Entity, octets: bytes) -> bytes:
    """Return a file's octets; text is converted to UTF-8, because its charset is declared only in the mail."""
    if not entity.content_type.startswith("text/") or detect_kind(octets[:HEAD_SIZE]) in _NOT_TEXT:
        return octets
    label = entity.parameter("charset") or ""
    if find_codec(label) in {None, "cp1252", "utf_8"} and _is_utf8(octets):
        return octets
    return decode(octets, label).encode("utf-8", "replace")


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _is_named(entity: Entity, suffix: str) -> bool:
    return entity.content_type == "application/octet-stream" and (entity.name() or "").casefold().endswith(suffix)
