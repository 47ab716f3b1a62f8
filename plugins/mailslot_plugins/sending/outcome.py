"""The outcome of jobs, as sentences and as an exit code."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mailslot.timestamps import local_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailslot.spool.job import Job

EXIT_DONE, EXIT_FAILED, EXIT_LATER = 0, 1, 3
"""The exit codes: accepted by the server; failed; queued and still to be delivered."""


def print_outcome(jobs: Sequence[Job], *, wait: bool, quiet: bool) -> int:
    """Print the outcome of the jobs and return the exit code."""
    code = EXIT_DONE
    for job in jobs:
        if job.state == "sent" and not any(each.state == "refused" for each in job.recipients):
            sentence, exit_code = f"Sent: job {job.id}, {job.subject!r}.", EXIT_DONE
        elif job.state in {"failed", "cancelled"} or job.state == "sent":
            sentence, exit_code = f"Job {job.id}: {job.sentence or job.state}", EXIT_FAILED
        elif job.state == "deferred" and not job.attempts and job.next_attempt is not None:
            sentence, exit_code = f"Job {job.id} will be sent at {local_time(job.next_attempt)}.", EXIT_LATER
        elif wait:
            sentence, exit_code = f"Job {job.id} is {job.state.replace('_', ' ')}: {job.sentence}", EXIT_LATER
        else:
            sentence, exit_code = f"Accepted as job {job.id}, still to be delivered.", EXIT_LATER
        to_error = exit_code == EXIT_FAILED or (wait and exit_code == EXIT_LATER)
        if to_error or not quiet:
            (sys.stderr if to_error else sys.stdout).write(f"{sentence}\n")
        code = EXIT_FAILED if EXIT_FAILED in {code, exit_code} else max(code, exit_code)
    return code
