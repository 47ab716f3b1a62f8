"""Tells the owners of devices what became of their mail: one mail for many jobs, at most every quarter of an hour.

The owner is the address `notify` of the device's entry, and never an address from a mail. What is told is found in the
jobs: replies of servers, reports that came back, and how long they have waited. Only jobs that devices have handed over
count, so nothing is ever told about such a mail itself.

A mail is planned in the store before it is accepted, with a key; then its jobs get a note. So however this is
interrupted, it is accepted once, and about all of its jobs.
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
from mailslot_plugins.gateway.undelivered import LATE_AFTER, TOLD_NOTE, news
from mailslot_plugins.sending.account import sender_mailbox, sending_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.plugin import Device, Job

NOTICE_PIPELINE: Final = "gateway-notices"
"""The pipeline of these mails."""

INTERVAL: Final = 900.0
"""Seconds between two mails to an owner."""

CHECK_INTERVAL: Final = 60.0
LIFETIME: Final = 5 * 86_400.0
MAX_JOBS: Final = 1_000
"""The most jobs of a mail."""

_STORED: Final = "notices"
_ALERT_RECORD: Final = "alert-smtp"

logger = logging.getLogger(__name__)


class Owner(NamedTuple):
    """Where the mails to an owner go: the address, and the record that they are sent through."""

    address: str
    record: str


class Notice(NamedTuple):
    """A mail that is due.

    Attributes:
        key: its unique key.
        owner: who gets it.
        jobs: what is told about each job, by id.
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
    """Tells the owners of a gateway's devices.

    Args:
        device: the device that mailslot runs on.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._store = device.store(PIPELINE)

    async def run(self) -> None:
        """Look for news until cancelled, while any device has an owner."""
        repeated = ""
        while True:
            wanted = any(entry.notify for entry in self._device.gateway.devices.values())
            sentence = ""
            if wanted:
                try:
                    await self.tell()
                except MailError as error:
                    sentence = str(error)
            if sentence and sentence != repeated:
                logger.warning("The owners of devices cannot be told now, and are told later: %s", sentence)
            repeated = sentence
            await self._device.pause(CHECK_INTERVAL if wanted else math.inf)

    async def tell(self) -> None:
        """Accept the mails that are due.

        Raises:
            MailError: one could not be accepted; it is tried again next time.
        """
        stored = await self._store.get(_STORED, {"sent": [], "due": []})
        due = [Notice.from_json(each) for each in stored["due"]]
        if not due:
            # Those that an interruption has left come first, and alone, so that nothing is told twice.
            due = await self._plan(stored)
        while due:
            try:
                await self._accept(due[0])
            except InputError as error:
                # Its account was removed, for example; its jobs are told about in a later mail.
                logger.warning("%s cannot be told what was not delivered: %s", due[0].owner.address, error)
            due = due[1:]
            await self._store.put(_STORED, {**stored, "due": [notice.as_json() for notice in due]})

    async def _plan(self, stored: dict[str, Any]) -> list[Notice]:
        """Decide which mails are due, and store that, with the time; `stored` is changed as well."""
        now = self._device.now()
        # Times in the future are from before the clock was set back: with them, nobody would be told until then.
        sent = {Owner(address, record): at for address, record, at in stored["sent"] if now - INTERVAL < at <= now}
        owners = await self._owners()
        found: dict[Owner, dict[int, str]] = {}
        async for job in self._device.spool.undelivered(PIPELINE, accepted_before=now - LATE_AFTER):
            owner = owners.get(job.notes.get(DEVICE_NOTE, ""))
            # What is held would hold a mail about it as well.
            if owner is None or owner in sent or (job.state == "held" and owner.record == job.via):
                continue
            if (what := news(job, now)) and len(jobs := found.setdefault(owner, {})) < MAX_JOBS:
                jobs[job.id] = what
        # Random, since a list of jobs that was made anew from its files knows the keys, but not how many there were.
        due = [Notice(f"notice-{secrets.token_hex(16)}", *each) for each in found.items()]
        if due:
            stored["sent"] = [[*owner, at] for owner, at in (sent | dict.fromkeys(found, now)).items()]
            await self._store.put(_STORED, {**stored, "due": [notice.as_json() for notice in due]})
        return due

    async def _owners(self) -> Mapping[str, Owner]:
        """Return who is told about each device's jobs; without those that nobody can be told about now.

        It is sent through the record of alerts, or the device's own where that one is not set up.
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
        await self._device.spool.annotate_all({job: {TOLD_NOTE: what} for job, what in notice.jobs.items()})
