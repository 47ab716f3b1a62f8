"""What a mail has for people: its text, of the best alternative, and what is attached."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mailslot_plugins.intake.charsets import codec_of, decode
from mailslot_plugins.intake.embedded import take_files
from mailslot_plugins.intake.entity import Entity, parse_mail
from mailslot_plugins.intake.html_text import text_of_html
from mailslot_plugins.intake.kinds import LOOKED_AT, kind_of
from mailslot_plugins.intake.refused import Refused
from mailslot_plugins.intake.smime import opened_content
from mailslot_plugins.intake.tnef import read_tnef
from mailslot_plugins.intake.transfer import decode_base64, is_base64, is_mostly_base64

if TYPE_CHECKING:
    from mailslot_plugins.intake.limits import Limits

_SMIME: Final = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
_TNEF: Final = frozenset({"application/ms-tnef", "application/vnd.ms-tnef"})
_MAX_TEXT: Final = 8 << 20
"""Octets of a text in which files are looked for; people read less of it."""

_BINARY: Final = frozenset(
    {"postscript", "pcl", "pjl", "pdf", "tiff", "jpeg", "png", "gif", "bmp", "webp", "pwg", "urf"}
)
"""What is no text, whatever it is declared to be."""

_PIECES: Final = frozenset({"message/partial", "message/external-body"})
_NOT_SHOWN: Final = frozenset({"text/x-amp-html", "application/pgp-signature", "application/pkcs7-signature"})
_NOT_SHOWN_EITHER: Final = frozenset({"application/x-pkcs7-signature", "application/pgp-keys"})


@dataclass(slots=True)
class AttachedFile:
    """What is attached: its octets, its declared media type, its name, and whether the text shows it."""

    octets: bytes
    declared: str
    name: str
    inline: bool = False


@dataclass(slots=True)
class Content:
    """What a mail has for people.

    Attributes:
        texts: each with its media type, in order.
        attached: the attachments, in order.
        flaws: what is wrong with its form, for engineers.
    """

    texts: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    attached: list[AttachedFile] = field(default_factory=list[AttachedFile])
    flaws: list[str] = field(default_factory=list[str])

    def text(self) -> str:
        """Return the whole text; HTML that says the same as plain text before it is left out."""
        found: list[str] = []
        seen: set[str] = set()
        for _, text in self.texts:
            plain = " ".join(text.split())
            if plain and plain not in seen:
                seen.add(plain)
                found.append(text)
        return "\n\n".join(found)


class ContentReader:
    """Gathers what a mail has, part by part.

    Args:
        limits: what it may cost; the parts of mails within signed messages count, too.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._signed = 0

    def read(self, entity: Entity) -> Content:
        """Return what an entity has.

        Raises:
            Refused: it is encrypted, or a piece of another mail, or built to be a burden.
        """
        if entity.content_type in _PIECES:
            raise Refused("The mail is a piece of a larger one.")
        if entity.content_type == "multipart/encrypted":
            raise Refused("The mail is encrypted.")
        content = Content()
        self._gather(entity, content)
        return content

    def _gather(self, entity: Entity, content: Content) -> None:
        kind = entity.content_type
        if kind == "multipart/alternative":
            self._alternatives(entity, content)
        elif kind == "multipart/encrypted" or kind in _PIECES:
            # Of a mail that has something else, it is one attachment of which nothing comes.
            content.attached.append(AttachedFile(entity.body, kind, entity.name() or ""))
        elif kind.startswith("multipart/") or entity.is_message():
            if not entity.closed:
                content.flaws.append("a multipart has no end")
            for child in entity.children:
                self._gather(child, content)
        elif kind in _SMIME or _is_named(entity, ".p7m"):
            self._smime(entity, content)
        elif kind in _TNEF or _is_named(entity, "winmail.dat"):
            self._tnef(entity, content)
        else:
            self._leaf(entity, content)

    def _gathered(self, entity: Entity) -> Content:
        content = Content()
        self._gather(entity, content)
        return content

    def _alternatives(self, entity: Entity, content: Content) -> None:
        """Take the plain text where there is any, else the last one that is shown; attachments of all of them."""
        found = [self._gathered(child) for child in entity.children]
        shown = [each for each in found if any(text.strip() for _, text in each.texts)]
        plain = [each for each in shown if any(kind == "text/plain" and text.strip() for kind, text in each.texts)]
        for each in plain[:1] or shown[-1:]:
            content.texts += each.texts
        for each in found:
            content.attached += each.attached
            content.flaws += each.flaws

    def _smime(self, entity: Entity, content: Content) -> None:
        octets = entity.decoded()
        self._signed += 1
        if self._signed > self._limits.depth:
            raise Refused(f"The mail is nested more than {self._limits.depth} levels deep.")
        inner = opened_content(octets, self._limits.written)
        if inner is None and entity.encoding != "base64" and is_base64(octets):
            inner = opened_content(decode_base64(octets), self._limits.written)
        if inner is None:
            # Nobody can tell what it is, and it is certainly of no use.
            self._attach(entity, content)
        else:
            self._gather(parse_mail(inner, self._limits), content)

    def _tnef(self, entity: Entity, content: Content) -> None:
        found = read_tnef(entity.decoded())
        if found is None or not (found.files or found.text.strip() or found.html.strip()):
            # It is damaged, or has its text in a form of Outlook's alone.
            self._attach(entity, content)
            return
        # The mail has its text beside it in most cases.
        if not any(text.strip() for _, text in content.texts):
            text = found.text or text_of_html(decode(found.html)[: 4 * self._limits.text])
            content.texts.append(("text/plain", text[: 4 * self._limits.text]))
        content.attached += [AttachedFile(each.octets, "application/octet-stream", each.name) for each in found.files]

    def _leaf(self, entity: Entity, content: Content) -> None:
        kind = entity.content_type
        if kind in {"text/plain", "text/html"} and entity.disposition != "attachment" and entity.name() is None:
            octets = entity.decoded()
            if entity.encoding == "base64" and not is_mostly_base64(entity.body):
                octets = entity.body
            if kind == "text/plain":
                octets, files = take_files(octets[:_MAX_TEXT])
                for name, file in files:
                    content.attached.append(AttachedFile(file, "application/octet-stream", decode(name)))
            text = decode(octets, entity.parameter("charset") or "")[: 4 * self._limits.text]
            content.texts.append((kind, text_of_html(text) if kind == "text/html" else text))
        elif kind not in _NOT_SHOWN and kind not in _NOT_SHOWN_EITHER:
            self._attach(entity, content)

    def _attach(self, entity: Entity, content: Content) -> None:
        if entity.encoding == "base64" and not is_base64(entity.body):
            raise Refused("A part of the mail is not in base64, as it says.")
        octets = _in_utf8(entity, entity.decoded())
        inline = entity.disposition != "attachment" and entity.value("content-id") is not None
        content.attached.append(AttachedFile(octets, entity.content_type, entity.name() or "", inline))


def _in_utf8(entity: Entity, octets: bytes) -> bytes:
    """Return a file; one of text in UTF-8, since its charset stands in the mail and nowhere else."""
    if not entity.content_type.startswith("text/") or kind_of(octets[:LOOKED_AT]) in _BINARY:
        return octets
    label = entity.parameter("charset") or ""
    if codec_of(label) in {None, "cp1252", "utf_8"} and _is_utf8(octets):
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
