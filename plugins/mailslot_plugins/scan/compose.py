"""From documents to mails: who it is from, what it is called, and into how many mails it goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mailslot.message import Mailbox, Message
from mailslot.message.transfer_encoding import base64_size
from mailslot.spool.limits import format_size
from mailslot_plugins.scan.names import MAX_SUBJECT, Pattern, moment_values
from mailslot_plugins.scan.split import TooLargeError, split

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from mailslot_plugins.scan.document import Document

MARGIN: Final = 4_096
"""Octets that a mail is kept smaller than a server says: it counts its own trace fields too (RFC 5321 section 4.4)."""

MOST_MAILS: Final = 99
"""Mails of one scan; more would fill the receiver's mailbox for hours."""

_LINE_OCTETS, _LINE_CHARS = 57, 78  # a line of base64, with its CRLF


@dataclass(frozen=True, slots=True)
class ScanMessage:
    """A scan that is to be mailed.

    Attributes:
        documents: the files, in their order.
        sender: whom it is from: the account that may send, never the user.
        to, cc: to whom.
        user: who scanned, and gets the answers; None where nobody is known.
        subject: the pattern of the subject.
        text: the body; may be empty.
        name: the pattern of the files' names; None to keep them.
        values: what the patterns are filled with, besides date and time, name and page.
        moment: when it was scanned, with its zone.
    """

    documents: Sequence[Document]
    sender: Mailbox
    to: Sequence[Mailbox]
    cc: Sequence[Mailbox]
    user: Mailbox | None
    subject: Pattern
    text: str
    name: Pattern | None
    values: Mapping[str, str | int]
    moment: datetime

    @property
    def recipients(self) -> list[str]:
        """The envelope's recipients."""
        return [mailbox.address for mailbox in (*self.to, *self.cc)]


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail of a scan.

    Attributes:
        message: the message.
        documents: what is attached.
        subject: its subject.
    """

    message: Message
    documents: Sequence[Document] = field(repr=False)
    subject: str


async def compose(letter: ScanMessage, limit: int | None, folder: Path, *, may_split: bool) -> list[Mail]:
    """Return the mails of a scan, each complete and small enough.

    Args:
        letter: the scan.
        limit: the octets that the mail server takes; None where it is not known.
        folder: where parts of files go; they must stay until the mails are accepted.
        may_split: whether it may become several mails.

    Raises:
        TooLargeError: it is too large, with the numbers.
        InputError: a file cannot be read, or something cannot stand in a message.
    """
    numbered = list(enumerate(letter.documents, start=1))
    whole = _mail(letter, numbered)
    if limit is None or whole.message.size <= limit - MARGIN:
        return [whole]
    if not may_split:
        raise _too_large(letter, whole.message.size, limit)
    pieces: list[tuple[int, Document]] = []
    for number, document in numbered:
        alone = _mail(letter, [(number, document)], (MOST_MAILS, MOST_MAILS)).message.size
        if alone <= limit - MARGIN:
            pieces.append((number, document))
            continue
        room = (limit - MARGIN - alone + base64_size(document.size)) // _LINE_CHARS * _LINE_OCTETS
        pieces += [(number, part) for part in await split(document, folder, max(room, 1))]
    groups = _grouped(letter, pieces, limit - MARGIN)
    if len(groups) > MOST_MAILS:
        raise TooLargeError(
            f"The scan would take {len(groups)} mails of {format_size(limit)}, "
            f"and more than {MOST_MAILS} are not sent. "
            "Nothing was sent."
        )
    return [_mail(letter, group, (part, len(groups))) for part, group in enumerate(groups, start=1)]


def _grouped(
    letter: ScanMessage, pieces: Sequence[tuple[int, Document]], room: int
) -> list[list[tuple[int, Document]]]:
    """Return the pieces in their order, as many in a mail as there is room for."""
    groups: list[list[tuple[int, Document]]] = []
    filled = 0
    nothing = _mail(letter, pieces[:1], (MOST_MAILS, MOST_MAILS)).message.size - base64_size(pieces[0][1].size)
    for piece in pieces:
        # The header of a part has less than a thousand octets: its name has 120, thrice as many where percent-encoded.
        octets = base64_size(piece[1].size) + 1_000
        if not groups or filled + octets > room:
            groups.append([])
            filled = nothing
        groups[-1].append(piece)
        filled += octets
    return groups


def _mail(letter: ScanMessage, pieces: Sequence[tuple[int, Document]], part: tuple[int, int] | None = None) -> Mail:
    values = {**letter.values, **moment_values(letter.moment), "name": letter.documents[0].stem, "page": pieces[0][0]}
    subject = letter.subject.fill(values)[:MAX_SUBJECT]
    if part is not None and part[1] > 1:
        subject = f"{subject} ({part[0]}/{part[1]})".lstrip()
    message = Message(
        sender=letter.sender,
        to=letter.to,
        cc=letter.cc,
        reply_to=letter.user,
        subject=subject,
        text=letter.text,
        date=letter.moment,
        attachments=[document.attachment(_name(letter, values, number, document)) for number, document in pieces],
    )
    return Mail(message, [document for _, document in pieces], subject)


def _name(letter: ScanMessage, values: Mapping[str, str | int], number: int, document: Document) -> str:
    pattern = letter.name or Pattern("{name}", "file name")
    suffix = document.suffix
    if document.part is not None:
        suffix = f" ({document.part[0]} of {document.part[1]}){suffix}"
    return pattern.file_name({**values, "name": document.stem, "page": number}, suffix)


def _too_large(letter: ScanMessage, size: int, limit: int) -> TooLargeError:
    files = sum(document.size for document in letter.documents)
    return TooLargeError(
        f"The scan has {format_size(files)} and would be a mail of {format_size(size)}; the mail server takes at most "
        f"{format_size(limit)}. Nothing was sent: scan fewer pages or at a lower resolution, or have it split into "
        "several mails.",
        detail=f"{size} octets, {limit} allowed",
    )
