"""The JSON documents that commands print with ``--json`` and the panel's API returns.

Times are in ISO 8601, except in the document of a poll, where they are in seconds since 1970.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from anyio.to_thread import run_sync

from mailslot.diagnosis.history import History
from mailslot.diagnosis.tested_settings import is_outdated, tested_settings
from mailslot.spool.job import DEVICE_NOTE
from mailslot.timestamps import iso

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mailslot.diagnosis.history import PastTest
    from mailslot.oauth.health import Health
    from mailslot.service.poll_report import PollReport
    from mailslot.service.received import ReceivedMail
    from mailslot.slots.records import Records
    from mailslot.slots.slot import Slot
    from mailslot.spool.job import Job


async def slot_rows(records: Records, slots: Collection[Slot]) -> list[dict[str, Any]]:
    """Return the document of each slot: that of `token_rows`, with the last connection test.

    Raises:
        MailError: the settings cannot be used.
    """
    rows = await token_rows(records, slots)
    history = History(records.place)
    last = {
        record: _last_test(await history.last(record), await run_sync(tested_settings, records, record))
        for record in {slot.record for slot in slots}
    }
    return [{**row, "last_test": last[row["record"]]} for row in rows]


async def token_rows(records: Records, slots: Collection[Slot]) -> list[dict[str, Any]]:
    """Return the document of each slot's token.

    Raises:
        MailError: the settings cannot be used.
    """
    return await run_sync(_token_rows, records, slots)


def _token_rows(records: Records, slots: Collection[Slot]) -> list[dict[str, Any]]:
    settings, now = records.settings.load(), time.time()
    states = {
        record: records.tokens.status_blocking(record, settings[record], now)
        for record in {slot.record for slot in slots}
    }
    rows: list[dict[str, Any]] = []
    for slot in slots:
        token, health = states[slot.record]
        rows.append(
            {
                "slot": slot.id,
                "path": slot.path,
                "record": slot.record,
                "protocol": slot.protocol,
                "authentication": settings[slot.record].authentication,
                "token": token,
                "health": None if health is None else _health(health),
            }
        )
    return rows


def job_document(job: Job) -> dict[str, Any]:
    """Return the document of a job."""
    return {
        "id": job.id,
        "pipeline": job.pipeline,
        "device": job.notes.get(DEVICE_NOTE),
        "via": job.via,
        "state": job.state,
        "sender": job.sender,
        "recipients": [each.address for each in job.recipients],
        "delivery": [
            {"address": each.address, "state": each.state, "reply": each.reply, "cause": each.cause}
            for each in job.recipients
        ],
        "subject": job.subject,
        "size": job.size,
        "message_id": job.message_id,
        "cause": job.cause,
        "message": job.sentence,
        "reply": job.reply,
        "attempts": job.attempts,
        "created_at": iso(job.created_at),
        "changed_at": iso(job.changed_at),
        "next_attempt": iso(job.next_attempt),
        "expires_at": iso(job.expires_at),
        "notes": dict(job.notes),
    }


def mail_document(received: ReceivedMail) -> dict[str, Any]:
    """Return the document of a fetched mail."""
    mail = received.mail
    return {
        "id": mail.id,
        "record": mail.record,
        "uid": mail.uid,
        "state": mail.state,
        "from": received.sender,
        "subject": received.subject,
        "size": mail.size,
        "pages": received.pages,
        "tries": mail.tries,
        "received_at": iso(mail.fetched_at),
        "due_at": iso(mail.due_at),
        "reason": mail.reason,
    }


def poll_document(slot: Slot, report: PollReport) -> dict[str, Any]:
    """Return the document of a poll."""
    return {
        "slot": slot.id,
        "record": slot.record,
        **report.summary(),
        "message": report.sentence,
        "notes": list(report.notes),
        "handled": [
            {
                "mail": each.mail.id,
                "uid": each.mail.uid,
                "size": each.mail.size,
                "sender": each.sender,
                "subject": each.subject,
                "outcome": each.outcome.replace(" ", "_"),
                "note": each.note,
            }
            for each in report.handled
        ],
    }


def _health(health: Health) -> dict[str, Any]:
    values = asdict(health)
    for key in ("obtained_at", "expires_at", "renewed_at", "secret_expires_at"):
        values[key] = iso(values[key])
    if values["failure"] is not None:
        for key in ("at", "retry_at"):
            values["failure"][key] = iso(values["failure"][key])
    return values


def _last_test(tests: Sequence[PastTest], current: str) -> dict[str, Any] | None:
    """Return a record's newest test, and when a test last passed; None if there was no test."""
    if not tests:
        return None
    newest = tests[0]
    return {
        "at": iso(newest.at),
        "ok": newest.ok,
        "stage": newest.stage,
        "cause": newest.cause,
        "outdated": is_outdated(newest, current),
        "worked_at": next((iso(past.at) for past in tests if past.ok), None),
    }
