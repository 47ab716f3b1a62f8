"""The hourly cleanup of the fax pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.errors import InputError
from mailslot_plugins.fax.destinations import restrict_folders
from mailslot_plugins.fax.reception import JOURNAL
from mailslot_plugins.fax.reports import PIPELINE, mark_missing_reports

if TYPE_CHECKING:
    from mailslot.service.device import Device


async def clean_up(device: Device) -> None:
    """Restrict fax folders to their owner, mark missing reports, and delete journals of forgotten mails."""
    await restrict_folders(device)
    await mark_missing_reports(device)
    store = device.store(PIPELINE)
    for name in await store.items():
        if name.startswith(JOURNAL):
            try:
                await device.spool.ledger.mail(int(name.removeprefix(JOURNAL)))
            except InputError:
                # The ledger does not know the mail any more.
                await store.delete(name)
