"""The result of a recovery after a crash."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recovery:
    """The result of a recovery.

    Attributes:
        requeued: the jobs that were being sent and are queued again.
        failed: the jobs whose message is missing or incomplete.
        copied: the jobs that failed because the spool is a copy; they may be sent from the original.
        lost_mails: the mails whose file is missing or incomplete; they are fetched again or set aside.
        found: how many files were adopted that had been registered in another database.
        files: how many unregistered files were removed.
        octets: their total size.
    """

    requeued: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()
    copied: tuple[int, ...] = ()
    lost_mails: tuple[int, ...] = ()
    found: int = 0
    files: int = 0
    octets: int = 0
