"""Rewrites the header of a device's message for relaying.

The account that sends it may not send as the device, so From gets the account's address and Reply-To the device's.
Missing fields are added (RFC 6409 section 8), and Bcc is removed. Every other field in ASCII stays unchanged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from mailslot.errors import InputError
from mailslot.message.address_list import read_addresses
from mailslot.message.header import ascii_field, date_field, mailboxes_field
from mailslot.message.mailbox import Mailbox
from mailslot_plugins.gateway.ascii_field import to_ascii
from mailslot_plugins.intake.report import TRACE_FIELD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from mailslot_plugins.gateway.header import HeaderField

MAX_RECEIVED: Final = 30
"""Received fields; as many are a loop (RFC 5321 section 6.3)."""

_DROPPED: Final = frozenset({"bcc", "resent-bcc", "return-path"})
_BETWEEN_WORDS: Final = re.compile(r"[\s<>()\[\],;:\"]+")
_MESSAGE_ID: Final = re.compile(rb"<[!-;=?-~]{1,990}>")


@dataclass(frozen=True, slots=True)
class Sender:
    """The sender for From.

    Attributes:
        mode: ``"keep"`` leaves From as it is; ``"account"`` writes `address`, and the device's own into Reply-To.
        address: the account's address, or another one that it may send as.
        name: the device's name.
    """

    mode: Literal["account", "keep"]
    address: str
    name: str


@dataclass(frozen=True, slots=True)
class Trace:
    """The trace fields that the gateway adds.

    Attributes:
        received: the value of the Received field, folded.
        identifier: the value of `TRACE_FIELD`.
        message_id: the identifier, ``<…@…>``, for a message without one.
        at: when it was received, with a time zone.
    """

    received: str
    identifier: str
    message_id: str
    at: datetime


def rewrite_header(
    fields: Sequence[HeaderField], sender: Sender, trace: Trace, *, envelope_sender: str, recipients: Sequence[str]
) -> bytes:
    """Return the header to send, with the empty line at its end.

    Args:
        fields: the header as the device sent it.
        sender: who stands in From.
        trace: the trace fields to add.
        envelope_sender: the device's reverse-path; empty for the null sender.
        recipients: the recipients in the envelope.
    """
    kept = [field for field in fields if field.name not in _DROPPED]
    names = {field.name for field in kept}
    added = [f"Received: {trace.received}\r\n", ascii_field(TRACE_FIELD, trace.identifier)]
    if "from" not in names or sender.mode == "account":
        added += _from_fields(kept, sender, envelope_sender)
        replaced = {"from", "sender"} if sender.mode == "account" else set[str]()
        kept = [field for field in kept if field.name not in replaced]
    kept = _without_repeated(kept, {"reply-to", "message-id", "date"})
    if "to" not in names:
        added.append(_to_field(recipients, hidden="bcc" in {field.name for field in fields} or "cc" in names))
    if "date" not in names:
        added.append(date_field(trace.at))
    if "message-id" not in names:
        added.append(ascii_field("Message-ID", trace.message_id))
    return b"".join([*(text.encode("ascii", "replace") for text in added), *map(to_ascii, kept), b"\r\n"])


def message_id_of(fields: Iterable[HeaderField]) -> str:
    """Return the message's identifier, ``<…>``; empty without a valid one."""
    for field in fields:
        if field.name == "message-id" and (found := _MESSAGE_ID.search(field.value)):
            return found[0].decode("ascii")
    return ""


def is_loop(fields: Sequence[HeaderField], is_own: Callable[[str], bool]) -> bool:
    """Whether the message has passed through too many servers, or already through this gateway.

    Args:
        fields: its header.
        is_own: returns whether this gateway created a value of `TRACE_FIELD`.
    """
    return sum(field.name == "received" for field in fields) >= MAX_RECEIVED or any(map(is_own, _traces(fields)))


def _traces(fields: Iterable[HeaderField]) -> list[str]:
    return [field.value.decode("ascii", "replace") for field in fields if field.name == TRACE_FIELD.lower()]


def device_address(fields: Iterable[HeaderField], envelope_sender: str) -> str:
    """Return the address that the device sends from: the first valid one in From, else the envelope's; may be empty."""
    values = [field.value.decode("utf-8", "replace") for field in fields if field.name == "from"]
    for candidate in [*(address for _, address in read_addresses(values)), envelope_sender]:
        if _mailbox(candidate) is not None:
            return candidate
    return ""


def named_senders(fields: Iterable[HeaderField]) -> set[str]:
    """Return all addresses that a mail program may take for the sender in From and Sender.

    Programs differ in how they read malformed fields. So everything that looks like an address is returned, also in
    display names and comments; without any, the whole value.
    """
    found: set[str] = set()
    for field in fields:
        if field.name in {"from", "sender"}:
            value = field.value.decode("utf-8", "replace")
            found |= {address or value for _, address in read_addresses([value])}
            found |= {word for word in _BETWEEN_WORDS.split(value) if "@" in word} or {value}
    return found


def _from_fields(fields: Iterable[HeaderField], sender: Sender, envelope_sender: str) -> list[str]:
    own = device_address(fields, envelope_sender)
    if sender.mode == "keep":
        # The device sent none.
        return [mailboxes_field("From", [Mailbox(own or sender.address, sender.name)])]
    added = [mailboxes_field("From", [Mailbox(sender.address, sender.name)])]
    reply_to = _mailbox(own)
    if reply_to is not None and own.lower() != sender.address.lower() and not _has(fields, "reply-to"):
        added.append(mailboxes_field("Reply-To", [reply_to]))
    return added


def _to_field(recipients: Sequence[str], *, hidden: bool) -> str:
    """Return the field To: the only recipient, or a group without members, so that recipients stay hidden."""
    only = _mailbox(recipients[0]) if len(recipients) == 1 and not hidden else None
    return mailboxes_field("To", [only]) if only is not None else ascii_field("To", "undisclosed-recipients:;")


def _without_repeated(fields: Iterable[HeaderField], names: set[str]) -> list[HeaderField]:
    """Return the fields; of those with these names, only the first of each name (RFC 5322 section 3.6)."""
    kept: list[HeaderField] = []
    seen: set[str] = set()
    for field in fields:
        if field.name in names:
            if field.name in seen:
                continue
            seen.add(field.name)
        kept.append(field)
    return kept


def _has(fields: Iterable[HeaderField], name: str) -> bool:
    return any(field.name == name for field in fields)


def _mailbox(address: str) -> Mailbox | None:
    """Return the mailbox; None if it is not an address, or would need SMTPUTF8."""
    try:
        mailbox = Mailbox(address)
    except InputError:
        return None
    return None if mailbox.smtputf8 else mailbox
