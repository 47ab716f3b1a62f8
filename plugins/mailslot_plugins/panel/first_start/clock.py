"""Whether the device's clock is right, by what the chosen provider's servers say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mailslot.diagnosis.clock import is_wrong, measure_clock_skew
from mailslot.errors import MailError

if TYPE_CHECKING:
    from mailslot.service.device import Device

_LONGEST: Final = 10.0
"""Seconds for all of it."""


@dataclass(slots=True)
class ClockCheck:
    """What came of it.

    Attributes:
        state: ``right``, ``wrong``, or ``unknown`` where nobody was there to say.
        seconds: how far the clock is behind; negative where it is ahead.
    """

    state: str = "unknown"
    seconds: int = 0

    @property
    def minutes(self) -> int:
        """How far it is off, in whole minutes, and at least one."""
        return max(1, round(abs(self.seconds) / 60))


async def check_clock(device: Device, record: str, about: ClockCheck) -> None:
    """Ask the provider of a record for the time, and note in `about` what came of it."""
    try:
        access = await device.connector.profile(record)
    except MailError:
        return
    skew, _ = await measure_clock_skew(device.connector, access, _LONGEST)
    if skew is not None:
        about.state, about.seconds = "wrong" if is_wrong(skew) else "right", round(skew)
