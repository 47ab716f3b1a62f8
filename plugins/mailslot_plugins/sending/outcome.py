"""What became of jobs, for a person and for whoever looks at the exit code."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailslot.spool.job import Job

DONE, FAILED, LATER = 0, 1, 3
"""How it ends: the server took it; it failed; it is accepted and still to be delivered."""


def tell(jobs: Sequence[Job], *, wait: bool, quiet: bool) -> int:
    """Say what became of the jobs; returns the exit code."""
    code = DONE
    for job in jobs:
        if job.state == "sent" and not any(each.state == "refused" for each in job.recipients):
            said, ends = f"Sent: job {job.id}, {job.subject!r}.", DONE
        elif job.state in {"failed", "cancelled"} or job.state == "sent":
            said, ends = f"Job {job.id}: {job.sentence or job.state}", FAILED
        elif wait:
            said, ends = f"Job {job.id} is {job.state.replace('_', ' ')}: {job.sentence}", LATER
        else:
            said, ends = f"Accepted as job {job.id}, still to be delivered.", LATER
        to_error = ends == FAILED or (wait and ends == LATER)
        if to_error or not quiet:
            (sys.stderr if to_error else sys.stdout).write(f"{said}\n")
        code = FAILED if FAILED in {code, ends} else max(code, ends)
    return code
