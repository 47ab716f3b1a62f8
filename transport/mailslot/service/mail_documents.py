"""The documents in a fetched mail: its attachments, as whoever sent it named them."""

from __future__ import annotations

import email
import email.errors
import email.header
import re
from dataclasses import dataclass
from email import policy
from typing import TYPE_CHECKING, Final, cast

from mailslot.errors import InputError, MailError
from mailslot.message.filename import safe_name, unique_names

if TYPE_CHECKING:
    from email.message import Message
    from pathlib import Path

    from mailslot.spool.incoming import Incoming

MAX_SIZE: Final = 256_000_000
"""Octets of a mail that is taken apart: all of it is in memory then."""

MAX_DOCUMENTS: Final = 1_000
"""Documents of a mail that is taken apart: some octets are enough for one, and a page lists them all."""

_CONTENT_TYPE: Final = re.compile(r"[!-.0-~]+/[!-.0-~]+")

_SUFFIXES: Final = {
    "application/pdf": ".pdf",
    "image/tiff": ".tif",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "message/rfc822": ".eml",
    "text/plain": ".txt",
    "text/html": ".html",
}


@dataclass(frozen=True, slots=True)
class MailDocument:
    """A document in a mail.

    Attributes:
        name: its file name, which is safe on any system and unique in its mail.
        content_type: its type, as the mail says; ``application/octet-stream`` if that is none.
        content: its octets.
    """

    name: str
    content_type: str
    content: bytes


def mail_file(mail: Incoming) -> Path:
    """Return the file of a fetched mail.

    Raises:
        InputError: it is not kept any more.
    """
    if mail.path is None:
        raise InputError(
            f"Mail {mail.id} is not kept any more: a mail is deleted once it has been handled.",
            stage="spool",
            cause="mail_state",
        )
    return mail.path


def read_documents(mail: Incoming) -> list[MailDocument]:
    """Return the documents in a fetched mail, without its texts. It blocks.

    Raises:
        InputError: it is not kept any more, or too large or too broken to be taken apart.
        MailError: it cannot be read.
    """
    path = mail_file(mail)
    if mail.size > MAX_SIZE:
        raise InputError(f"Mail {mail.id} is too large to be taken apart; save it as a whole.", stage="spool")
    try:
        octets = path.read_bytes()
    except OSError as error:
        raise MailError(
            f"Mail {mail.id} cannot be read.", stage="spool", cause="spool_unreadable", detail=str(error)
        ) from error
    try:
        return _documents(octets)
    except Exception as error:
        raise InputError(
            f"Mail {mail.id} cannot be taken apart; save it as a whole.", stage="spool", detail=repr(error)
        ) from error


def _documents(octets: bytes) -> list[MailDocument]:
    # The lenient parser takes any octets; but what is nested too deeply, and some parameters, raise nearly anything.
    message = email.message_from_bytes(octets, policy=policy.compat32)
    parts = [part for part in _leaves(message) if _is_document(part)]
    if len(parts) > MAX_DOCUMENTS:
        raise ValueError(f"{len(parts)} documents")
    names = unique_names(_name(part, number) for number, part in enumerate(parts, 1))
    return [MailDocument(name, _content_type(part), _content(part)) for name, part in zip(names, parts, strict=True)]


def _leaves(message: Message) -> list[Message]:
    """Return the parts that contain no others; an attached mail is one part."""
    found: list[Message] = []
    waiting = [message]  # the next one comes last
    while waiting:
        part = waiting.pop()
        if part.get_content_maintype() == "multipart" and (children := _children(part)):
            waiting += reversed(children)
        else:
            found.append(part)
    return found


def _children(part: Message) -> list[Message]:
    """Return the parts in a part; those of a mail that is attached are one, the mail."""
    payload: object = part.get_payload()
    return cast("list[Message]", payload) if isinstance(payload, list) else []


def _is_document(part: Message) -> bool:
    return part.get_content_maintype() != "text" or part.get_filename() is not None or _is_attached(part)


def _is_attached(part: Message) -> bool:
    return str(part.get("Content-Disposition", "")).strip().lower().startswith("attachment")


def _name(part: Message, number: int) -> str:
    try:
        name = str(email.header.make_header(email.header.decode_header(part.get_filename() or "")))
    except (ValueError, LookupError, email.errors.HeaderParseError):
        name = ""
    plain = "".join(letter for letter in name if letter.isprintable())
    # A name such as .bash_profile would be read by programs, and hidden from the person who saved it.
    visible = safe_name(plain).lstrip(". ") if plain else ""
    return safe_name(visible or f"document-{number}{_SUFFIXES.get(part.get_content_type(), '')}")


def _content_type(part: Message) -> str:
    """Return the type; what is none could move the cursor of a terminal."""
    written = part.get_content_type()
    return written if _CONTENT_TYPE.fullmatch(written) else "application/octet-stream"


def _content(part: Message) -> bytes:
    if children := _children(part):
        return b"".join(each.as_bytes() for each in children)
    decoded: object = part.get_payload(decode=True)
    return decoded if isinstance(decoded, bytes) else b""
