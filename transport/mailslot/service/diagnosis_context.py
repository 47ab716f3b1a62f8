"""The context for a diagnosis of an error in the service, so that it finds the same cause as the connection test."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from mailslot.diagnosis.context import DiagnosisContext
from mailslot.errors import MailError

if TYPE_CHECKING:
    from mailslot.service.device import Device
    from mailslot.slots.connection_profile import ConnectionProfile


async def context_of(device: Device, profile: ConnectionProfile) -> DiagnosisContext:
    """Return the context of a record."""
    grant = None
    if profile.settings.authentication == "oauth2":
        # Where the grant cannot be read, the error that is to be explained says so.
        with suppress(MailError):
            grant = await device.records.tokens.store(profile.record).load()
    return DiagnosisContext.of(profile, grant, device.now())
