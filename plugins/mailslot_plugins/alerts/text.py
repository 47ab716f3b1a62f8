"""What the mails say, in the manner of devices: plain and short."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from mailslot.message import Mailbox, Message
from mailslot_plugins.alerts.kinds import KINDS
from mailslot_plugins.intake.auto_reply import HEADERS
from mailslot_plugins.intake.one_line import one_line
from mailslot_plugins.status.report import identity_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import tzinfo

    from mailslot_plugins.alerts.board import Mail, Report

_BEFORE: Final = {"notice": "", "reminder": "Still: ", "all_clear": "Over: "}


def title(report: Report) -> str:
    """Return what an incident is called, such as ``Toner low: black``."""
    kind = KINDS.get(report.kind, KINDS["other"])
    return kind.title + (f": {one_line(report.part, 60)}" if report.part else "")


def subject(mail: Mail, device_name: str) -> str:
    """Return a mail's subject."""
    first = mail.reports[0]
    said = f"{len(mail.reports) + mail.left_out} alerts" if mail.digest else _BEFORE[first.what] + title(first)
    return f"[{one_line(device_name or 'Device', 60)}] {said}"


def compose(mail: Mail, device: Mapping[str, Any], sender: Mailbox, zone: tzinfo | None) -> Message:
    """Return a mail ready to be sent.

    Args:
        mail: what is due.
        device: the values of the section ``[device]``.
        sender: whom it is from.
        zone: the zone of the times in it; None for the system's.
    """
    lines = [*identity_lines(device), ""]
    if mail.digest:
        lines += [f"Device has detected {len(mail.reports) + mail.left_out} conditions:", ""]
        lines += [f"    {line}" for report in mail.reports for line in _short(report, zone)]
        if mail.left_out:
            lines += ["", f"{mail.left_out} more are left out."]
    else:
        lines += _long(mail.reports[0], zone)
    thread = "" if mail.digest else mail.reports[0].thread
    return Message(
        sender=sender,
        to=mail.recipients,
        subject=subject(mail, str(device.get("name") or "")),
        text="\n".join([*lines, ""]),
        in_reply_to=thread or None,
        references=(thread,) if thread else (),
        auto_submitted="auto-generated",
        headers=HEADERS,
    )


def _long(report: Report, zone: tzinfo | None) -> Iterator[str]:
    yield {
        "notice": "Device has detected:",
        "reminder": "Device still detects:",
        "all_clear": "Device no longer detects:",
    }[report.what]
    yield ""
    yield f"    {title(report)}"
    if report.detail:
        yield f"    {one_line(report.detail, 500)}"
    yield ""
    yield f"Severity: {report.severity}"
    yield f"Since: {moment(report.since, zone)}"
    if report.ended is not None:
        yield f"Until: {moment(report.ended, zone)}"
    else:
        yield f"What to do: {KINDS.get(report.kind, KINDS['other']).advice}"


def _short(report: Report, zone: tzinfo | None) -> Iterator[str]:
    times = f"since {moment(report.since, zone)}"
    if report.ended is not None:
        times = f"from {moment(report.since, zone)} until {moment(report.ended, zone)}"
    yield f"{title(report)} ({report.severity}), {times}"
    if report.detail:
        yield f"    {one_line(report.detail, 500)}"


def moment(at: float, zone: tzinfo | None) -> str:
    """Return a time with its zone, for people."""
    return datetime.fromtimestamp(at, zone).astimezone(zone).strftime("%Y-%m-%d %H:%M %z")
