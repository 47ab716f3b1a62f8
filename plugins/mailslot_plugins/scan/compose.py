"""Composes the mails of a scan: sender, subject, attachment names, and how many mails it takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mailslot.message import Mailbox, Message
from mailslot.message.transfer_encoding import base64_size
from mailslot.spool.limits import format_size
from mailslot_plugins.scan.patterns import MAX_SUBJECT, Pattern, timestamp_values
from mailslot_plugins.scan.split import TooLargeError, split_document

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from mailslot_plugins.scan.document import Document

SIZE_MARGIN: Final = 4_096
"""Octets by which a mail stays below a server's limit: servers count their own trace fields (RFC 5321 section 4.4)."""

MAX_MAILS: Final = 99
"""The most mails of one scan; more would flood the recipient's mailbox."""

_LINE_OCTETS, _LINE_CHARS = 57, 78  # a line of base64, with its CRLF


@dataclass(frozen=True, slots=True)
class ScanMessage:
    """A scan that is to be mailed.

    Attributes:
        documents: the files, in order.
        sender: the account that may send; the user only if the rules for sending say so.
        to, cc: the recipients.
        user: who scanned and gets the replies; None if unknown.
        subject: the pattern of the subject.
        text: the body; may be empty.
        name: the pattern of the file names; None to keep the names.
        values: the placeholders' values, except date, time, name and page.
        scanned_at: when it was scanned, with its time zone.
        bcc: the addresses that get a blind copy.
        send_at: when it is due, in seconds since 1970; None for now.
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
    scanned_at: datetime
    bcc: Sequence[str] = ()
    send_at: float | None = None

    @property
    def recipients(self) -> list[str]:
        """The envelope's recipients."""
        return [*(mailbox.address for mailbox in (*self.to, *self.cc)), *self.bcc]


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail of a scan."""

    message: Message
    documents: Sequence[Document] = field(repr=False)
    subject: str


async def compose(scan: ScanMessage, limit: int | None, folder: Path, *, may_split: bool) -> list[Mail]:
    """Return the mails of a scan, each complete and within the limit.

    Args:
        scan: the scan.
        limit: the most octets that the mail server accepts; None if unknown.
        folder: where parts of files are written; they must stay until the mails are accepted.
        may_split: whether the scan may become several mails.

    Raises:
        TooLargeError: it is too large; the sentence gives the sizes.
        InputError: a file cannot be read, or a value is not allowed in a message.
    """
    numbered = list(enumerate(scan.documents, start=1))
    single = _make_mail(scan, numbered)
    if limit is None or single.message.size <= limit - SIZE_MARGIN:
        return [single]
    if not may_split:
        raise _too_large(scan, single.message.size, limit)
    pieces: list[tuple[int, Document]] = []
    for number, document in numbered:
        size_alone = _make_mail(scan, [(number, document)], (MAX_MAILS, MAX_MAILS)).message.size
        if size_alone <= limit - SIZE_MARGIN:
            pieces.append((number, document))
            continue
        max_size = (limit - SIZE_MARGIN - size_alone + base64_size(document.size)) // _LINE_CHARS * _LINE_OCTETS
        pieces += [(number, part) for part in await split_document(document, folder, max(max_size, 1))]
    groups = _group_by_size(scan, pieces, limit - SIZE_MARGIN)
    if len(groups) > MAX_MAILS:
        raise TooLargeError(
            f"The scan would take {len(groups)} mails of {format_size(limit)}, and at most {MAX_MAILS} are sent. "
            "Nothing was sent."
        )
    return [_make_mail(scan, group, (part, len(groups))) for part, group in enumerate(groups, start=1)]


def _group_by_size(
    scan: ScanMessage, pieces: Sequence[tuple[int, Document]], max_size: int
) -> list[list[tuple[int, Document]]]:
    """Return the pieces in order, as many in each group as fit into one mail."""
    groups: list[list[tuple[int, Document]]] = []
    used = 0
    empty_size = _make_mail(scan, pieces[:1], (MAX_MAILS, MAX_MAILS)).message.size - base64_size(pieces[0][1].size)
    for piece in pieces:
        # A part's header has less than 1,000 octets: its name has at most 120, three times as many percent-encoded.
        octets = base64_size(piece[1].size) + 1_000
        if not groups or used + octets > max_size:
            groups.append([])
            used = empty_size
        groups[-1].append(piece)
        used += octets
    return groups


def _make_mail(scan: ScanMessage, pieces: Sequence[tuple[int, Document]], part: tuple[int, int] | None = None) -> Mail:
    values = {**scan.values, **timestamp_values(scan.scanned_at), "name": scan.documents[0].stem, "page": pieces[0][0]}
    subject = scan.subject.fill(values)[:MAX_SUBJECT]
    if part is not None and part[1] > 1:
        subject = f"{subject} ({part[0]}/{part[1]})".lstrip()
    message = Message(
        sender=scan.sender,
        to=scan.to,
        cc=scan.cc,
        reply_to=scan.user,
        subject=subject,
        text=scan.text,
        date=scan.scanned_at,
        attachments=[
            document.attachment(_attachment_name(scan, values, number, document)) for number, document in pieces
        ],
    )
    return Mail(message, [document for _, document in pieces], subject)


def _attachment_name(scan: ScanMessage, values: Mapping[str, str | int], number: int, document: Document) -> str:
    pattern = scan.name or Pattern("{name}", "file name")
    suffix = document.suffix
    if document.part is not None:
        suffix = f" ({document.part[0]} of {document.part[1]}){suffix}"
    return pattern.file_name({**values, "name": document.stem, "page": number}, suffix)


def _too_large(scan: ScanMessage, size: int, limit: int) -> TooLargeError:
    files = sum(document.size for document in scan.documents)
    return TooLargeError(
        f"The scan has {format_size(files)} and would be a mail of {format_size(size)}; the mail server takes at most "
        f"{format_size(limit)}. Nothing was sent: scan fewer pages or at a lower resolution, or have it split into "
        "several mails.",
        detail=f"{size} octets, {limit} allowed",
    )
