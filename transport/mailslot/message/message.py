"""A message as a stream whose exact size is known before a file is read."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

from anyio import to_thread

from mailslot.errors import InputError
from mailslot.message.content import Content
from mailslot.message.header import (
    check_name,
    date_field,
    identifiers_field,
    mailboxes_field,
    text_field,
)
from mailslot.message.line import check_line
from mailslot.message.mailbox import Mailbox, as_mailbox

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
# A domain that nobody can own (RFC 2606 section 2), where the sender's is not unique in the world.
_NO_DOMAIN: Final = "mailslot.invalid"


class Message:
    """A message of text and attachments (RFC 5322), streamed, in lines that end with CRLF.

    Identifier, date and boundary are fixed when it is made, so that each `chunks` gives the same
    octets. All of them are 7-bit, except in the addresses that `smtputf8` is about.

    Attributes:
        sender: whom it is from.
        to: to whom.
        cc: to whom in copy. There is no Bcc: that stands in the envelope alone.
        subject: the subject, in Unicode.
        date: when it was made, with its zone.
        message_id: its identifier, ``<…@…>``.
        attachments: what comes with the text.
        size: its exact octets before dot-stuffing, as SIZE counts them (RFC 1870 section 3).
        smtputf8: whether a local part in its header is not ASCII, so that SMTPUTF8 is needed
            (RFC 6531).
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
        """Build the header, and check whatever can be checked before the message is sent.

        Args:
            sender: an address, or a `Mailbox` to give it a name.
            to: addresses or mailboxes; may be empty.
            cc: the same.
            reply_to: where answers go, if not to the sender.
            subject: one line of Unicode.
            text: the body, in Unicode, with any line ends. Beside attachments, an empty one makes
                no part.
            attachments: files and octets.
            date: when the message was made, with a zone; None for now, in local time.
            message_id: an identifier, ``<…@…>``; None for a random one in the sender's domain.
            in_reply_to: the identifier of the message that this one answers.
            references: the identifiers of its thread, oldest first.
            auto_submitted: set where no person wrote it, so that no machine answers (RFC 3834
                section 5).
            headers: further fields of unstructured text, each name once; what has a structure,
                such as addresses, must be ASCII.
            boundary: what stands between the parts, ``=_`` and at least 14 letters or digits; None
                for a random one.

        Raises:
            InputError: something cannot be used; its stage is `envelope` for an address and `data`
                for the rest.
        """
        self.sender: Final = as_mailbox(sender, "sender")
        self.to: Final = _mailboxes(to, "To")
        self.cc: Final = _mailboxes(cc, "Cc")
        self.subject: Final = check_line(subject, "subject")
        self.date: Final = datetime.now().astimezone() if date is None else date
        self.message_id: Final = _new_identifier(self.sender) if message_id is None else message_id
        answers = () if reply_to is None else (as_mailbox(reply_to, "Reply-To"),)

        fields = [mailboxes_field("From", (self.sender,))]
        if answers:
            fields.append(mailboxes_field("Reply-To", answers))
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
            fields.append(text_field("Auto-Submitted", check_line(auto_submitted, "Auto-Submitted field")))
        fields += _further_fields(headers)
        fields.append("MIME-Version: 1.0\r\n")

        self._fields: Final = "".join(fields).encode()
        self._content: Final = Content(text, tuple(attachments), boundary)
        self.attachments: Final = self._content.attachments
        self.size: Final = len(self._fields) + self._content.size
        self.smtputf8: Final = any(m.smtputf8 for m in (self.sender, *answers, *self.to, *self.cc))

    @property
    def eight_bit(self) -> bool:
        """Whether it holds octets over 127: only in its header, and only with `smtputf8`."""
        return self.smtputf8

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Give the message's octets, `size` of them in pieces of about 1 MB, the same at each call.

        All files are opened and checked before the first piece comes, and closed before the last one
        does. Worker threads read and encode them. Where not all pieces are taken, `aclose` closes the
        files, best by `contextlib.aclosing`.

        Raises:
            InputError: a file is gone, cannot be read, or has another size than when it was attached.
                What came until then is no message and must not be completed.
        """
        pieces = self._content.pieces(self._fields)
        left = self.size
        try:
            while left:
                piece = await to_thread.run_sync(next, pieces) if self._content.blocks else next(pieces)
                left -= len(piece)
                yield piece
        finally:
            pieces.close()

    def __repr__(self) -> str:
        return f"Message({self.message_id}, {self.size} octets)"


def _mailboxes(values: Iterable[str | Mailbox], what: str) -> tuple[Mailbox, ...]:
    if isinstance(values, str):
        raise InputError(f"{what} must be a list of addresses, not one text.", stage="envelope")
    return tuple([as_mailbox(value, what) for value in values])


def _new_identifier(sender: Mailbox) -> str:
    domain = sender.domain.lower()
    top = domain.rpartition(".")[2]
    if domain.startswith("[") or top.isdigit() or top in {"localhost", "localdomain"}:
        domain = _NO_DOMAIN
    return f"<{os.urandom(16).hex()}@{domain}>"


def _further_fields(headers: Iterable[tuple[str, str]]) -> Iterator[str]:
    seen = set(_SET_BY_ARGUMENT)
    for name, value in headers:
        lowered = check_name(name).lower()
        if lowered == "resent-bcc":
            raise InputError("Blind copies stand in the envelope only.", stage="data")
        if lowered in seen or lowered.startswith("content-"):
            raise InputError(f"The header field {name} is set in another way, or twice.", stage="data")
        seen.add(lowered)
        yield text_field(name, check_line(value, f"header field {name}"))
