"""How much the spool holds, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_MB: Final = 1_000_000
_DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a spool; times are in seconds, sizes in octets.

    Attributes:
        jobs: how many jobs may wait at once.
        recipients: how many recipients a job may have.
        octets: how large all files may be together, jobs' and fetched mails'.
        message: how large one message may be.
        spare: what must stay free on the disk, so that states can still be written.
        lifetime: how long a job may wait, whatever it asked for.
        sent: how long a job that was sent or cancelled is remembered; its file goes at once.
        failed: how long the file of a job that failed is kept, so that it can be sent again; one in doubt too.
        rows: how many finished jobs are remembered.
        mails: how many fetched mails may wait at once.
        set_aside: how long the file of a mail that was set aside is kept.
        uids: how long a mail that the server no longer lists is remembered.
        keys: how long the key of a job is remembered.
        key_rows: how many keys are remembered.
    """

    jobs: int = 10_000
    recipients: int = 1_000
    octets: int = 20_000 * _MB
    message: int = 2_500 * _MB
    spare: int = 64 * _MB
    lifetime: float = 30 * _DAY
    sent: float = 30 * _DAY
    failed: float = 7 * _DAY
    rows: int = 10_000
    mails: int = 2_000
    set_aside: float = 30 * _DAY
    uids: float = 30 * _DAY
    keys: float = 400 * _DAY
    key_rows: int = 100_000


def megabytes(octets: int) -> str:
    """Return a size as people read it: ``"25.3 MB"``."""
    return f"{octets / _MB:,.1f} MB" if octets >= _MB // 10 else f"{octets / 1000:,.1f} kB"
