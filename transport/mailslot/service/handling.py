"""What is safe in the spool is handed to its pipeline: each mail once, and none can keep the others waiting."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import anyio
from anyio.to_thread import run_sync

from mailslot.containment import Contained
from mailslot.service.header_summary import summarize_header_of
from mailslot.service.log import described
from mailslot.service.pipeline import Done, Later, SetAside
from mailslot.service.poll_plan import TRIES
from mailslot.service.poll_report import Handling
from mailslot.spool.errors import SpoolError

if TYPE_CHECKING:
    from mailslot.service.device import Device
    from mailslot.service.pipeline import Handled, Pipeline
    from mailslot.spool.incoming import Incoming

LONGEST: Final = 1800.0
"""Seconds after which the handling of one mail is given up."""

_PAUSES: Final = (60.0, 600.0)
"""Seconds before the second and the third try."""

_FULL_PAUSE: Final = 300.0

logger = logging.getLogger(__name__)


async def handle_waiting(device: Device, record: str, pipeline: Pipeline) -> list[Handling]:
    """Have all mails of a record handled that are due; for whoever holds `Ledger.polling` of it.

    Returns:
        what came of each.

    Raises:
        SpoolError: what came of one could not be noted.
    """
    found: list[Handling] = []
    seen: set[int] = set()
    while mails := [mail for mail in await device.spool.ledger.waiting(record, device.now()) if mail.id not in seen]:
        for mail in mails:
            seen.add(mail.id)
            found.append(await _handle(device, mail, pipeline))
    return found


async def next_due(device: Device, record: str) -> float | None:
    """Return in how many seconds the first mail is to be handled that waits; None where none does."""
    waiting = await device.spool.ledger.mails(record, states={"fetched"}, most=1000)
    return min((max((mail.due_at or 0.0) - device.now(), 0.0) for mail in waiting), default=None)


async def _handle(device: Device, mail: Incoming, pipeline: Pipeline) -> Handling:
    ledger = device.spool.ledger
    seen = None if mail.path is None else await run_sync(summarize_header_of, mail.path)
    # Counted before anything is done, so that a mail that ends the process is set aside in the end, too.
    mail = await ledger.take(mail.id)
    handled, counts = await _result(device, mail, pipeline)
    extra = {"record": mail.record, "pipeline": pipeline.name, "mail": mail.id}
    if isinstance(handled, Done):
        await ledger.done(mail.id, handled.note)
        logger.info("Mail handled: %s", handled.note or "done", extra=extra)
    elif isinstance(handled, SetAside):
        await ledger.set_aside(mail.id, handled.reason)
        logger.warning("Mail set aside: %s", handled.reason, extra=extra)
    else:
        await ledger.later(mail.id, device.now() + max(handled.seconds, 1.0), handled.why, counts=counts)
        logger.info("Mail to be handled later: %s", handled.why, extra=extra)
    return Handling(mail, handled, seen.sender if seen else "", seen.subject if seen else "")


async def _result(device: Device, mail: Incoming, pipeline: Pipeline) -> tuple[Handled, bool]:
    """Return what comes of a mail, and whether that was a try."""
    if mail.path is None:
        return SetAside("Its file is missing."), True
    if mail.tries > TRIES:
        return SetAside(f"Handling it has broken off {TRIES} times."), True
    try:
        with anyio.fail_after(LONGEST):
            with Contained():
                handled = await pipeline.handle(mail, device)
    except SpoolError as error:
        # A full disk is no fault of the mail.
        return Later(_FULL_PAUSE, str(error)), False
    except Exception as error:  # noqa: BLE001 - a pipeline is a plugin's, and must not keep other mail waiting
        said = described(error)
        logger.warning("Mail %d could not be handled in try %d: %s", mail.id, mail.tries, said)
        if mail.tries >= TRIES:
            return SetAside(f"It could not be handled in {TRIES} tries: {said}"), True
        return Later(_PAUSES[mail.tries - 1], said), True
    except BaseException:
        # Where that cannot be written, it counts as a try.
        with anyio.CancelScope(shield=True), suppress(SpoolError):
            await device.spool.ledger.later(mail.id, device.now(), "The device was stopped.", counts=False)
        raise
    return handled, not isinstance(handled, Later)
