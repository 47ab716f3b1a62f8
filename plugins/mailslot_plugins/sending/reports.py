"""Matches reports to the job that they are about, of any pipeline."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, NamedTuple

from mailslot.spool.job import CONFIRMATION_NOTE, ENVELOPE_ID
from mailslot_plugins.intake.one_line import one_line
from mailslot_plugins.sending.confirmation import names_recipient, notes_from_report

if TYPE_CHECKING:
    from mailslot.service.device import Device
    from mailslot.spool.job import Job
    from mailslot_plugins.intake.report import Report

_MAX_NAMED: Final = 3
"""The most recipients of an unknown mail that are named."""

logger = logging.getLogger(__name__)


class ReportOutcome(NamedTuple):
    """The job that a report is about, None if it is not known, and a sentence about it for people."""

    job: Job | None
    sentence: str


async def apply_report(report: Report, device: Device) -> ReportOutcome:
    """Add a report to the job that it is about.

    The status of each recipient is added to the job's notes. The job's state, which is the mail server's reply, does
    not change.
    """
    job = await _find_job(report, device)
    if job is None:
        return ReportOutcome(None, f"a report about a mail that is not known here{_summarize(report)}")
    notes = notes_from_report(report, job)
    if notes:
        job = await device.spool.annotate(job.id, notes)
        logger.info(
            "A job is reported %s", job.notes[CONFIRMATION_NOTE], extra={"job": job.id, "pipeline": job.pipeline}
        )
    return ReportOutcome(job, f"a report about job {job.id}: {job.notes.get(CONFIRMATION_NOTE, 'nothing new')}")


async def _find_job(report: Report, device: Device) -> Job | None:
    """Return the job whose envelope identifier, trace or Message-ID the report names.

    The first two are random. So is our own Message-ID, but some devices of the gateway give many mails the same one:
    then it is about the newest of those that had one of its recipients.
    """
    group = report.groups[0]
    envelopes = {group.get("original-envelope-id", ""), *report.traces} - {""}
    identifiers = [group.get("original-message-id", ""), *report.identifiers]
    found = await device.spool.sent_as(envelopes, set(identifiers) - {""})
    if any(job.notes.get(ENVELOPE_ID) in envelopes for job in found):
        return found[0]
    # The identifiers are in order of likelihood.
    for identifier in identifiers:
        same = [job for job in found if job.message_id == identifier]
        if len(same) > 1:
            same = [job for job in same if names_recipient(report, job)]
        if same:
            return same[0]
    return None


def _summarize(report: Report) -> str:
    """Return the recipients that a report names, each with its status."""
    entries: list[str] = []
    for group in report.groups:
        address = group.get("final-recipient", group.get("original-recipient", "")).rpartition(";")[2]
        action = group.get("action", "") or group.get("disposition", "").rpartition(";")[2]
        if address.strip():
            entries.append(one_line(f"{address} {action} {group.get('status', '')}", 120))
    return f": {'; '.join(entries[:_MAX_NAMED])}" if entries else ""
