"""The state of a device's alerts: conditions, open incidents, and mails that are due.

Times are seconds since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from mailslot_plugins.alerts.kinds import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot_plugins.alerts.kinds import Severity

ReportType = Literal["notice", "reminder", "all_clear"]

HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True)
class ConditionRaised:
    """A condition was raised.

    Attributes:
        kind: the name of its kind.
        part: the affected part, for example ``black`` or ``tray 2``; empty if there is only one.
        detail: further information.
        severity: its severity.
        source: who raised it.
        debounce: seconds that it must last before it is mailed.
        clear_after: seconds that it must be gone before the incident ends.
    """

    kind: str
    severity: Severity
    part: str = ""
    detail: str = ""
    source: str = "command"
    debounce: float = 0.0
    clear_after: float = 60.0


@dataclass(frozen=True, slots=True)
class ConditionCleared:
    """A condition was cleared: of one part, or of all with None; for one source, or for all with None."""

    kind: str
    part: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """All conditions that a source observes: those that it no longer observes are cleared."""

    source: str
    conditions: tuple[ConditionRaised, ...] = ()


Event = ConditionRaised | ConditionCleared | Observation


@dataclass(frozen=True, slots=True)
class Incident:
    """A condition, from its beginning to its end.

    Attributes:
        id: its unique identifier.
        sources: who raised it and has not cleared it; empty once it is gone.
        since: when it began.
        absent_since: when it was cleared last; None while it lasts.
        told_at: when its last mail became due; None before the first.
        told: the number of mails about it that became due.
        job: the job of its last mail; None before that was accepted.
        thread: the Message-ID of its first mail.
    """

    id: str
    kind: str
    part: str
    detail: str
    severity: Severity
    debounce: float
    clear_after: float
    since: float
    sources: tuple[str, ...]
    absent_since: float | None = None
    told_at: float | None = None
    told: int = 0
    job: int | None = None
    thread: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """The part of a mail about one incident; `ended` is the time of its end, None while it lasts."""

    what: ReportType
    incident: str
    kind: str
    part: str
    detail: str
    severity: Severity
    since: float
    ended: float | None = None
    thread: str = ""


@dataclass(frozen=True, slots=True)
class AlertMail:
    """A mail that is due; one with several reports is a digest.

    Attributes:
        key: its unique key; the same mail has the same key after a crash.
        left_out: the number of reports that did not fit into a digest.
    """

    key: str
    recipients: tuple[str, ...]
    reports: tuple[Report, ...]
    at: float
    digest: bool = False
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class PendingReport:
    """A report that waits to be mailed."""

    recipients: tuple[str, ...]
    report: Report


@dataclass(frozen=True, slots=True)
class AlertState:
    """The state of all alerts.

    Attributes:
        seen: the time of the last step.
        serial: the number of incidents and digests so far.
        incidents: the incidents that have not ended.
        outbox: the mails that are due and not accepted yet.
        pending: the reports that wait to be mailed.
        left_out: the number of reports that do not fit into the next digest.
        mailed: when the mails of the last hour became due.
    """

    seen: float = 0.0
    serial: int = 0
    incidents: tuple[Incident, ...] = ()
    outbox: tuple[AlertMail, ...] = ()
    pending: tuple[PendingReport, ...] = ()
    left_out: int = 0
    mailed: tuple[float, ...] = ()


def _nobody(_kind: str) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """When and to whom alerts are mailed, from the settings.

    Attributes:
        recipients: returns the recipients for a kind.
        minimum: the least severity that is mailed.
        reminder: seconds after which a lasting incident is mailed again; 0 for never.
        all_clear: whether the end of an incident is mailed.
        cap: the most mails per hour, and the most that wait for the server; reports beyond it are mailed later in a
            digest.
        muted: the kinds that are not mailed.
    """

    recipients: Callable[[str], tuple[str, ...]] = field(default=_nobody)
    minimum: Severity = "warning"
    reminder: float = 24 * HOUR
    all_clear: bool = True
    cap: int = 10
    muted: frozenset[str] = frozenset()

    def wants(self, incident: Incident) -> bool:
        """Whether an incident is to be mailed."""
        return self.mails(incident.kind, incident.severity)

    def mails(self, kind: str, severity: Severity) -> bool:
        """Whether incidents of a kind are mailed if they have this severity."""
        severe_enough = SEVERITIES.index(severity) >= SEVERITIES.index(self.minimum)
        return severe_enough and kind not in self.muted and bool(self.recipients(kind))
