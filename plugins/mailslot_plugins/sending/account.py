"""The accounts that send scans, faxes and notices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anyio import to_thread

from mailslot.errors import InputError
from mailslot.message import Mailbox
from mailslot.slots.effective_settings import effective_settings

if TYPE_CHECKING:
    from mailslot.service.device import Device
    from mailslot.slots.settings import Settings

RECORD: Final = "smtp"
"""The record of the account for scans and faxes."""

HOUR: Final = 3600.0
"""Seconds; the unit of the setting `lifetime`."""


async def sending_settings(device: Device, record: str = RECORD) -> Settings:
    """Return the settings of a sending account.

    Args:
        device: the device.
        record: the account's record.

    Raises:
        InputError: cause `not_configured`: the server or the sender address is not set, or the account was removed.
    """
    in_use = await to_thread.run_sync(device.records.settings.current)
    if record not in in_use.records:
        raise InputError(f"There is no {record} any more.", stage="resolve", cause="not_configured")
    settings = effective_settings(in_use.records[record], "SMTP")
    missing = [name for name in ("server", "sender_address") if getattr(settings, name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        [slot, *_] = in_use.slots.of(record)
        raise InputError(
            f"Nothing can be sent yet: {' and '.join(missing)} of {slot.id} {verb} not set. "
            f"mailslot set {slot.id} {' '.join(f'{name}=…' for name in missing)}",
            stage="resolve",
            cause="not_configured",
        )
    return settings


def sender_mailbox(device: Device, settings: Settings) -> Mailbox:
    """Return the sender: the account's address, because it may send as nobody else, with the configured name."""
    name = settings.sender_name or device.identity.name
    return Mailbox(settings.sender_address or "", " ".join(name.split()), role="sender")
