"""Handling fetched mail in its pipeline: each mail once, and without one mail delaying others."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import anyio
from anyio.to_thread import run_sync

from mailslot.errors import InputError
from mailslot.exit_guard import ExitGuard
from mailslot.service.header_summary import summarize_header_of
from mailslot.service.log import describe_error
from mailslot.service.pipeline import Done, Later, SetAside, mails_at_once
from mailslot.service.poll_plan import MAX_TRIES
from mailslot.service.poll_report import HandlingResult
from mailslot.shortage import is_memory_exhausted, is_shortage
from mailslot.slots.gateway.table_groups import DEVICES
from mailslot.slots.slot import is_account
from mailslot.spool.errors import SpoolError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mailslot.service.device import Device
    from mailslot.service.header_summary import HeaderSummary
    from mailslot.service.pipeline import Handled, Pipeline
    from mailslot.spool.incoming import Incoming

HANDLING_TIMEOUT: Final = 1800.0
"""Seconds after which the handling of a mail is cancelled."""

_ABANDON_TIMEOUT: Final = 60.0
"""Seconds that undoing what a mail had begun may take."""

_RETRY_DELAYS: Final = (60.0, 600.0)
"""Seconds before the second and the third attempt."""

_SHORTAGE_DELAY: Final = 300.0
"""Seconds before the next attempt where the disk is full, or the machine is short of descriptors or memory."""

WAITS_FOR_DEVICE: Final = Later(86_400.0, "It waits for a device to fetch it.")
"""What becomes of a mail that devices fetch over POP3."""

logger = logging.getLogger(__name__)


async def handle_waiting(device: Device, record: str, pipeline: Pipeline) -> list[HandlingResult]:
    """Handle all mails of a record that are due; the caller holds the record's `Ledger.polling_lock`.

    Returns:
        the result of each.

    Raises:
        SpoolError: a result could not be stored.
    """
    handling = _Handling(device, pipeline)
    seen: set[int] = set()
    while mails := [mail for mail in await device.spool.ledger.waiting(record, device.now()) if mail.id not in seen]:
        seen.update(mail.id for mail in mails)
        await handling.handle_all(mails)
    return handling.found


async def next_due(device: Device, record: str) -> float | None:
    """Return the seconds until the next waiting mail of a record is due; None if none is waiting.

    Raises:
        SpoolError: the ledger cannot be read.
    """
    ledger, now = device.spool.ledger, device.now()
    # The ledger knows which mails are due although their time is not reached, since the clock was set back.
    if await ledger.waiting(record, now, limit=1):
        return 0.0
    waiting = await ledger.mails(record, states={"fetched"}, limit=1000)
    return min((max((mail.due_at or 0.0) - now, 0.0) for mail in waiting), default=None)


class _Handling:
    """Handles mails one after the other, or several at once, so that what they write gets to the disk together.

    Attributes:
        found: the result of each mail, in the order in which they ended.
    """

    def __init__(self, device: Device, pipeline: Pipeline) -> None:
        self.found: list[HandlingResult] = []
        self._device = device
        self._pipeline = pipeline
        # A database has many devices, which are worked for at the same time as it is.
        self._at_once = mails_at_once(pipeline) if device.records.place.is_local else 1
        self._advanced = False
        """Whether the mail before is out of the way for good."""

    async def handle_all(self, mails: Sequence[Incoming]) -> None:
        if self._at_once == 1:
            await self._handle_each(iter(mails))
            return
        # A mail whose handling has broken off may have ended the process. Others that are handled meanwhile would be
        # blamed for it, and set aside as well.
        await self._handle_together([mail for mail in mails if not mail.tries])
        # If the power fails, new mails come before these the next time, too.
        self._advanced = False
        await self._handle_each(mail for mail in mails if mail.tries)

    async def _handle_together(self, mails: Sequence[Incoming]) -> None:
        left = iter(mails)
        failures: list[Exception] = []

        async def work() -> None:
            try:
                await self._handle_each(left)
            except Exception as error:  # noqa: BLE001 - raised below, so that no group wraps it
                failures.append(error)
                # No other is begun. Those that have begun may have printed, and are not handled again if they end.
                for _ in left:
                    pass

        async with anyio.create_task_group() as group:
            for _ in range(min(self._at_once, len(mails))):
                group.start_soon(work)
        if failures:
            raise failures[0]

    async def _handle_each(self, mails: Iterator[Incoming]) -> None:
        for mail in mails:
            with suppress(_HandledMeanwhileError):
                result = await _handle(self._device, mail, self._pipeline, durable=not self._advanced)
                self.found.append(result)
                self._advanced = not isinstance(result.handled, Later)


async def _handle(device: Device, mail: Incoming, pipeline: Pipeline, *, durable: bool) -> HandlingResult:
    async with device.spool.ledger.local_file(mail) as path:
        if path is None:
            return await _handle_summarized(device, mail, pipeline, None, durable=durable, waits=False)
        summary, waits = await run_sync(_look_at, device, mail, path)
        return await _handle_summarized(device, mail, pipeline, summary, durable=durable, waits=waits)


def _look_at(device: Device, mail: Incoming, path: Path) -> tuple[HeaderSummary, bool]:
    """Return the summary of a mail, and whether it waits for a device to fetch it. Blocks."""
    waits = not is_account(mail.record) and is_fetched_by_devices(device, mail.record)
    return summarize_header_of(path), waits


async def _handle_summarized(
    device: Device, mail: Incoming, pipeline: Pipeline, summary: HeaderSummary | None, *, durable: bool, waits: bool
) -> HandlingResult:
    ledger = device.spool.ledger
    # The attempt is counted first, so that a mail that crashes the process is eventually set aside, too.
    try:
        mail = await ledger.begin_handling(mail.id, durable=durable)
    except InputError as error:
        # A device has fetched and deleted it.
        raise _HandledMeanwhileError from error
    if mail.path is not None and waits:
        handled: Handled = WAITS_FOR_DEVICE
        counts = False
    else:
        handled, counts = await _run_pipeline(device, mail, pipeline)
    extra = {"record": mail.record, "pipeline": pipeline.name, "mail": mail.id}
    if isinstance(handled, Done):
        await ledger.mark_done(mail.id, handled.note)
        logger.info("Mail handled: %s", handled.note or "done", extra=extra)
    elif isinstance(handled, SetAside):
        await ledger.set_aside(mail.id, handled.reason)
        logger.warning("Mail set aside: %s", handled.reason, extra=extra)
    else:
        await ledger.postpone(mail.id, device.now() + max(handled.seconds, 1.0), handled.why, counts=counts)
        logger.info("Mail to be handled later: %s", handled.why, extra=extra)
    return HandlingResult(mail, handled, summary.sender if summary else "", summary.subject if summary else "")


async def _run_pipeline(device: Device, mail: Incoming, pipeline: Pipeline) -> tuple[Handled, bool]:
    """Return what is to become of a mail, and whether that counts as an attempt; a stop of the device does not."""
    if mail.path is None:
        return SetAside("Its file is missing."), True
    try:
        return await _attempt(device, mail, pipeline)
    except BaseException as error:
        if not isinstance(error, Exception):
            # If this cannot be written, the attempt counts.
            with anyio.CancelScope(shield=True), suppress(SpoolError):
                await device.spool.ledger.postpone(mail.id, device.now(), "The device was stopped.", counts=False)
        raise


async def _attempt(device: Device, mail: Incoming, pipeline: Pipeline) -> tuple[Handled, bool]:
    """Return the pipeline's result for a mail, and whether it counts as an attempt."""
    if mail.tries > MAX_TRIES:
        # This may end the process, too, and is not tried for ever.
        if mail.tries <= 2 * MAX_TRIES:
            await _abandon(device, mail, pipeline)
        return SetAside(f"Handling it was interrupted {MAX_TRIES} times."), True
    try:
        with anyio.fail_after(HANDLING_TIMEOUT):
            with ExitGuard():
                handled = await pipeline.handle(mail, device)
    except Exception as error:  # noqa: BLE001 - a pipeline may raise anything, and must not delay other mail
        description = describe_error(error)
        if isinstance(error, SpoolError) or (is_shortage(error) and not is_memory_exhausted(error)):
            # That the disk is full, for example, is not the mail's fault. That memory is not enough for it may be.
            return Later(_SHORTAGE_DELAY, description), False
        logger.warning("Mail %d could not be handled in try %d: %s", mail.id, mail.tries, description)
        if mail.tries >= MAX_TRIES:
            await _abandon(device, mail, pipeline)
            return SetAside(f"It could not be handled in {MAX_TRIES} attempts: {description}"), True
        return Later(_RETRY_DELAYS[mail.tries - 1], description), True
    return handled, not isinstance(handled, Later)


async def _abandon(device: Device, mail: Incoming, pipeline: Pipeline) -> None:
    """Have the pipeline undo what it had begun with a mail that is set aside."""
    abandon = getattr(pipeline, "abandon", None)
    if abandon is None:
        return
    try:
        with anyio.fail_after(_ABANDON_TIMEOUT):
            with ExitGuard():
                await abandon(mail, device)
    except Exception as error:  # noqa: BLE001 - as above
        logger.warning("What mail %d had begun could not be undone: %s", mail.id, describe_error(error))


def is_fetched_by_devices(device: Device, record: str) -> bool:
    """Whether devices of the gateway fetch a record's mail: then nobody else handles it, so that it is used once."""
    settings = device.records.settings.current()
    slots = settings.slots
    vias = (values.get("via") for values in settings.groups[DEVICES.name].values())
    return any(via is not None and slots.find(via).record == record for via in vias)


class _HandledMeanwhileError(Exception):
    """The mail needs no handling any more."""
