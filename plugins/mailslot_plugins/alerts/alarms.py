"""Alarms of a device, from any process: raise them, clear them, see what is open.

async with … as device:
    alarms = Alarms(device)
    await alarms.raise_("toner_low", part="black", detail="5 % are left")
    await alarms.clear("toner_low")
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from anyio.to_thread import run_sync

from mailslot.errors import InputError, MailError
from mailslot.message import Mailbox
from mailslot.slots.effective_settings import effective_settings
from mailslot.slots.section import DEVICE
from mailslot.spool.job import UNFINISHED, NewJob
from mailslot.spool.locks import exclusive_lock
from mailslot.timestamps import iso
from mailslot_plugins.alerts.board import Board, Cleared, Mail, Observed, Raised
from mailslot_plugins.alerts.board_json import as_json, from_json, lasting
from mailslot_plugins.alerts.incidents import accepted, resumed, step
from mailslot_plugins.alerts.kinds import find_kind
from mailslot_plugins.alerts.section import SECTION, policy
from mailslot_plugins.alerts.text import compose
from mailslot_plugins.intake.one_line import one_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from mailslot.service.device import Device
    from mailslot_plugins.alerts.board import Event, Policy

PIPELINE: Final = "alerts"
RECORD: Final = "alert-smtp"
LIFETIME: Final = 7 * 86400.0
"""How long a mail may wait for the server, in seconds."""

_LOCK_WAIT: Final = 30.0
logger = logging.getLogger(__name__)


class Alarms:
    """The alarms of a device; several processes may have them at once."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._store = device.store(PIPELINE)

    async def raise_(
        self, kind: str, *, part: str = "", detail: str = "", source: str = "command", debounce: float | None = None
    ) -> str:
        """Say that a condition is there; saying it again changes nothing.

        Args:
            kind: a kind's name.
            part: which of several it is about, such as ``black`` or ``tray 2``; each is an incident of its own.
            detail: what else there is to say, on one line.
            source: who says so; the condition is there as long as anybody does.
            debounce: how many seconds it must last before it is told of; None for what the settings say, else at
                once.

        Returns:
            why its mail could not be accepted yet, in a sentence; empty where it was, or is not due.

        Raises:
            InputError: there is no such kind.
            MailError: it could not be recorded.
        """
        found = find_kind(kind)
        values = self._device.settings(SECTION)
        wait = values["debounce"] if debounce is None else debounce
        raised = Raised(
            found.name,
            found.severity,
            part=one_line(part, 60),
            detail=one_line(detail, 500),
            source=source,
            debounce=0.0 if wait is None else float(wait),
            clear_after=_seconds(values["clear_after"], found.clear_after),
        )
        return await self.tell(raised)

    async def clear(self, kind: str, *, part: str | None = None, source: str | None = None) -> str:
        """Say that a condition is gone: of a part or of all, for one source or for all.

        Raises:
            InputError: there is no such kind.
            MailError: it could not be recorded.
        """
        return await self.tell(Cleared(find_kind(kind).name, None if part is None else one_line(part, 60), source))

    async def watched(self, *events: Event) -> str:
        """Record what a watch saw, as `tell` does, with the debounce and hysteresis that are set."""
        values = self._device.settings(SECTION)

        def as_set(raised: Raised) -> Raised:
            return replace(
                raised,
                debounce=_seconds(values["debounce"], raised.debounce),
                clear_after=_seconds(values["clear_after"], raised.clear_after),
            )

        return await self.tell(*(_each_raised(event, as_set) for event in events))

    async def resume(self, *watches: str) -> None:
        """Forget what these watches saw before the device was off, unless somebody was told of it.

        Raises:
            MailError: it could not be recorded.
        """
        async with self._turn():
            await self._save(resumed(await self.board(), watches))

    def _turn(self) -> AbstractAsyncContextManager[None]:
        """Be the only one, over all processes, who changes the board."""
        sentence = "Another process of mailslot is busy with the alarms and does not finish."
        return exclusive_lock(self._device.home / "locks" / "alerts.lock", sentence, timeout=_LOCK_WAIT)

    async def tell(self, *events: Event) -> str:
        """Record events, and accept whatever mails are due by now; without events, only that.

        Returns:
            why mails that are due could not be accepted yet, in a sentence; empty where they were.

        Raises:
            MailError: the events could not be recorded.
        """
        async with self._turn():
            rules = policy(self._device.settings(SECTION), self._device.settings(DEVICE)["administrator"])
            jobs = await self._device.spool.jobs(states=UNFINISHED, pipeline=PIPELINE, limit=rules.cap)
            before = await self.board()
            board = step(before, self._device.now(), rules, events, waiting=len(jobs))
            if events or board.outbox or lasting(board) != lasting(before):
                await self._save(board)
            return await self._post(board) or _unheard(board, rules)

    async def board(self) -> Board:
        """Return all that is known."""
        stored = await self._store.get("board")
        try:
            return Board() if stored is None else from_json(stored)
        except (KeyError, TypeError, ValueError):
            logger.warning("The alarms were kept by another version of mailslot, and begin anew.")
            return Board()

    async def _save(self, board: Board) -> None:
        await self._store.put("board", as_json(board))

    async def _post(self, board: Board) -> str:
        """Accept the mails that are due; each leaves the outbox only once it is safe in the spool."""
        for mail in board.outbox:
            try:
                sender = await sender_of(self._device)
                values = self._device.settings(SECTION)
                message = compose(mail, self._device.settings(DEVICE), sender, values["timezone"])
                new = NewJob(
                    pipeline=PIPELINE,
                    via=RECORD,
                    sender=sender.address,
                    recipients=mail.recipients,
                    subject=message.subject,
                    lifetime=LIFETIME,
                    key=mail.key,
                    notes=notes(mail),
                )
                job = await self._device.spool.accept(new, message)
            except MailError as error:
                return str(error)
            board = accepted(board, mail.key, job.id, job.message_id)
            await self._save(board)
        return ""


async def sender_of(device: Device) -> Mailbox:
    """Return whom alerts and answers are from.

    Raises:
        InputError: ``alert.smtp`` has no sender address; `not_configured`.
    """
    settings = effective_settings((await run_sync(device.records.settings.load))[RECORD], "SMTP")
    if settings.sender_address is None:
        raise InputError(
            "alert.smtp has no sender address: mailslot set alert.smtp sender_address=…",
            stage="envelope",
            cause="not_configured",
        )
    return Mailbox(settings.sender_address, settings.sender_name or "")


def _unheard(board: Board, rules: Policy) -> str:
    if any(not incident.told and not rules.recipients(incident.kind) for incident in board.incidents):
        return "nobody is named who is to be told: mailslot set alerts recipients=ADDRESS"
    return ""


def notes(mail: Mail) -> dict[str, str]:
    """Return what a mail says, field by field, for whoever is told of it in another way."""
    if mail.digest:
        return {"what": "digest", "alerts": str(len(mail.reports) + mail.left_out)}
    report = mail.reports[0]
    fields = ("what", "incident", "kind", "part", "detail", "severity")
    return {**{field: str(getattr(report, field)) for field in fields}, "since": iso(report.since)}


def _each_raised(event: Event, change: Callable[[Raised], Raised]) -> Event:
    match event:
        case Raised():
            return change(event)
        case Observed():
            return replace(event, conditions=tuple(map(change, event.conditions)))
        case Cleared():
            return event


def _seconds(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else float(value)
