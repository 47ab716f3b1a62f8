"""Fetched mail that waits in the spool until a device fetches it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.plugin import Later

if TYPE_CHECKING:
    from mailslot.plugin import Device, Incoming

_DAY: Final = 86_400.0


async def keep_for_devices(mail: Incoming, device: Device) -> Later:  # noqa: ARG001 - all mail is kept
    """Keep a mail until it is deleted by a device."""
    return Later(_DAY, "It waits for a device to fetch it.")
