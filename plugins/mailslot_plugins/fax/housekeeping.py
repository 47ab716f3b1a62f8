"""What is forgotten in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.errors import InputError
from mailslot_plugins.fax.destinations import close_folders
from mailslot_plugins.fax.reception import JOURNAL
from mailslot_plugins.fax.reports import PIPELINE, give_up_waiting

if TYPE_CHECKING:
    from mailslot.service.device import Device


async def keep_house(device: Device) -> None:
    """Close folders that others can look into, note which reports are not waited for any more, and forget old mails."""
    await close_folders(device)
    await give_up_waiting(device)
    store = device.store(PIPELINE)
    for name in await store.items():
        if name.startswith(JOURNAL):
            try:
                await device.spool.ledger.mail(int(name.removeprefix(JOURNAL)))
            except InputError:
                # The ledger has forgotten the mail itself.
                await store.delete(name)
