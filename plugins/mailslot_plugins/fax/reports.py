"""Reports about sent faxes, and what they say about the recipients' capabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.spool.job import CONFIRMATION_NOTE
from mailslot_plugins.fax.capabilities import forget_capabilities, learn_capabilities
from mailslot_plugins.sending.confirmation import notes_without_report, status_of
from mailslot_plugins.sending.reports import apply_report

if TYPE_CHECKING:
    from mailslot.service.device import Device
    from mailslot.spool.job import Job
    from mailslot_plugins.intake.report import Report

PIPELINE: Final = "fax"
REPORT_TIMEOUT: Final = 5 * 86400.0
"""Seconds after which a report is not expected any more: mail servers give up after as long (RFC 5321 section
4.5.4.1)."""

_PAGE_SIZE: Final = 500


async def apply_fax_report(report: Report, device: Device) -> str:
    """Add a report to the job that it is about; return a sentence about it.

    The capabilities of a fax's recipient are stored, or deleted if the fax could not be delivered.
    """
    job, sentence = await apply_report(report, device)
    if job is not None and job.pipeline == PIPELINE:
        store = device.store(PIPELINE)
        for each in job.recipients:
            status = status_of(job.notes, each.address)
            if status == "failed":
                await forget_capabilities(store, each.address)
            elif status == "processed" and report.kind == "disposition" and len(job.recipients) == 1:
                await learn_capabilities(
                    store, each.address, report.groups[0].get("media-accept-features", ""), device.now()
                )
    return sentence


async def mark_missing_reports(device: Device) -> None:
    """Mark old faxes without a report as unconfirmed."""
    for job in await _all_faxes(device):
        if CONFIRMATION_NOTE in job.notes and job.state == "sent" and device.now() - job.changed_at > REPORT_TIMEOUT:
            notes = notes_without_report(job, "no report has come")
            if notes:
                await device.spool.annotate(job.id, notes)


async def _all_faxes(device: Device) -> list[Job]:
    found: list[Job] = []
    while jobs := await device.spool.jobs(pipeline=PIPELINE, limit=_PAGE_SIZE, before=found[-1].id if found else None):
        found += jobs
    return found
