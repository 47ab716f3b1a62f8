"""Notifies the owners of devices of mail that was not delivered: one notice for many jobs, at most every 15 minutes.

The owner is the address `notify` of the device's entry, and never an address from a mail. The notice is about the jobs'
replies from servers, reports that came back, and long waits. Only jobs from devices count, so there is never a notice
about a notice.

A notice is first planned in the store, with a key, then accepted as a job, then noted in the jobs that it is about. So
whenever this is interrupted, the notice is accepted once, with all of its jobs.
"""

from __future__ import annotations

import logging
import math
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from mailslot.errors import InputError, MailError
from mailslot.plugin import NewJob
from mailslot.spool.job import DEVICE_NOTE
from mailslot_plugins.gateway.message_writer import PIPELINE
from mailslot_plugins.gateway.notice_text import compose_notice
from mailslot_plugins.gateway.undelivered import LATE_AFTER, REPORTED_NOTE, state_to_report
from mailslot_plugins.sending.account import sender_mailbox, sending_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.plugin import Device, Job

NOTICE_PIPELINE: Final = "gateway-notices"
"""The pipeline of notices."""

INTERVAL: Final = 900.0
"""Seconds between two notices to an owner."""

CHECK_INTERVAL: Final = 60.0
LIFETIME: Final = 5 * 86_400.0
MAX_JOBS: Final = 1_000
"""The maximum number of jobs in a notice."""

_STORED: Final = "notices"
_ALERT_RECORD: Final = "alert-smtp"

logger = logging.getLogger(__name__)


class Owner(NamedTuple):
    """The address of an owner, and the record through which notices are sent there."""

    address: str
    record: str


class Notice(NamedTuple):
    """A notice that is due.

    Attributes:
        key: its unique key.
        owner: the recipient.
        jobs: the id of each job, with the text for its note.
    """

    key: str
    owner: Owner
    jobs: Mapping[int, str]

    def as_json(self) -> list[Any]:
        """Return it as a JSON value."""
        return [self.key, *self.owner, list(self.jobs.items())]

    @classmethod
    def from_json(cls, stored: list[Any]) -> Self:
        """Return it from a JSON value."""
        key, address, record, jobs = stored
        return cls(key, Owner(address, record), dict(jobs))


class OwnerNotices:
    """Notifies the owners of a gateway's devices.

    Args:
        device: the device that mailslot runs on.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._store = device.store(PIPELINE)

    async def run(self) -> None:
        """Send notices until cancelled, while any device has an owner."""
        repeated = ""
        while True:
            wanted = any(entry.notify for entry in self._device.gateway.devices.values())
            sentence = ""
            if wanted:
                try:
                    await self.send_due()
                except MailError as error:
                    sentence = str(error)
            if sentence and sentence != repeated:
                logger.warning("The owners of devices cannot be notified now, and are notified later: %s", sentence)
            repeated = sentence
            await self._device.pause(CHECK_INTERVAL if wanted else math.inf)

    async def send_due(self) -> None:
        """Accept the notices that are due.

        Raises:
            MailError: a notice could not be accepted; it is tried again at the next call.
        """
        stored = await self._store.get(_STORED, {"sent": [], "due": []})
        due = [Notice.from_json(each) for each in stored["due"]]
        if not due:
            # Notices left by an interruption come first, and alone, so that no job is reported twice.
            due = await self._plan(stored)
        while due:
            try:
                await self._accept(due[0])
            except InputError as error:
                # Its account was removed, for example; a later notice has its jobs.
                logger.warning("%s cannot be notified of what was not delivered: %s", due[0].owner.address, error)
            due = due[1:]
            await self._store.put(_STORED, {**stored, "due": [notice.as_json() for notice in due]})

    async def _plan(self, stored: dict[str, Any]) -> list[Notice]:
        """Decide which notices are due, and store them with the time; `stored` is changed as well."""
        now = self._device.now()
        # Times in the future are from before the clock was set back; they would delay all notices until then.
        sent = {Owner(address, record): at for address, record, at in stored["sent"] if now - INTERVAL < at <= now}
        owners = await self._owners()
        found: dict[Owner, dict[int, str]] = {}
        async for job in self._device.spool.undelivered(PIPELINE, accepted_before=now - LATE_AFTER):
            owner = owners.get(job.notes.get(DEVICE_NOTE, ""))
            # A record that is held would hold the notice as well.
            if owner is None or owner in sent or (job.state == "held" and owner.record == job.via):
                continue
            if (what := state_to_report(job, now)) and len(jobs := found.setdefault(owner, {})) < MAX_JOBS:
                jobs[job.id] = what
        # Random, since a list of jobs that was rebuilt from its files has the keys, but not their number.
        due = [Notice(f"notice-{secrets.token_hex(16)}", *each) for each in found.items()]
        if due:
            stored["sent"] = [[*owner, at] for owner, at in (sent | dict.fromkeys(found, now)).items()]
            await self._store.put(_STORED, {**stored, "due": [notice.as_json() for notice in due]})
        return due

    async def _owners(self) -> Mapping[str, Owner]:
        """Return the owner of each device; devices whose owner cannot be notified now are left out.

        Notices are sent through the record of alerts, or through the device's own if that is not set up.
        """
        owners: dict[str, Owner] = {}
        alerts_work = await self._can_send(_ALERT_RECORD)
        for name, entry in self._device.gateway.devices.items():
            if entry.notify is None:
                continue
            with suppress(InputError):
                record = _ALERT_RECORD if alerts_work else self._device.slots.find(entry.via).record
                if alerts_work or await self._can_send(record):
                    owners[name] = Owner(entry.notify, record)
        return owners

    async def _can_send(self, record: str) -> bool:
        try:
            await sending_settings(self._device, record)
        except InputError:
            return False
        return True

    async def _accept(self, notice: Notice) -> None:
        jobs: list[Job] = []
        for job_id in notice.jobs:
            try:
                jobs.append(await self._device.spool.job(job_id))
            except InputError:
                continue  # its row was deleted meanwhile
        if not jobs:
            return
        record = notice.owner.record
        sender = sender_mailbox(self._device, await sending_settings(self._device, record))
        message = compose_notice(jobs, sender, notice.owner.address, self._device.identity.language)
        new = NewJob(
            NOTICE_PIPELINE,
            record,
            sender.address,
            [notice.owner.address],
            subject=message.subject,
            lifetime=LIFETIME,
            key=notice.key,
        )
        await self._device.spool.accept(new, message)
        await self._device.spool.annotate_all({job: {REPORTED_NOTE: what} for job, what in notice.jobs.items()})
