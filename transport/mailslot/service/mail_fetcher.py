"""Fetching single mails of a maildrop into the spool; for one that is not fetched, it is recorded why."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from mailslot.errors import RefusedError
from mailslot.service.header_summary import MAX_OCTETS, summarize_header
from mailslot.service.pace import check_pace
from mailslot.service.poll_plan import MAX_TRIES
from mailslot.spool.limits import format_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.pop3.listing import Entry
    from mailslot.service.device import Device
    from mailslot.service.header_summary import HeaderSummary
    from mailslot.service.poll_report import PollReport
    from mailslot.slots.maildrop import MaildropSession

_MAX_HEADER_OCTETS: Final = 4_000_000
"""The maximum octets of a header that are read, though only the first ones are used."""

logger = logging.getLogger(__name__)


class OversizedMailError(Exception):
    """A mail exceeds the limit; the session must end without QUIT."""


class MailFetcher:
    """Fetches the mails of one poll.

    Args:
        device: the device.
        report: where what was fetched and refused is counted.
        extra: what log entries have besides their text.
        max_octets: the maximum octets of a mail to fetch.
    """

    def __init__(self, device: Device, report: PollReport, extra: Mapping[str, str], *, max_octets: int) -> None:
        self._device = device
        self._report = report
        self._extra = extra
        self._max_octets = max_octets
        self._ledger = device.spool.ledger
        self._given_up: set[str | Entry] = set()
        """The mails that could not be fetched in this poll, by unique-id, or by entry if they have none."""
        self._has_fetched = False
        """Whether a mail was fetched in this poll."""

    def has_given_up(self, entry: Entry) -> bool:
        """Whether a mail could not be fetched in this poll, so that it is not tried again before the next one."""
        return _key(entry) in self._given_up

    async def refuse(self, maildrop: MaildropSession, entry: Entry) -> None:
        """Record that a mail is not fetched, with its header summary for people.

        Raises:
            OversizedMailError: its header is too long.
            MailError: the session has failed.
        """
        if entry.size > self._max_octets:
            why = f"It has {format_size(entry.size)}, and no more than {format_size(self._max_octets)} are fetched"
            try:
                why = f"{why} ({await self.summarize_header(maildrop, entry)})"
            except OversizedMailError:
                await self._leave_on_server(entry, why)
                raise
        else:
            why = f"It could not be fetched in {MAX_TRIES} attempts"
        await self._leave_on_server(entry, why)

    async def _leave_on_server(self, entry: Entry, why: str) -> None:
        sentence = f"{why}; it stays on the server."
        # Without a unique-id, it would be recorded again at each poll.
        if entry.uid:
            await self._ledger.set_aside_unfetched(self._report.record, entry.uid, entry.size, sentence)
        self._report.refused += 1
        self.note(f"A mail is not fetched: {sentence}")

    async def summarize_header(self, maildrop: MaildropSession, entry: Entry) -> HeaderSummary:
        """Return the summary of a mail's header; an empty one if the server does not show it.

        Raises:
            OversizedMailError: it is too long.
            MailError: the session has failed.
        """
        header = bytearray()
        octets, began = 0, self._device.monotonic()
        try:
            async for piece in maildrop.top(entry):
                octets += len(piece)
                check_pace(octets, self._device.monotonic() - began)
                if octets > _MAX_HEADER_OCTETS:
                    self._given_up.add(_key(entry))
                    raise OversizedMailError
                if len(header) < MAX_OCTETS:
                    header += piece
        except RefusedError as error:
            logger.info("The server shows no header: %s", error, extra=self._extra)
        return summarize_header(bytes(header))

    async def fetch(self, maildrop: MaildropSession, entry: Entry, *, retry_set_aside: bool) -> bool:
        """Fetch a mail; return whether it is in the spool. A failure after its first octet ends the session.

        Args:
            maildrop: the session.
            entry: the mail.
            retry_set_aside: whether to have it handled again if it was set aside.

        Raises:
            OversizedMailError: it is larger than the server said.
            MailError: the session has failed, or the spool cannot take the mail.
        """
        octets, began = 0, self._device.monotonic()
        try:
            async with self._ledger.receive(self._report.record, entry.uid, entry.size) as file:
                await self._ledger.count_fetch(self._report.record, entry.uid, durable=not self._has_fetched)
                async for piece in maildrop.retrieve(entry):
                    octets += len(piece)
                    check_pace(octets, self._device.monotonic() - began)
                    if octets > self._max_octets:
                        raise OversizedMailError
                    await file.write(piece)
        except RefusedError as error:
            self.note(f"The server does not give mail {entry.number}: {error}")
            self._given_up.add(_key(entry))
            return False
        except OversizedMailError:
            self._given_up.add(_key(entry))
            await self._leave_on_server(entry, f"It has more than {format_size(self._max_octets)}")
            raise
        # It is in the spool for good, so that with each failure of the machine fewer mails come before the one that
        # causes it.
        self._has_fetched = True
        if file.mail is not None and file.mail.state == "set_aside" and retry_set_aside:
            await self._ledger.retry(file.mail.id)
        self._report.fetched += not file.duplicate
        self._report.copies += file.duplicate
        return True

    def note(self, sentence: str) -> None:
        """Put a sentence into the report and the log."""
        self._report.notes.append(sentence)
        logger.warning("%s", sentence, extra=self._extra)


def _key(entry: Entry) -> str | Entry:
    return entry.uid or entry
