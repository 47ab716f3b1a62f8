"""Devices in a folder, and the mails in their spools."""

from __future__ import annotations

import email
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import policy
from typing import TYPE_CHECKING

from mailslot.oauth.timing import Clocks
from mailslot.service.device import open_device
from mailslot.slots.records import Records

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from email.message import EmailMessage
    from pathlib import Path

    from mailslot.service.device import Device

SETTINGS = """
[device]
name = "Copier"
model = "BP-1"
serial_number = "0815"
location = "2nd floor"

[records.alert-smtp]
sender_address = "copier@example.test"
"""

ALERTS = """
[alerts]
recipients = ["admin@example.test"]
"""


@dataclass
class Clock:
    """A wall clock that stands still."""

    now: float = field(default=1_800_000_000.0)

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def run_device(home: Path, settings: str, clock: Clock | None = None) -> AsyncGenerator[Device]:
    """Open a device with these settings, and optionally a clock."""
    home.mkdir(exist_ok=True)  # noqa: ASYNC240 - of a test
    (home / "mailslot.toml").write_text(settings)
    clocks = None if clock is None else Clocks(wall=clock)
    async with open_device(Records(home), clocks=clocks) as device:
        yield device


async def sent_messages(device: Device) -> list[EmailMessage]:
    """Return the messages of all jobs, the oldest first."""
    found = []
    for job in reversed(await device.spool.jobs()):
        octets = b"".join([piece async for piece in device.spool.content(job).chunks()])
        found.append(email.message_from_bytes(octets, policy=policy.default))
    return found
