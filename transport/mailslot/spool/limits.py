"""The limits of the spool: how much it stores, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_MB: Final = 1_000_000
_DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    """The limits of a spool; times are in seconds, sizes in octets.

    Attributes:
        max_jobs: unfinished jobs.
        max_recipients: recipients of a job.
        max_total_size: the total size of the files of jobs and fetched mails.
        job_reserve: the part of it for jobs alone, so that mail from strangers does not keep a device from sending.
        max_message_size: the size of one message.
        disk_reserve: free space that must remain on the disk, so that states can still be written; fetched mail leaves
            twice as much.
        max_lifetime: the lifetime of a job, whatever it requests.
        sent_retention: how long the row of a sent or cancelled job is kept; its file is removed at once.
        failed_retention: how long the file of a job that failed or is in doubt is kept, so that it can be retried.
        max_finished_jobs: rows of finished jobs.
        max_mails: fetched mails that are still to be handled.
        set_aside_retention: how long the file of a mail that was set aside is kept.
        uid_retention: how long a unique-id that the server no longer lists is kept.
        key_retention: how long the key of a job is kept.
        max_keys: keys of jobs.
    """

    max_jobs: int = 10_000
    max_recipients: int = 1_000
    max_total_size: int = 20_000 * _MB
    job_reserve: int = 5_000 * _MB
    max_message_size: int = 2_500 * _MB
    disk_reserve: int = 64 * _MB
    max_lifetime: float = 30 * _DAY
    sent_retention: float = 30 * _DAY
    failed_retention: float = 7 * _DAY
    max_finished_jobs: int = 10_000
    max_mails: int = 2_000
    set_aside_retention: float = 30 * _DAY
    uid_retention: float = 30 * _DAY
    key_retention: float = 400 * _DAY
    max_keys: int = 100_000


def format_size(octets: int) -> str:
    """Return a size for display, such as ``"25.3 MB"``."""
    if octets >= 1000 * _MB:
        return f"{octets / (1000 * _MB):,.1f} GB"
    return f"{octets / _MB:,.1f} MB" if octets >= _MB // 10 else f"{octets / 1000:,.1f} kB"
