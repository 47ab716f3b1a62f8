"""From conditions to mails, as a pure state machine: an incident is reported once, however its sensor flutters.

`step` takes the state, the events and the time, and returns the next state. Mails that have become due are in its
outbox, with all that is needed to write them, until `mark_accepted` takes them out. The state is written to disk before
its mails are accepted, and each mail has a key, so that no crash loses a mail or sends it twice.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError
from mailslot_plugins.alerts.state import (
    HOUR,
    AlertMail,
    AlertState,
    ConditionCleared,
    ConditionRaised,
    Incident,
    PendingReport,
    Report,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from mailslot_plugins.alerts.state import AlertPolicy, Event, ReportType

MAX_INCIDENTS: Final = 200
MAX_DIGEST: Final = 200


def step(
    state: AlertState, now: float, policy: AlertPolicy, events: Sequence[Event] = (), *, waiting: int = 0
) -> AlertState:
    """Return the state after these events.

    Args:
        state: the state before.
        now: the time; if it is before `AlertState.seen`, the clock was set back and no time has passed.
        policy: the policy from the settings.
        events: the events, in order.
        waiting: the number of our mails that wait for the server.

    Raises:
        InputError: too many incidents are open.
    """
    state = _set_time(state, now)
    # Incidents that have ended by now are closed first: a condition that returns is a new incident.
    state = _collect_due(state, policy)
    for event in events:
        state = _apply(state, event)
    return _make_mails(_collect_due(state, policy), policy, waiting)


def mark_accepted(state: AlertState, key: str, job: int, thread: str) -> AlertState:
    """Return the state after the mail with this key was accepted as a job."""
    mail = next((mail for mail in state.outbox if mail.key == key), None)
    if mail is None:
        return state
    reported = {report.incident for report in mail.reports}
    return replace(
        state,
        outbox=tuple(other for other in state.outbox if other.key != key),
        incidents=tuple(
            replace(incident, job=job, thread=incident.thread or ("" if mail.digest else thread))
            if incident.id in reported
            else incident
            for incident in state.incidents
        ),
    )


def reset_watched(state: AlertState, watches: Collection[str]) -> AlertState:
    """Return the state after a restart of watches: unmailed incidents that only they raised are dropped."""
    remaining = (each for each in state.incidents if each.told or not set(each.sources) <= set(watches))
    return replace(state, incidents=tuple(remaining))


def _set_time(state: AlertState, now: float) -> AlertState:
    """Set the time of the state; if the clock was set back, all times are moved back with it."""
    offset = max(state.seen - now, 0.0) if state.seen else 0.0
    return replace(
        state,
        seen=now,
        mailed=tuple(at - offset for at in state.mailed if now - HOUR < at - offset),
        incidents=tuple(_shift_back(incident, offset) for incident in state.incidents) if offset else state.incidents,
    )


def _shift_back(incident: Incident, seconds: float) -> Incident:
    return replace(
        incident,
        since=incident.since - seconds,
        absent_since=None if incident.absent_since is None else incident.absent_since - seconds,
        told_at=None if incident.told_at is None else incident.told_at - seconds,
    )


def _apply(state: AlertState, event: Event) -> AlertState:
    if isinstance(event, ConditionRaised):
        return _raise(state, event)
    if isinstance(event, ConditionCleared):
        return _clear(state, event)
    observed = {(condition.kind, condition.part) for condition in event.conditions}
    for incident in state.incidents:
        if event.source in incident.sources and (incident.kind, incident.part) not in observed:
            state = _clear(state, ConditionCleared(incident.kind, incident.part, event.source))
    for condition in event.conditions:
        state = _raise(state, replace(condition, source=event.source))
    return state


def _raise(state: AlertState, event: ConditionRaised) -> AlertState:
    incidents = list(state.incidents)
    for number, incident in enumerate(incidents):
        if (incident.kind, incident.part) == (event.kind, event.part):
            incidents[number] = replace(
                incident,
                detail=event.detail or incident.detail,
                severity=event.severity,
                debounce=min(event.debounce, incident.debounce),
                clear_after=event.clear_after,
                sources=tuple(sorted({*incident.sources, event.source})),
                absent_since=None,
            )
            return replace(state, incidents=tuple(incidents))
    if len(incidents) >= MAX_INCIDENTS:
        raise InputError(f"{MAX_INCIDENTS} incidents are open, and no more are kept.", stage="data")
    serial = state.serial + 1
    new = Incident(
        id=f"{serial}-{int(state.seen * 1000)}",
        kind=event.kind,
        part=event.part,
        detail=event.detail,
        severity=event.severity,
        debounce=event.debounce,
        clear_after=event.clear_after,
        since=state.seen,
        sources=(event.source,),
    )
    return replace(state, serial=serial, incidents=(*incidents, new))


def _clear(state: AlertState, event: ConditionCleared) -> AlertState:
    def cleared(incident: Incident) -> Incident:
        if incident.kind != event.kind or event.part not in {None, incident.part} or not incident.sources:
            return incident
        other_sources = () if event.source is None else tuple(name for name in incident.sources if name != event.source)
        return replace(incident, sources=other_sources, absent_since=None if other_sources else state.seen)

    return replace(state, incidents=tuple(map(cleared, state.incidents)))


def _collect_due(state: AlertState, policy: AlertPolicy) -> AlertState:
    """Add the reports that are due to the pending ones, and remove incidents that have ended."""
    remaining: list[Incident] = []
    pending = list(state.pending)
    for incident in state.incidents:
        what = _due_report(incident, state.seen, policy)
        over = incident.absent_since is not None and state.seen - incident.absent_since >= incident.clear_after
        if what is not None:
            _replace_report(pending, PendingReport(policy.recipients(incident.kind), _report(incident, what)))
            remaining.append(replace(incident, told=incident.told + 1, told_at=state.seen))
        else:
            remaining.append(incident)
        if over:
            remaining.pop()
    left_out = max(len(pending) - MAX_DIGEST, 0)
    return replace(
        state, incidents=tuple(remaining), pending=tuple(pending[left_out:]), left_out=state.left_out + left_out
    )


def _due_report(incident: Incident, now: float, policy: AlertPolicy) -> ReportType | None:
    if incident.absent_since is not None:
        over = now - incident.absent_since >= incident.clear_after
        tells = incident.told and policy.all_clear and bool(policy.recipients(incident.kind))
        return "all_clear" if over and tells else None
    if incident.told_at is None:
        return "notice" if now - incident.since >= incident.debounce and policy.wants(incident) else None
    again = policy.reminder > 0 and now - incident.told_at >= policy.reminder and policy.wants(incident)
    return "reminder" if again else None


def _report(incident: Incident, what: ReportType) -> Report:
    return Report(
        what=what,
        incident=incident.id,
        kind=incident.kind,
        part=incident.part,
        detail=incident.detail,
        severity=incident.severity,
        since=incident.since,
        ended=incident.absent_since,
        thread=incident.thread,
    )


def _replace_report(pending: list[PendingReport], new: PendingReport) -> None:
    """Append a report; it replaces a pending one about the same incident."""
    for old in [old for old in pending if old.report.incident == new.report.incident]:
        pending.remove(old)
        if new.report.what == "reminder":
            new = replace(new, report=replace(new.report, what=old.report.what))
    pending.append(new)


def _make_mails(state: AlertState, policy: AlertPolicy, waiting: int) -> AlertState:
    """Turn pending reports into mails, within the cap."""
    free = policy.cap - max(len(state.mailed), len(state.outbox) + waiting)
    if not state.pending or free <= 0:
        return state
    mails = tuple(islice(_group_mails(state, free), free))
    reported = {report.incident for mail in mails for report in mail.reports}
    return replace(
        state,
        serial=state.serial + 1,
        outbox=(*state.outbox, *mails),
        pending=tuple(pending for pending in state.pending if pending.report.incident not in reported),
        left_out=0,
        mailed=(*state.mailed, *(state.seen for _ in mails)),
    )


def _group_mails(state: AlertState, free: int) -> Iterator[AlertMail]:
    """Return a mail for each report if the cap allows, else a digest for each group of recipients."""
    prefix = f"alert:{state.serial + 1}-{int(state.seen * 1000)}"
    if len(state.pending) <= free and not state.left_out:
        for number, pending in enumerate(state.pending):
            yield AlertMail(f"{prefix}-{number}", pending.recipients, (pending.report,), state.seen)
        return
    groups: dict[tuple[str, ...], list[Report]] = {}
    for pending in state.pending:
        groups.setdefault(pending.recipients, []).append(pending.report)
    for number, (recipients, reports) in enumerate(groups.items()):
        left_out = 0 if number else state.left_out
        yield AlertMail(f"{prefix}-{number}", recipients, tuple(reports), state.seen, digest=True, left_out=left_out)
