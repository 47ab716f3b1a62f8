"""Reports that came back, matched to the job that they are about, whichever pipeline it is of."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, NamedTuple

from mailslot.spool.job import ENVELOPE_ID
from mailslot_plugins.intake.one_line import one_line
from mailslot_plugins.sending.confirmation import OVERALL, reported

if TYPE_CHECKING:
    from mailslot.service.device import Device
    from mailslot.spool.job import Job
    from mailslot_plugins.intake.report import Report

_PAGE: Final = 500
_TOLD: Final = 3
"""Recipients of an unknown mail that are named."""

logger = logging.getLogger(__name__)


class ReportOutcome(NamedTuple):
    """What came of a report: the job that it is about, None where none is known, and that in words for people."""

    job: Job | None
    said: str


async def take_report(report: Report, device: Device) -> ReportOutcome:
    """Show a report on the job that it is about.

    The job's notes get what it says of each recipient; the job's own state tells of the mail server's answer, and
    stays.
    """
    job = await _job_of(report, device)
    if job is None:
        return ReportOutcome(None, f"a report about a mail that is not known here{_contents(report)}")
    notes = reported(report, job)
    if notes:
        job = await device.spool.annotate(job.id, notes)
        logger.info("A job is reported %s", job.notes[OVERALL], extra={"job": job.id, "pipeline": job.pipeline})
    return ReportOutcome(job, f"a report about job {job.id}: {job.notes.get(OVERALL, 'nothing new')}")


async def _job_of(report: Report, device: Device) -> Job | None:
    """Return the job whose envelope identifier or Message-ID a report names; both are random."""
    group = report.groups[0]
    envelope = group.get("original-envelope-id", "")
    named = [group.get("original-message-id", ""), *report.identifiers]
    found: dict[str, Job] = {}
    before: int | None = None
    while jobs := await device.spool.jobs(limit=_PAGE, before=before):
        for job in jobs:
            if envelope and job.notes.get(ENVELOPE_ID) == envelope:
                return job
            if job.message_id and job.message_id in named:
                found.setdefault(job.message_id, job)
        before = jobs[-1].id
    # The likeliest one comes first.
    return next((found[each] for each in named if each in found), None)


def _contents(report: Report) -> str:
    """Return whom a report is about, and what it says of each."""
    told: list[str] = []
    for group in report.groups:
        address = group.get("final-recipient", group.get("original-recipient", "")).rpartition(";")[2]
        said = group.get("action", "") or group.get("disposition", "").rpartition(";")[2]
        if address.strip():
            told.append(one_line(f"{address} {said} {group.get('status', '')}", 120))
    return f": {'; '.join(told[:_TOLD])}" if told else ""
