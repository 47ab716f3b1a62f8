"""What is known of a mail after the mail server took it, and what reports add to that.

sent → delayed → delivered → processed, or failed, or unknown: a receipt that never comes is no failure, and none is
made up (RFC 2532 section 2.1). What is known stands in the notes of its job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mailslot.spool.job import Job
    from mailslot_plugins.intake.report import Report

Status = Literal["sent", "delayed", "unknown", "delivered", "processed", "failed"]

OVERALL: Final = "confirmation"
"""The note that holds the state of the whole job, where reports were asked for or have come."""

_EACH: Final = "report of "

_RANK: Final[Mapping[str, int]] = {
    "sent": 0,
    "delayed": 1,
    "unknown": 2,
    "delivered": 3,
    "processed": 4,
    "failed": 4,
}
_ACTIONS: Final[Mapping[str, Status]] = {
    "failed": "failed",
    # The server goes on trying, and reports again.
    "delayed": "delayed",
    "delivered": "delivered",
    # Handed to what reports nothing, or to a list (RFC 3464 section 2.3.3).
    "relayed": "unknown",
    "expanded": "unknown",
}


def reported(report: Report, job: Job) -> dict[str, str]:
    """Return the notes that a report adds to a job's; none where it tells nothing new.

    Args:
        report: what came back.
        job: the job that it is about.
    """
    news = _deliveries(report) if report.kind == "delivery" else _disposition(report)
    changed: dict[str, str] = {}
    for addresses, status, words in news:
        recipient = _recipient(addresses, job)
        if recipient is None or _RANK[status] <= _RANK[status_of({**job.notes, **changed}, recipient)]:
            continue
        changed[f"{_EACH}{recipient}"] = f"{status}: {words}" if words else status
    return changed and changed | {OVERALL: _overall(job, changed)}


def given_up(job: Job, why: str) -> dict[str, str]:
    """Return the notes for a job whose reports have not come in time."""
    silent = [each.address for each in job.recipients if status_of(job.notes, each.address) in {"sent", "delayed"}]
    changed = {f"{_EACH}{address}": f"unknown: {why}" for address in silent}
    return changed and changed | {OVERALL: _overall(job, changed)}


def status_of(notes: Mapping[str, str], recipient: str) -> Status:
    """Return what is known of one recipient."""
    word = notes.get(f"{_EACH}{recipient}", "sent").partition(":")[0]
    return word if word in _RANK else "sent"  # type: ignore[return-value]  # the keys are those words


def _overall(job: Job, changed: Mapping[str, str]) -> Status:
    notes = {**job.notes, **changed}
    each: list[Status] = [status_of(notes, recipient.address) for recipient in job.recipients]
    return "failed" if "failed" in each else min(each, key=lambda status: _RANK[status])


def _deliveries(report: Report) -> Iterator[tuple[list[str], Status, str]]:
    for group in report.groups:
        status = _ACTIONS.get(group.get("action", "").split(" ")[0].lower())
        if status is not None:
            said = [group.get("status", ""), _typed(group.get("diagnostic-code", ""))]
            yield _addresses(group), status, _short(" ".join(filter(None, said)))


def _disposition(report: Report) -> Iterator[tuple[list[str], Status, str]]:
    [group, *_] = report.groups
    _, _, said = group.get("disposition", "").partition(";")
    kind, _, modifier = said.strip().lower().partition("/")
    broken = bool({"error", "failure"} & {word.strip() for word in modifier.split(",")})
    status: Status = "unknown"
    if kind.strip() == "failed" or broken:
        status = "failed"
    elif kind.strip() in {"dispatched", "processed", "displayed"}:
        status = "processed"
    why = group.get("error", "") or group.get("failure", "")
    yield _addresses(group), status, _short(" ".join(filter(None, (said.strip(), why))))


def _addresses(group: Mapping[str, str]) -> list[str]:
    return [_typed(group[name]) for name in ("original-recipient", "final-recipient") if name in group]


def _recipient(addresses: list[str], job: Job) -> str | None:
    """Return which recipient a report is about; the only one, whatever it is called where it was delivered."""
    known = {each.address.casefold(): each.address for each in job.recipients}
    found = [known[address.casefold()] for address in addresses if address.casefold() in known]
    if found:
        return found[0]
    return job.recipients[0].address if len(job.recipients) == 1 else None


def _typed(value: str) -> str:
    """Return what stands behind the type in ``rfc822; alice@example.com``."""
    return value.partition(";")[2].strip() or value


def _short(words: str) -> str:
    said = "".join(each if each.isprintable() else " " for each in words).strip()
    return said if len(said) <= 200 else f"{said[:199]}…"
