"""The context for diagnosing an error in the service, so that it has the same cause as in a connection test."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from mailslot.diagnosis.context import DiagnosisContext
from mailslot.errors import MailError

if TYPE_CHECKING:
    from mailslot.service.device import Device
    from mailslot.slots.connection_profile import ConnectionProfile


async def context_of(device: Device, profile: ConnectionProfile) -> DiagnosisContext:
    """Return the context for an error of a record."""
    grant = None
    if profile.settings.authentication == "oauth2":
        # If the grant cannot be read, the error to be diagnosed already says so.
        with suppress(MailError):
            grant = await device.records.tokens.store(profile.record).load()
    return DiagnosisContext.of(profile, grant, device.now())
