"""What reports that came back tell of faxes, besides what they tell of every mail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot_plugins.fax.capabilities import forget, learn
from mailslot_plugins.sending.confirmation import OVERALL, given_up, status_of
from mailslot_plugins.sending.reports import take_report

if TYPE_CHECKING:
    from mailslot.service.device import Device
    from mailslot.spool.job import Job
    from mailslot_plugins.intake.report import Report

PIPELINE: Final = "fax"
PATIENCE: Final = 5 * 86400.0
"""Seconds after which a report is not waited for any more: mail servers give up after as long (RFC 5321 section
4.5.4.1)."""

_PAGE: Final = 500


async def take(report: Report, device: Device) -> str:
    """Show a report on the job that it is about; returns what came of it, for people.

    What the recipient of a fax says that it takes is remembered, and forgotten where it could not be delivered.
    """
    job, said = await take_report(report, device)
    if job is not None and job.pipeline == PIPELINE:
        store = device.store(PIPELINE)
        for each in job.recipients:
            status = status_of(job.notes, each.address)
            if status == "failed":
                await forget(store, each.address)
            elif status == "processed" and report.kind == "disposition" and len(job.recipients) == 1:
                await learn(store, each.address, report.groups[0].get("media-accept-features", ""), device.now())
    return said


async def give_up_waiting(device: Device) -> None:
    """Note on old faxes that no report has come."""
    for job in await _faxes(device):
        if OVERALL in job.notes and job.state == "sent" and device.now() - job.changed_at > PATIENCE:
            notes = given_up(job, "no report has come")
            if notes:
                await device.spool.annotate(job.id, notes)


async def _faxes(device: Device) -> list[Job]:
    found: list[Job] = []
    while jobs := await device.spool.jobs(pipeline=PIPELINE, limit=_PAGE, before=found[-1].id if found else None):
        found += jobs
    return found
