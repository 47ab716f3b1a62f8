"""Messages as streams whose exact size is known before any file is read."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

from anyio import to_thread

from mailslot.errors import InputError
from mailslot.message.header import (
    check_name,
    date_field,
    identifiers_field,
    mailboxes_field,
    text_field,
)
from mailslot.message.header_text import check_header_text
from mailslot.message.mailbox import Mailbox, to_mailbox
from mailslot.message.mime_body import MimeBody
from mailslot.smtp.content import SMALL_MESSAGE, InMemoryContent
from mailslot.wire.dot_stuffing import WholeMessage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence

    from mailslot.message.attachment import Attachment

AutoSubmitted = Literal["auto-generated", "auto-replied"]

_SET_BY_ARGUMENT: Final = frozenset(
    {
        *("from", "to", "cc", "bcc", "reply-to", "subject", "date", "message-id"),
        *("in-reply-to", "references", "auto-submitted", "mime-version"),
    }
)
# A reserved domain (RFC 2606 section 2), if the sender's is not globally unique.
_FALLBACK_DOMAIN: Final = "mailslot.invalid"


class Message(InMemoryContent):
    """A message of text and attachments (RFC 5322), streamed, in lines that end with CRLF.

    Message-ID, date and boundary are fixed when it is created, so that each `chunks` returns the same octets. They are
    7-bit, except for addresses that need SMTPUTF8.

    Attributes:
        sender: the From mailbox.
        to: the To mailboxes.
        cc: the Cc mailboxes. There is no Bcc: those recipients are only in the envelope.
        subject: the subject, in Unicode.
        date: the date, with its time zone.
        message_id: its identifier, ``<…@…>``.
        attachments: the attachments.
        size: its exact octets before dot-stuffing, as SIZE counts them (RFC 1870 section 3).
        smtputf8: whether a local part in its header is not ASCII, so that it needs SMTPUTF8
            (RFC 6531).
        whole: all its octets, if they are few and no file is to be read; else None.
    """

    __slots__ = (
        "_content",
        "_fields",
        "attachments",
        "cc",
        "date",
        "message_id",
        "sender",
        "size",
        "smtputf8",
        "subject",
        "to",
        "whole",
    )

    def __init__(
        self,
        *,
        sender: str | Mailbox,
        to: Iterable[str | Mailbox],
        cc: Iterable[str | Mailbox] = (),
        reply_to: str | Mailbox | None = None,
        subject: str = "",
        text: str = "",
        attachments: Iterable[Attachment] = (),
        date: datetime | None = None,
        message_id: str | None = None,
        in_reply_to: str | None = None,
        references: Sequence[str] = (),
        auto_submitted: AutoSubmitted | None = None,
        headers: Iterable[tuple[str, str]] = (),
        boundary: str | None = None,
    ) -> None:
        """Build the header, and check everything that can be checked before the message is sent.

        Args:
            sender: an address, or a `Mailbox` to give it a name.
            to: addresses or mailboxes; may be empty.
            cc: addresses or mailboxes.
            reply_to: the mailbox for replies, if it is not the sender.
            subject: one line of Unicode.
            text: the text, in Unicode, with any line ends. If it is empty and there are attachments, it has no part.
            attachments: files and octets.
            date: the date, with a time zone; None for now, in local time.
            message_id: an identifier, ``<…@…>``; None for a random one in the sender's domain.
            in_reply_to: the identifier of the message to which this one replies.
            references: the identifiers of its thread, oldest first.
            auto_submitted: set if no person wrote it, so that it gets no automatic replies (RFC 3834
                section 5).
            headers: further fields of unstructured text, each name once; structured values, such as addresses, must be
                ASCII.
            boundary: the boundary between the parts, ``=_`` and at least 14 letters or digits; None
                for a random one.

        Raises:
            InputError: something cannot be used; its stage is `envelope` for an address and `data`
                for the rest.
        """
        self.sender: Final = to_mailbox(sender, "sender")
        self.to: Final = _mailboxes(to, "To")
        self.cc: Final = _mailboxes(cc, "Cc")
        self.subject: Final = check_header_text(subject, "subject")
        self.date: Final = datetime.now().astimezone() if date is None else date
        self.message_id: Final = _new_message_id(self.sender) if message_id is None else message_id
        reply_addresses = () if reply_to is None else (to_mailbox(reply_to, "Reply-To"),)

        fields = [mailboxes_field("From", (self.sender,))]
        if reply_addresses:
            fields.append(mailboxes_field("Reply-To", reply_addresses))
        if self.to:
            fields.append(mailboxes_field("To", self.to))
        if self.cc:
            fields.append(mailboxes_field("Cc", self.cc))
        if subject:
            fields.append(text_field("Subject", subject))
        fields.append(date_field(self.date))
        fields.append(identifiers_field("Message-ID", (self.message_id,)))
        if in_reply_to is not None:
            fields.append(identifiers_field("In-Reply-To", (in_reply_to,)))
        if references:
            fields.append(identifiers_field("References", references))
        if auto_submitted is not None:
            fields.append(text_field("Auto-Submitted", check_header_text(auto_submitted, "Auto-Submitted field")))
        fields += _extra_fields(headers)
        fields.append("MIME-Version: 1.0\r\n")

        self._fields: Final = "".join(fields).encode()
        self._content: Final = MimeBody(text, tuple(attachments), boundary)
        self.attachments: Final = self._content.attachments
        self.size: Final = len(self._fields) + self._content.size
        # All else in the header is encoded.
        self.smtputf8: Final = not self._fields.isascii()
        self.whole = None
        if self.size <= SMALL_MESSAGE and not self._content.is_blocking:
            self.whole = WholeMessage(b"".join(self._content.pieces(self._fields)))

    @property
    def eight_bit(self) -> bool:
        """Whether it contains octets over 127: only in its header, and only with `smtputf8`."""
        return self.smtputf8

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Return the octets of the message, in pieces of about 1 MB, the same at each call.

        All files are opened and checked before the first piece, and closed before the last one. They are read and
        encoded in worker threads. If the iteration is abandoned, `aclose` closes the files; use `contextlib.aclosing`.

        Raises:
            InputError: a file is missing, cannot be read, or has another size than when it was attached. The message is
                then incomplete and must not be completed.
        """
        if self.whole is not None:
            yield self.whole.lines
            return
        pieces = self._content.pieces(self._fields)
        left = self.size
        try:
            while left:
                piece = await to_thread.run_sync(next, pieces) if self._content.is_blocking else next(pieces)
                left -= len(piece)
                yield piece
        finally:
            pieces.close()

    def __repr__(self) -> str:
        return f"Message({self.message_id}, {self.size} octets)"


def _mailboxes(values: Iterable[str | Mailbox], role: str) -> tuple[Mailbox, ...]:
    if isinstance(values, str):
        raise InputError(f"{role} must be a list of addresses, not one text.", stage="envelope")
    return tuple([to_mailbox(value, role) for value in values])


def _new_message_id(sender: Mailbox) -> str:
    domain = sender.domain.lower()
    top = domain.rpartition(".")[2]
    if domain.startswith("[") or top.isdigit() or top in {"localhost", "localdomain"}:
        domain = _FALLBACK_DOMAIN
    return f"<{os.urandom(16).hex()}@{domain}>"


def _extra_fields(headers: Iterable[tuple[str, str]]) -> Iterator[str]:
    seen = set(_SET_BY_ARGUMENT)
    for name, value in headers:
        lowered = check_name(name).lower()
        if lowered == "resent-bcc":
            raise InputError("Blind copies stand in the envelope only.", stage="data")
        if lowered in seen or lowered.startswith("content-"):
            raise InputError(f"The header field {name} is set in another way, or twice.", stage="data")
        seen.add(lowered)
        yield text_field(name, check_header_text(value, f"header field {name}"))
