"""All that is known of the conditions of a device: what was seen, what is open, and what is to be told.

Times are seconds since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from mailslot_plugins.alerts.kinds import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot_plugins.alerts.kinds import Severity

What = Literal["notice", "reminder", "all_clear"]

HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Raised:
    """A condition is there.

    Attributes:
        kind: a kind's name.
        part: which of several it is about, such as ``black`` or ``tray 2``; empty where there is but one.
        detail: what else there is to say.
        severity: how bad it is.
        source: who says so.
        debounce: how long it must last before it is told of, in seconds.
        clear_after: how long it must be gone before the incident is over, in seconds.
    """

    kind: str
    severity: Severity
    part: str = ""
    detail: str = ""
    source: str = "command"
    debounce: float = 0.0
    clear_after: float = 60.0


@dataclass(frozen=True, slots=True)
class Cleared:
    """A condition is gone: that of a part or, with None, of all parts; for one source or, with None, for all."""

    kind: str
    part: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that a source sees: what it no longer sees is gone."""

    source: str
    conditions: tuple[Raised, ...] = ()


Event = Raised | Cleared | Observed


@dataclass(frozen=True, slots=True)
class Incident:
    """A condition from its beginning to its end.

    Attributes:
        id: its name among all incidents there ever were.
        sources: who says that it is there; empty once it is gone.
        since: when it began.
        absent_since: when it was last seen to end; None while it is there.
        told_at: when its last mail became due; None before the first.
        told: how many mails of it became due.
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
    """What a mail says of one incident; `ended` is when it ended, None while it lasts."""

    what: What
    incident: str
    kind: str
    part: str
    detail: str
    severity: Severity
    since: float
    ended: float | None = None
    thread: str = ""


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that is due; one with several reports is a digest.

    Attributes:
        key: its name among all mails there ever were: the same mail has the same key after a crash.
        left_out: how many reports a digest has lost to its bounds.
    """

    key: str
    recipients: tuple[str, ...]
    reports: tuple[Report, ...]
    at: float
    digest: bool = False
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Pending:
    """A report that waits for the next digest."""

    recipients: tuple[str, ...]
    report: Report


@dataclass(frozen=True, slots=True)
class Board:
    """All that is known.

    Attributes:
        seen: the time of the last step.
        serial: how many incidents and digests there were.
        incidents: those that are not over.
        outbox: the mails that are due and not accepted yet.
        pending: what waits for the next digest.
        left_out: how many reports the next digest has lost to its bounds.
        mailed: when the mails of the last hour became due.
    """

    seen: float = 0.0
    serial: int = 0
    incidents: tuple[Incident, ...] = ()
    outbox: tuple[Mail, ...] = ()
    pending: tuple[Pending, ...] = ()
    left_out: int = 0
    mailed: tuple[float, ...] = ()


def _nobody(_kind: str) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class Policy:
    """What the settings say.

    Attributes:
        recipients: who is told of a kind.
        minimum: from which severity on a mail is sent.
        reminder: after how many seconds an incident that lasts is told of again; 0 for never.
        all_clear: whether its end is told.
        cap: the most mails in an hour, and the most that wait for the server; what exceeds it goes out later, together.
    """

    recipients: Callable[[str], tuple[str, ...]] = field(default=_nobody)
    minimum: Severity = "warning"
    reminder: float = 24 * HOUR
    all_clear: bool = True
    cap: int = 10

    def wants(self, incident: Incident) -> bool:
        """Whether anybody is to be told of an incident."""
        loud = SEVERITIES.index(incident.severity) >= SEVERITIES.index(self.minimum)
        return loud and bool(self.recipients(incident.kind))
