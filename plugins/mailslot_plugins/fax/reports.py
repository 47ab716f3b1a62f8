"""Reports that came back, matched to the fax that they are about."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from mailslot.spool.job import ENVELOPE_ID
from mailslot_plugins.fax.capabilities import forget, learn
from mailslot_plugins.fax.confirmation import OVERALL, given_up, reported, status_of

if TYPE_CHECKING:
    from mailslot.service.device import Device
    from mailslot.spool.job import Job
    from mailslot_plugins.intake.report import Report

PIPELINE: Final = "fax"
PATIENCE: Final = 5 * 86400.0
"""Seconds after which a report is not waited for any more: mail servers give up after as long (RFC 5321 section
4.5.4.1)."""

_PAGE: Final = 500

logger = logging.getLogger(__name__)


async def take(report: Report, device: Device) -> str:
    """Show a report on the job that it is about; returns what came of it, for people."""
    job = await _job_of(report, device)
    if job is None:
        return "a report about a mail that is not known here"
    notes = reported(report, job)
    if notes:
        job = await device.spool.annotate(job.id, notes)
        logger.info("Fax is reported %s", job.notes[OVERALL], extra={"job": job.id, "pipeline": PIPELINE})
    store = device.store(PIPELINE)
    for each in job.recipients:
        status = status_of(job.notes, each.address)
        if status == "failed":
            await forget(store, each.address)
        elif status == "processed" and report.kind == "disposition" and len(job.recipients) == 1:
            await learn(store, each.address, report.groups[0].get("media-accept-features", ""), device.now())
    return f"a report about job {job.id}: {job.notes.get(OVERALL, 'nothing new')}"


async def give_up_waiting(device: Device) -> None:
    """Note on old faxes that no report has come."""
    for job in await _faxes(device):
        if OVERALL in job.notes and job.state == "sent" and device.now() - job.changed_at > PATIENCE:
            notes = given_up(job, "no report has come")
            if notes:
                await device.spool.annotate(job.id, notes)


async def _job_of(report: Report, device: Device) -> Job | None:
    """Return the fax whose envelope identifier or Message-ID a report names; both are random."""
    group = report.groups[0]
    envelope = group.get("original-envelope-id", "")
    messages = {group.get("original-message-id", ""), report.returned} - {""}
    for job in await _faxes(device):
        if (envelope and job.notes.get(ENVELOPE_ID) == envelope) or job.message_id in messages:
            return job
    return None


async def _faxes(device: Device) -> list[Job]:
    found: list[Job] = []
    while jobs := await device.spool.jobs(pipeline=PIPELINE, most=_PAGE, before=found[-1].id if found else None):
        found += jobs
    return found
