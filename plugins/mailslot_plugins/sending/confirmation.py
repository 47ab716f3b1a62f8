"""The delivery status of a mail after the mail server accepted it, updated by reports.

sent → delayed → delivered → processed, or failed, or unknown. A missing receipt is not a failure, and none is
invented (RFC 2532 section 2.1). The status is kept in the job's notes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from mailslot.spool.job import CONFIRMATION_NOTE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mailslot.spool.job import Job
    from mailslot_plugins.intake.report import Report

Status = Literal["sent", "delayed", "unknown", "delivered", "processed", "failed"]

RECIPIENT_NOTE: Final = "report of "
"""The prefix of the note with the report about a recipient; the address follows."""

_RANKS: Final[Mapping[str, int]] = {
    "sent": 0,
    "delayed": 1,
    "unknown": 2,
    "delivered": 3,
    "processed": 4,
    "failed": 4,
}
_ACTIONS: Final[Mapping[str, Status]] = {
    "failed": "failed",
    # The server keeps trying, and reports again.
    "delayed": "delayed",
    "delivered": "delivered",
    # Passed to a system that does not report, or to a list (RFC 3464 section 2.3.3).
    "relayed": "unknown",
    "expanded": "unknown",
}


def notes_from_report(report: Report, job: Job) -> dict[str, str]:
    """Return the notes that a report adds to a job; none if it says nothing new."""
    statuses = _deliveries(report) if report.kind == "delivery" else _disposition(report)
    new_notes: dict[str, str] = {}
    for addresses, status, text in statuses:
        recipient = _find_recipient(addresses, job)
        if recipient is None or _RANKS[status] <= _RANKS[status_of({**job.notes, **new_notes}, recipient)]:
            continue
        new_notes[f"{RECIPIENT_NOTE}{recipient}"] = f"{status}: {text}" if text else status
    return new_notes and new_notes | {CONFIRMATION_NOTE: _overall(job, new_notes)}


def notes_without_report(job: Job, why: str) -> dict[str, str]:
    """Return the notes for a job whose reports did not arrive in time."""
    unreported = [each.address for each in job.recipients if status_of(job.notes, each.address) in {"sent", "delayed"}]
    new_notes = {f"{RECIPIENT_NOTE}{address}": f"unknown: {why}" for address in unreported}
    return new_notes and new_notes | {CONFIRMATION_NOTE: _overall(job, new_notes)}


def status_of(notes: Mapping[str, str], recipient: str) -> Status:
    """Return the status of one recipient."""
    word = notes.get(f"{RECIPIENT_NOTE}{recipient}", "sent").partition(":")[0]
    return word if word in _RANKS else "sent"  # type: ignore[return-value]  # the keys are those words


def report_text(notes: Mapping[str, str], recipient: str) -> str:
    """Return the text of a report about one recipient, apart from the status; empty without one."""
    return notes.get(f"{RECIPIENT_NOTE}{recipient}", "").partition(": ")[2]


def _overall(job: Job, new_notes: Mapping[str, str]) -> Status:
    notes = {**job.notes, **new_notes}
    each: list[Status] = [status_of(notes, recipient.address) for recipient in job.recipients]
    return "failed" if "failed" in each else min(each, key=lambda status: _RANKS[status])


def _deliveries(report: Report) -> Iterator[tuple[list[str], Status, str]]:
    for group in report.groups:
        status = _ACTIONS.get(group.get("action", "").split(" ")[0].lower())
        if status is not None:
            text = [group.get("status", ""), _without_type(group.get("diagnostic-code", ""))]
            yield _addresses(group), status, _shorten(" ".join(filter(None, text)))


def _disposition(report: Report) -> Iterator[tuple[list[str], Status, str]]:
    [group, *_] = report.groups
    _, _, text = group.get("disposition", "").partition(";")
    kind, _, modifier = text.strip().lower().partition("/")
    has_error = bool({"error", "failure"} & {word.strip() for word in modifier.split(",")})
    status: Status = "unknown"
    if kind.strip() == "failed" or has_error:
        status = "failed"
    elif kind.strip() in {"dispatched", "processed", "displayed"}:
        status = "processed"
    why = group.get("error", "") or group.get("failure", "")
    yield _addresses(group), status, _shorten(" ".join(filter(None, (text.strip(), why))))


def _addresses(group: Mapping[str, str]) -> list[str]:
    return [_without_type(group[name]) for name in ("original-recipient", "final-recipient") if name in group]


def names_recipient(report: Report, job: Job) -> bool:
    """Whether a report names a recipient of a job."""
    named = {address.casefold() for group in report.groups for address in _addresses(group)}
    return any(each.address.casefold() in named for each in job.recipients)


def _find_recipient(addresses: list[str], job: Job) -> str | None:
    """Return the recipient that a report is about; a job's only recipient even if the report names an alias of it."""
    known = {each.address.casefold(): each.address for each in job.recipients}
    found = [known[address.casefold()] for address in addresses if address.casefold() in known]
    if found:
        return found[0]
    return job.recipients[0].address if len(job.recipients) == 1 else None


def _without_type(value: str) -> str:
    """Return the value behind the type, as in ``rfc822; alice@example.com``."""
    return value.partition(";")[2].strip() or value


def _shorten(text: str) -> str:
    text = "".join(each if each.isprintable() else " " for each in text).strip()
    return text if len(text) <= 200 else f"{text[:199]}…"
