"""Raises, clears and lists the alarms of a device, from any process.

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
from mailslot.message import Mailbox, Message
from mailslot.slots.effective_settings import effective_settings
from mailslot.slots.section import DEVICE
from mailslot.spool.job import UNFINISHED, NewJob
from mailslot.spool.locks import exclusive_lock
from mailslot.timestamps import iso
from mailslot_plugins.alerts.incidents import mark_accepted, reset_watched, step
from mailslot_plugins.alerts.kinds import find_kind
from mailslot_plugins.alerts.mail_text import compose, mail_word
from mailslot_plugins.alerts.section import SECTION, policy
from mailslot_plugins.alerts.state import AlertMail, AlertState, ConditionCleared, ConditionRaised, Observation
from mailslot_plugins.alerts.state_json import as_json, from_json, persistent_part
from mailslot_plugins.intake.auto_reply import AUTO_REPLY_HEADERS
from mailslot_plugins.intake.one_line import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from mailslot.service.device import Device
    from mailslot.slots.settings import Settings
    from mailslot.spool.job import Job
    from mailslot_plugins.alerts.state import AlertPolicy, Event

PIPELINE: Final = "alerts"
RECORD: Final = "alert-smtp"
LIFETIME: Final = 7 * 86400.0
"""Seconds that a mail may wait for the server."""

_LOCK_WAIT: Final = 30.0
logger = logging.getLogger(__name__)


class Alarms:
    """The alarms of a device; several processes may use them at once."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._store = device.store(PIPELINE)

    async def raise_(
        self, kind: str, *, part: str = "", detail: str = "", source: str = "command", debounce: float | None = None
    ) -> str:
        """Raise a condition; raising it again changes nothing.

        Args:
            kind: the name of its kind.
            part: the affected part, for example ``black`` or ``tray 2``; each part has its own incident.
            detail: further information, on one line.
            source: who raises it; the condition lasts until every source has cleared it.
            debounce: seconds that it must last before it is mailed; None for the setting, which defaults to 0.

        Returns:
            why its mail could not be accepted yet, in a sentence; empty if it was, or is not due.

        Raises:
            InputError: there is no such kind.
            MailError: it could not be recorded.
        """
        found = find_kind(kind)
        values = self._device.settings(SECTION)
        seconds = values["debounce"] if debounce is None else debounce
        raised = ConditionRaised(
            found.name,
            found.severity,
            part=one_line(part, 60),
            detail=one_line(detail, 500),
            source=source,
            debounce=0.0 if seconds is None else float(seconds),
            clear_after=_or_default(values["clear_after"], found.clear_after),
        )
        return await self.record(raised)

    async def clear(self, kind: str, *, part: str | None = None, source: str | None = None) -> str:
        """Clear a condition: of one part or all, for one source or all.

        Raises:
            InputError: there is no such kind.
            MailError: it could not be recorded.
        """
        return await self.record(
            ConditionCleared(find_kind(kind).name, None if part is None else one_line(part, 60), source)
        )

    async def record_observed(self, *events: Event) -> str:
        """Record events of a watch, as `record` does, with the configured debounce and hysteresis."""
        values = self._device.settings(SECTION)

        def with_settings(raised: ConditionRaised) -> ConditionRaised:
            return replace(
                raised,
                debounce=_or_default(values["debounce"], raised.debounce),
                clear_after=_or_default(values["clear_after"], raised.clear_after),
            )

        return await self.record(*(_map_raised(event, with_settings) for event in events))

    async def reset_watches(self, *watches: str) -> None:
        """Forget what these watches observed before a restart, unless it was mailed.

        Raises:
            MailError: it could not be recorded.
        """
        async with self._exclusive():
            await self._save(reset_watched(await self.state(), watches))

    def _exclusive(self) -> AbstractAsyncContextManager[None]:
        """Hold the lock on the state, over all processes."""
        sentence = "Another process of mailslot is busy with the alarms and does not finish."
        return exclusive_lock(self._device.records.place.lock("alerts", timeout=_LOCK_WAIT), sentence)

    async def record(self, *events: Event) -> str:
        """Record events, if any, and accept the mails that are due.

        Returns:
            why mails that are due could not be accepted yet, in a sentence; empty if they were.

        Raises:
            MailError: the events could not be recorded.
        """
        async with self._exclusive():
            rules = policy(self._device.settings(SECTION), self._device.settings(DEVICE)["administrator"])
            jobs = await self._device.spool.jobs(states=UNFINISHED, pipeline=PIPELINE, limit=rules.cap)
            before = await self.state()
            state = step(before, self._device.now(), rules, events, waiting=len(jobs))
            if events or state.outbox or persistent_part(state) != persistent_part(before):
                await self._save(state)
            return await self._enqueue_mails(state) or _missing_recipients(state, rules)

    async def state(self) -> AlertState:
        """Return the stored state."""
        stored = await self._store.get("board")
        try:
            return AlertState() if stored is None else from_json(stored)
        except (KeyError, TypeError, ValueError):
            logger.warning("The alarms were stored by another version of mailslot and are reset.")
            return AlertState()

    async def _save(self, state: AlertState) -> None:
        await self._store.put("board", as_json(state))

    async def _enqueue_mails(self, state: AlertState) -> str:
        """Put the mails that are due into the spool; each leaves the outbox once it is safely there."""
        for mail in state.outbox:
            try:
                sender = await alert_sender(self._device)
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
                    notes=mail_notes(mail),
                )
                job = await self._device.spool.accept(new, message)
            except MailError as error:
                return str(error)
            state = mark_accepted(state, mail.key, job.id, job.message_id)
            await self._save(state)
        return ""


async def alert_sender(device: Device) -> Mailbox:
    """Return the sender of alerts and status replies.

    Raises:
        InputError: cause `not_configured`: ``alert.smtp`` has no sender address.
    """
    return sender_of_alerts((await run_sync(device.records.settings.current)).records)


def sender_of_alerts(records: Mapping[str, Settings]) -> Mailbox:
    """Return what `alert_sender` does, from the settings of all records.

    Raises:
        InputError: as for `alert_sender`.
    """
    settings = effective_settings(records[RECORD], "SMTP")
    if settings.sender_address is None:
        raise InputError(
            "alert.smtp has no sender address: mailslot set alert.smtp sender_address=…",
            stage="envelope",
            cause="not_configured",
        )
    return Mailbox(settings.sender_address, settings.sender_name or "")


async def enqueue_device_mail(
    device: Device,
    sender: Mailbox,
    recipients: Sequence[str],
    title: str,
    text: str,
    *,
    what: str,
    key: str | None = None,
) -> Job:
    """Accept a mail of the device other than an alert; return its job.

    Args:
        device: the device.
        sender: the result of `alert_sender`.
        recipients: the recipients.
        title: its subject behind the device's name.
        text: its text.
        what: its type, for the job's notes.
        key: the same mail has the same key after a crash; None if it is accepted once.

    Raises:
        MailError: the spool cannot take it.
    """
    identity = device.settings(DEVICE)
    message = Message(
        sender=sender,
        to=recipients,
        subject=f"[{one_line(identity['name'] or mail_word('device', identity['language']), 60)}] {title}",
        text=text,
        auto_submitted="auto-generated",
        headers=AUTO_REPLY_HEADERS,
    )
    new = NewJob(PIPELINE, RECORD, sender.address, recipients, message.subject, LIFETIME, key=key, notes={"what": what})
    return await device.spool.accept(new, message)


def _missing_recipients(state: AlertState, rules: AlertPolicy) -> str:
    if any(not incident.told and not rules.recipients(incident.kind) for incident in state.incidents):
        return "there are no recipients: mailslot set alerts recipients=ADDRESS"
    return ""


def mail_notes(mail: AlertMail) -> dict[str, str]:
    """Return the fields of a mail, for the job's notes and the webhook."""
    if mail.digest:
        return {"what": "digest", "alerts": str(len(mail.reports) + mail.left_out)}
    report = mail.reports[0]
    fields = ("what", "incident", "kind", "part", "detail", "severity")
    return {**{field: str(getattr(report, field)) for field in fields}, "since": iso(report.since)}


def _map_raised(event: Event, change: Callable[[ConditionRaised], ConditionRaised]) -> Event:
    match event:
        case ConditionRaised():
            return change(event)
        case Observation():
            return replace(event, conditions=tuple(map(change, event.conditions)))
        case ConditionCleared():
            return event


def _or_default(value: float | None, default: float) -> float:
    return default if value is None else float(value)
