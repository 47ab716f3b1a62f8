"""Writes a device's message into the spool, with its header rewritten and its body unchanged."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError
from mailslot.plugin import NewJob
from mailslot.service.header_summary import summarize_subject
from mailslot.smtp.server.replies import MAIL_LOOP, SENDER_NOT_ALLOWED, SPOOL_FULL, TOO_LARGE, reply
from mailslot.spool.errors import SpoolError
from mailslot.spool.job import DEVICE_NOTE, ENVELOPE_ID, NOTIFY
from mailslot.spool.job_file import JobFile
from mailslot_plugins.gateway.duplicates import fingerprint
from mailslot_plugins.gateway.header import HeaderReader, HeaderTooLargeError
from mailslot_plugins.gateway.rewriting import Trace, is_loop, message_id_of, named_senders, rewrite_header
from mailslot_plugins.gateway.undelivered import DUE_NOTE

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mailslot.spool.acceptance import Acceptance
    from mailslot.wire.reply import Reply
    from mailslot_plugins.gateway.duplicates import DuplicateGuard
    from mailslot_plugins.gateway.rewriting import Sender
    from mailslot_plugins.gateway.trace_ids import TraceIds

PIPELINE: Final = "gateway"
LIFETIME: Final = 5 * 86_400.0
"""Seconds for which delivery of a message is tried (RFC 5321 section 4.5.4.1)."""

_REPORTED_EVENTS: Final = "FAILURE,DELAY"
"""Servers usually report this without a request; with one, they also return our identifier, and only the header."""

_HEADER_TOO_LARGE: Final = reply(552, "5.3.4", "The message's header is too large")


@dataclass(frozen=True, slots=True)
class Transaction:
    """A message that a device submits, as far as it is known before its content.

    Attributes:
        device: the device's name.
        via: the record through which it is sent.
        envelope_sender: the reverse-path that the device gave.
        upstream_sender: the reverse-path with which it is relayed.
        recipients: the recipients.
        sender: the sender for From.
        received: returns the folded value of the Received field for a given id of the message.
        at: when its content began, with a time zone.
        allows_sender: returns whether the device may use an address as the sender.
        wants_reports: whether a report is requested if it cannot be delivered.
        copies: the addresses that get a blind copy.
        send_at: when it is due, in seconds since 1970; None for now.
    """

    device: str
    via: str
    envelope_sender: str
    upstream_sender: str
    recipients: tuple[str, ...]
    sender: Sender
    received: Callable[[str], str]
    at: datetime
    allows_sender: Callable[[str], bool]
    wants_reports: bool = False
    copies: tuple[str, ...] = ()
    send_at: float | None = None


class MessageWriter:
    """Writes one message; see `mailslot.smtp.server.backend.MessageWriter`.

    A refusal is remembered, and is the reply at the end of the message; a job is created only without one.

    Args:
        transaction: the message's transaction.
        acceptance: stores the message.
        guard: recognizes a duplicate message.
        trace_ids: recognizes a message that has passed through this gateway before.
        ended: called with the result of `commit`.
    """

    def __init__(
        self,
        transaction: Transaction,
        acceptance: Acceptance,
        guard: DuplicateGuard,
        trace_ids: TraceIds,
        ended: Callable[[str | Reply], None],
    ) -> None:
        self._transaction = transaction
        self._acceptance = acceptance
        self._guard = guard
        self._trace_ids = trace_ids
        self._ended = ended
        self._digest = hashlib.sha256()
        self._header = HeaderReader()
        self._new: NewJob | None = None
        self._file: JobFile | None = None
        self._refusal: Reply | None = None

    async def write(self, data: bytes) -> None:
        """Take the next octets, with CRLF line ends."""
        if self._refusal is None:
            self._digest.update(data)
            await self._attempt(data)

    async def commit(self) -> str | Reply:
        """Store the message, and return the id of its job; or the reply that refuses it."""
        try:
            result = await self._commit()
        finally:
            await self.discard()
        self._ended(result)
        return result

    async def _commit(self) -> str | Reply:
        if self._refusal is None:
            await self._attempt(self._header.finish(), at_end=True)
        if self._refusal is not None:
            return self._refusal
        assert self._file is not None  # noqa: S101 - the header has ended
        assert self._new is not None  # noqa: S101 - likewise
        sent = self._transaction
        identity = fingerprint(sent.device, sent.envelope_sender, sent.recipients, self._digest.digest())
        try:
            return str((await self._guard.commit(self._file, self._new, identity)).id)
        except SpoolError:
            return SPOOL_FULL

    async def discard(self) -> None:
        """Discard a message that was not committed."""
        if self._file is not None:
            await self._file.discard()

    async def _attempt(self, data: bytes, *, at_end: bool = False) -> None:
        """Write the octets so far; if that fails, remember why."""
        try:
            body = data if at_end else self._header.feed(data)
            if self._file is None and self._header.is_complete:
                self._file = await self._begin()
            if self._file is not None and body:
                await self._file.write(body)
        except HeaderTooLargeError:
            self._refusal = _HEADER_TOO_LARGE
        except SpoolError:
            self._refusal = SPOOL_FULL
        except InputError as error:
            if error.cause != "message_too_large":
                raise
            self._refusal = TOO_LARGE
        if self._refusal is not None:
            await self.discard()

    async def _begin(self) -> JobFile | None:
        fields, transaction = self._header.fields, self._transaction
        if is_loop(fields, self._trace_ids.is_own):
            self._refusal = MAIL_LOOP
            return None
        if transaction.sender.mode == "keep" and not all(map(transaction.allows_sender, named_senders(fields))):
            self._refusal = SENDER_NOT_ALLOWED
            return None
        domain = transaction.sender.address.rpartition("@")[2]
        identifier = self._trace_ids.new()
        received = transaction.received(identifier.partition(".")[0])
        trace = Trace(received, identifier, f"<{secrets.token_hex(16)}@{domain}>", transaction.at)
        header = rewrite_header(
            fields,
            transaction.sender,
            trace,
            envelope_sender=transaction.envelope_sender,
            recipients=transaction.recipients,
        )
        self._new = NewJob(
            PIPELINE,
            transaction.via,
            transaction.upstream_sender,
            (*transaction.recipients, *transaction.copies),
            subject=summarize_subject(header),
            lifetime=LIFETIME,
            notes=_notes(transaction, identifier),
            message_id=message_id_of(fields) or trace.message_id,
            send_at=transaction.send_at,
        )
        file = JobFile(self._acceptance, self._new)
        await file.write(header)
        return file


def _notes(transaction: Transaction, identifier: str) -> dict[str, str]:
    """Return the notes of the job: its identifiers, which match reports to it, and when it is due."""
    notes = {DEVICE_NOTE: transaction.device, ENVELOPE_ID: identifier}
    if transaction.send_at is not None:
        notes[DUE_NOTE] = f"{transaction.send_at:.0f}"
    # Nothing is ever reported to the null sender.
    if transaction.wants_reports and transaction.upstream_sender:
        notes[NOTIFY] = _REPORTED_EVENTS
    return notes
