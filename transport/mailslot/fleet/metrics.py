"""The metrics of a fleet, for each tenant and in total; there are too many devices for metrics of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.fleet.postgres.statistics import Counts
from mailslot.service.metric_family import Family, as_text
from mailslot.spool.incoming import MAIL_STATES
from mailslot.spool.job import STATES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailslot.fleet.postgres.statistics import Statistics

MOST_TENANTS: Final = 500
"""The maximum number of tenants with their own metrics."""

OTHERS: Final = "(others)"
"""The name under which the other tenants are counted; no tenant can have it."""

_JOBS: Final = tuple(state for state in STATES if state not in {"sent", "cancelled"})
_MAILS: Final = tuple(state for state in MAIL_STATES if state != "done")
"""States that are counted; finished jobs are too many to count each time."""


def fleet_metrics(found: Statistics, most_tenants: int = MOST_TENANTS) -> str:
    """Return metrics as text.

    Args:
        found: the fleet's statistics.
        most_tenants: the maximum number of tenants with their own metrics, those with the most devices; the others are
            added up.
    """
    return as_text(
        [
            *_counts({"": found.total}, "fleet"),
            *_tasks(found),
            *_workers(found),
            *_counts(_named(found, most_tenants), "tenant"),
        ]
    )


def _stops(found: Statistics) -> dict[str, float]:
    """Return since when each named server could not be reached."""
    began: dict[str, float] = {}
    for each in found.servers:
        began[each.name] = min(each.since, began.get(each.name, each.since))
    return began


def _named(found: Statistics, most: int) -> dict[str, Counts]:
    """Return the tenants with their own metrics, and the sum of the others."""
    by_size = sorted(found.tenants.items(), key=lambda each: (-each[1].devices, each[0]))
    named, others = dict(sorted(by_size[:most])), by_size[most:]
    if others and most:
        named[OTHERS] = rest = Counts()
        for _, counts in others:
            rest.add(counts)
    return named


def _counts(tenants: dict[str, Counts], prefix: str) -> Iterable[Family]:
    whose = "of the fleet" if prefix == "fleet" else "by tenant"
    devices = Family(f"{prefix}_devices", "gauge", f"Devices {whose}.")
    serving = Family(f"{prefix}_devices_served", "gauge", f"Devices {whose} that have a service of their own now.")
    jobs = Family(f"{prefix}_jobs", "gauge", f"Jobs {whose} that wait or have failed, by state.")
    oldest = Family(f"{prefix}_oldest_waiting_job_seconds", "gauge", f"Age of the oldest job {whose} that waits.")
    mails = Family(f"{prefix}_fetched_mails", "gauge", f"Mails {whose} that wait or were set aside, by state.")
    due = Family(f"{prefix}_due_tasks", "gauge", f"Tasks {whose} that are due, with those in work.")
    late = Family(f"{prefix}_late_tasks", "gauge", f"Tasks {whose} that have been due for more than a minute.")
    failing = Family(f"{prefix}_failing_tasks", "gauge", f"Tasks {whose} whose last try failed.")
    longest = Family(f"{prefix}_longest_due_seconds", "gauge", f"For how long the oldest task {whose} has been due.")
    for name, counts in tenants.items():
        labels = {"tenant": name} if prefix == "tenant" else {}
        devices.add(counts.devices, **labels)
        serving.add(counts.serving, **labels)
        for state in _JOBS:
            jobs.add(counts.jobs[state], **labels, state=state)
        oldest.add(counts.oldest_job or 0.0, **labels)
        for left in _MAILS:
            mails.add(counts.mails[left], **labels, state=left)
        tasks = counts.all_tasks
        due.add(tasks.due, **labels)
        late.add(tasks.late, **labels)
        failing.add(tasks.failing, **labels)
        longest.add(tasks.longest, **labels)
    return [devices, serving, jobs, oldest, mails, due, late, failing, longest]


def _tasks(found: Statistics) -> Iterable[Family]:
    tasks = Family("fleet_tasks", "gauge", "Tasks of the fleet, by kind.")
    due = Family("fleet_due_tasks_by_kind", "gauge", "Tasks of the fleet that are due, with those in work, by kind.")
    longest = Family(
        "fleet_longest_due_seconds_by_kind", "gauge", "For how long the oldest task of a kind has been due."
    )
    causes = Family("fleet_failing_tasks_by_cause", "gauge", "Tasks of the fleet whose last try failed, by cause.")
    for kind, counts in sorted(found.total.tasks.items()):
        tasks.add(counts.tasks, kind=kind)
        due.add(counts.due, kind=kind)
        longest.add(counts.longest, kind=kind)
    for (kind, cause), number in found.causes.items():
        causes.add(number, kind=kind, cause=cause)
    return [tasks, due, longest, causes]


def _workers(found: Statistics) -> Iterable[Family]:
    tenants = Family("fleet_tenants", "gauge", "Tenants of the fleet.")
    wakeups = Family("fleet_wakeups", "gauge", "Wake-ups on their way to workers, by queue and state.")
    scanned = Family("fleet_last_scan_timestamp_seconds", "gauge", "When a worker last looked for due tasks.")
    stopped = Family("fleet_stopped_servers", "gauge", "Servers that could not be reached and are left alone for now.")
    since = Family("fleet_stopped_server_seconds", "gauge", "For how long a server could not be reached.")
    tenants.add(len(found.tenants))
    for (queue, state), number in found.wakeups.items():
        wakeups.add(number, queue=queue, state=state)
    if found.scanned_at is not None:
        scanned.add(found.scanned_at)
    stopped.add(found.stopped)
    for server, began in sorted(_stops(found).items()):
        since.add(max(found.now - began, 0.0), server=server)
    return [tenants, wakeups, scanned, stopped, since]
