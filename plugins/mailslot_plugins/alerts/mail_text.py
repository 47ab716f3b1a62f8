"""The text of alert mails: plain and short, as office devices write it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from mailslot.message import Mailbox, Message
from mailslot_plugins.alerts.kinds import KINDS
from mailslot_plugins.intake.auto_reply import AUTO_REPLY_HEADERS
from mailslot_plugins.intake.one_line import one_line
from mailslot_plugins.status.status_report import identity_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import tzinfo

    from mailslot_plugins.alerts.state import AlertMail, Report

_SUBJECT_PREFIX: Final = {"notice": "", "reminder": "Still: ", "all_clear": "Over: "}


def incident_title(report: Report) -> str:
    """Return an incident's title, for example ``Toner low: black``."""
    kind = KINDS.get(report.kind, KINDS["other"])
    return kind.title + (f": {one_line(report.part, 60)}" if report.part else "")


def mail_subject(mail: AlertMail, device_name: str) -> str:
    """Return a mail's subject."""
    first = mail.reports[0]
    summary = (
        f"{len(mail.reports) + mail.left_out} alerts"
        if mail.digest
        else _SUBJECT_PREFIX[first.what] + incident_title(first)
    )
    return f"[{one_line(device_name or 'Device', 60)}] {summary}"


def compose(mail: AlertMail, device: Mapping[str, Any], sender: Mailbox, zone: tzinfo | None) -> Message:
    """Compose an alert mail.

    Args:
        mail: the mail that is due.
        device: the values of the section ``[device]``.
        sender: its sender.
        zone: the time zone; None for the system's.
    """
    lines = [*identity_lines(device), ""]
    if mail.digest:
        lines += [f"Device has detected {len(mail.reports) + mail.left_out} conditions:", ""]
        lines += [f"    {line}" for report in mail.reports for line in _digest_lines(report, zone)]
        if mail.left_out:
            lines += ["", f"{mail.left_out} more are not listed."]
    else:
        lines += _full_lines(mail.reports[0], zone)
    thread = "" if mail.digest else mail.reports[0].thread
    return Message(
        sender=sender,
        to=mail.recipients,
        subject=mail_subject(mail, str(device.get("name") or "")),
        text="\n".join([*lines, ""]),
        in_reply_to=thread or None,
        references=(thread,) if thread else (),
        auto_submitted="auto-generated",
        headers=AUTO_REPLY_HEADERS,
    )


def _full_lines(report: Report, zone: tzinfo | None) -> Iterator[str]:
    yield {
        "notice": "Device has detected:",
        "reminder": "Device still detects:",
        "all_clear": "Device no longer detects:",
    }[report.what]
    yield ""
    yield f"    {incident_title(report)}"
    if report.detail:
        yield f"    {one_line(report.detail, 500)}"
    yield ""
    yield f"Severity: {report.severity}"
    yield f"Since: {format_time(report.since, zone)}"
    if report.ended is not None:
        yield f"Until: {format_time(report.ended, zone)}"
    else:
        yield f"What to do: {KINDS.get(report.kind, KINDS['other']).advice}"


def _digest_lines(report: Report, zone: tzinfo | None) -> Iterator[str]:
    times = f"since {format_time(report.since, zone)}"
    if report.ended is not None:
        times = f"from {format_time(report.since, zone)} until {format_time(report.ended, zone)}"
    yield f"{incident_title(report)} ({report.severity}), {times}"
    if report.detail:
        yield f"    {one_line(report.detail, 500)}"


def format_time(at: float, zone: tzinfo | None) -> str:
    """Return a time with its time zone, for people."""
    return datetime.fromtimestamp(at, zone).astimezone(zone).strftime("%Y-%m-%d %H:%M %z")
