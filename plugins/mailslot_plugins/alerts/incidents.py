"""From conditions to mails: an incident is told of once, whatever its sensor does (a pure state machine).

`step` takes a board, what was seen and the time, and returns the next board; the mails that have become due are in its
outbox, with everything that is needed to write them, until `accepted` takes them out. A board that is on disk before
its mails are accepted, under their keys, thus neither loses a mail nor sends it twice.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError
from mailslot_plugins.alerts.board import HOUR, Board, Cleared, Incident, Mail, Pending, Raised, Report

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from mailslot_plugins.alerts.board import Event, Policy, What

MAX_INCIDENTS: Final = 200
MAX_DIGEST: Final = 200


def step(board: Board, now: float, policy: Policy, events: Sequence[Event] = (), *, waiting: int = 0) -> Board:
    """Return the board after these events.

    Args:
        board: as it was.
        now: the time; where it is before `Board.seen` the clock was set back, and no time has passed.
        policy: what the settings say.
        events: what was seen, in order.
        waiting: how many mails of ours the server has not taken yet.

    Raises:
        InputError: more incidents are open than can be kept.
    """
    board = _at(board, now)
    # What is over by now is over before anything new is looked at: a condition that returns is a new incident.
    board = _due(board, policy)
    for event in events:
        board = _apply(board, event)
    return _post(_due(board, policy), policy, waiting)


def accepted(board: Board, key: str, job: int, thread: str) -> Board:
    """Return the board once the mail with this key has been accepted as a job."""
    mail = next((mail for mail in board.outbox if mail.key == key), None)
    if mail is None:
        return board
    told = {report.incident for report in mail.reports}
    return replace(
        board,
        outbox=tuple(other for other in board.outbox if other.key != key),
        incidents=tuple(
            replace(incident, job=job, thread=incident.thread or ("" if mail.digest else thread))
            if incident.id in told
            else incident
            for incident in board.incidents
        ),
    )


def resumed(board: Board, watches: Collection[str]) -> Board:
    """Return the board once watching begins anew: what only watches saw and nobody was told of is looked at again."""
    kept = (each for each in board.incidents if each.told or not set(each.sources) <= set(watches))
    return replace(board, incidents=tuple(kept))


def _at(board: Board, now: float) -> Board:
    """Move the board to a time; where the clock was set back, all times go back with it."""
    back = max(board.seen - now, 0.0) if board.seen else 0.0
    return replace(
        board,
        seen=now,
        mailed=tuple(at - back for at in board.mailed if now - HOUR < at - back),
        incidents=tuple(_earlier(incident, back) for incident in board.incidents) if back else board.incidents,
    )


def _earlier(incident: Incident, seconds: float) -> Incident:
    return replace(
        incident,
        since=incident.since - seconds,
        absent_since=None if incident.absent_since is None else incident.absent_since - seconds,
        told_at=None if incident.told_at is None else incident.told_at - seconds,
    )


def _apply(board: Board, event: Event) -> Board:
    if isinstance(event, Raised):
        return _raise(board, event)
    if isinstance(event, Cleared):
        return _clear(board, event)
    there = {(condition.kind, condition.part) for condition in event.conditions}
    for incident in board.incidents:
        if event.source in incident.sources and (incident.kind, incident.part) not in there:
            board = _clear(board, Cleared(incident.kind, incident.part, event.source))
    for condition in event.conditions:
        board = _raise(board, replace(condition, source=event.source))
    return board


def _raise(board: Board, event: Raised) -> Board:
    incidents = list(board.incidents)
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
            return replace(board, incidents=tuple(incidents))
    if len(incidents) >= MAX_INCIDENTS:
        raise InputError(f"{MAX_INCIDENTS} incidents are open, and no more are kept.", stage="data")
    serial = board.serial + 1
    new = Incident(
        id=f"{serial}-{int(board.seen * 1000)}",
        kind=event.kind,
        part=event.part,
        detail=event.detail,
        severity=event.severity,
        debounce=event.debounce,
        clear_after=event.clear_after,
        since=board.seen,
        sources=(event.source,),
    )
    return replace(board, serial=serial, incidents=(*incidents, new))


def _clear(board: Board, event: Cleared) -> Board:
    def cleared(incident: Incident) -> Incident:
        if incident.kind != event.kind or event.part not in {None, incident.part} or not incident.sources:
            return incident
        left = () if event.source is None else tuple(name for name in incident.sources if name != event.source)
        return replace(incident, sources=left, absent_since=None if left else board.seen)

    return replace(board, incidents=tuple(map(cleared, board.incidents)))


def _due(board: Board, policy: Policy) -> Board:
    """Put what is to be told now at the end of what is pending, and let go of what is over."""
    kept: list[Incident] = []
    pending = list(board.pending)
    for incident in board.incidents:
        what = _what(incident, board.seen, policy)
        over = incident.absent_since is not None and board.seen - incident.absent_since >= incident.clear_after
        if what is not None:
            _replace_report(pending, Pending(policy.recipients(incident.kind), _report(incident, what)))
            kept.append(replace(incident, told=incident.told + 1, told_at=board.seen))
        else:
            kept.append(incident)
        if over:
            kept.pop()
    left_out = max(len(pending) - MAX_DIGEST, 0)
    return replace(board, incidents=tuple(kept), pending=tuple(pending[left_out:]), left_out=board.left_out + left_out)


def _what(incident: Incident, now: float, policy: Policy) -> What | None:
    if incident.absent_since is not None:
        over = now - incident.absent_since >= incident.clear_after
        tells = incident.told and policy.all_clear and bool(policy.recipients(incident.kind))
        return "all_clear" if over and tells else None
    if incident.told_at is None:
        return "notice" if now - incident.since >= incident.debounce and policy.wants(incident) else None
    again = policy.reminder > 0 and now - incident.told_at >= policy.reminder and policy.wants(incident)
    return "reminder" if again else None


def _report(incident: Incident, what: What) -> Report:
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


def _replace_report(pending: list[Pending], new: Pending) -> None:
    """Put a report at the end, in place of the one of the same incident that has not gone out yet."""
    for old in [old for old in pending if old.report.incident == new.report.incident]:
        pending.remove(old)
        if new.report.what == "reminder":
            new = replace(new, report=replace(new.report, what=old.report.what))
    pending.append(new)


def _post(board: Board, policy: Policy, waiting: int) -> Board:
    """Turn what is pending into mails, as far as there is room for them."""
    room = policy.cap - max(len(board.mailed), len(board.outbox) + waiting)
    if not board.pending or room <= 0:
        return board
    mails = tuple(islice(_mails(board, room), room))
    gone = {report.incident for mail in mails for report in mail.reports}
    return replace(
        board,
        serial=board.serial + 1,
        outbox=(*board.outbox, *mails),
        pending=tuple(pending for pending in board.pending if pending.report.incident not in gone),
        left_out=0,
        mailed=(*board.mailed, *(board.seen for _ in mails)),
    )


def _mails(board: Board, room: int) -> Iterator[Mail]:
    """Give each report a mail of its own where there is room, else each group of recipients a digest."""
    prefix = f"alert:{board.serial + 1}-{int(board.seen * 1000)}"
    if len(board.pending) <= room and not board.left_out:
        for number, pending in enumerate(board.pending):
            yield Mail(f"{prefix}-{number}", pending.recipients, (pending.report,), board.seen)
        return
    groups: dict[tuple[str, ...], list[Report]] = {}
    for pending in board.pending:
        groups.setdefault(pending.recipients, []).append(pending.report)
    for number, (recipients, reports) in enumerate(groups.items()):
        left_out = 0 if number else board.left_out
        yield Mail(f"{prefix}-{number}", recipients, tuple(reports), board.seen, digest=True, left_out=left_out)
