"""Handles mail of accounts: applies reports about sent mail, and keeps other mail for the devices that fetch it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio.to_thread import run_sync

from mailslot.plugin import Done, SetAside
from mailslot.service.handling import WAITS_FOR_DEVICE, is_fetched_by_devices
from mailslot_plugins.intake.mail import open_mail
from mailslot_plugins.intake.process import IntakeError
from mailslot_plugins.sending.reports import apply_report

if TYPE_CHECKING:
    from mailslot.plugin import Device, Handled, Incoming
    from mailslot_plugins.sending.reports import ReportOutcome


async def handle_account_mail(mail: Incoming, device: Device) -> Handled:
    """Add a report to the job that it is about, and keep mail until a device deletes it.

    If no device fetches from the account, mail other than reports is set aside unless it stays in the mailbox, since
    strangers could fill the spool with it, and devices could no longer send.
    """
    # Waiting mail is handled again every day.
    outcome = None if was_examined(mail) else await apply_if_report(mail, device)
    if await run_sync(is_fetched_by_devices, device, mail.record):
        return WAITS_FOR_DEVICE
    if outcome is not None and outcome.job is not None:
        return Done(outcome.sentence)
    in_use = await run_sync(device.records.settings.current)
    if in_use.records[mail.record].after_fetch == "keep":
        return Done("no report about a mail that was sent here; it stays in the mailbox")
    return SetAside("It is not a report about a mail that was sent here, and no device fetches from this account.")


def was_examined(mail: Incoming) -> bool:
    """Whether a mail was handled before, and was kept for devices."""
    return mail.reason == WAITS_FOR_DEVICE.why


async def apply_if_report(mail: Incoming, device: Device) -> ReportOutcome | None:
    """Add a report to the job that it is about; return the result, None for other mail.

    Raises:
        SpoolError: it could not be added.
    """
    # When a device deletes it, its file may not be on this machine.
    async with device.working_folder() as folder, device.spool.ledger.local_file(mail) as path:
        if path is None:
            return None
        try:
            opened = await open_mail(path, folder)
        except IntakeError:
            return None
        return None if opened.report is None else await apply_report(opened.report, device)
