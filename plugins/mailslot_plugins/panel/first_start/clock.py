"""Compares the device's clock with the servers of the chosen provider."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mailslot.diagnosis.clock import is_clock_wrong, measure_clock_skew
from mailslot.errors import MailError

if TYPE_CHECKING:
    from mailslot.service.device import Device

_TIMEOUT: Final = 10.0
"""Seconds for the whole check."""


@dataclass(slots=True)
class ClockCheck:
    """The result of a check.

    Attributes:
        state: ``right``, ``wrong``, or ``unknown`` if no server answered.
        seconds: how far the clock is behind; negative if it is ahead.
    """

    state: str = "unknown"
    seconds: int = 0

    @property
    def minutes(self) -> int:
        """The difference in whole minutes, at least one."""
        return max(1, round(abs(self.seconds) / 60))


async def check_clock(device: Device, record: str, check: ClockCheck) -> None:
    """Ask a record's provider for the time, and store the result in `check`."""
    try:
        profile = await device.connector.profile(record)
    except MailError:
        return
    skew, _ = await measure_clock_skew(device.connector, profile, _TIMEOUT)
    if skew is not None:
        check.state, check.seconds = "wrong" if is_clock_wrong(skew) else "right", round(skew)
