"""The text of alert mails: plain and short, as office devices write it, in the device's language."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from mailslot.message import Mailbox, Message
from mailslot_plugins.alerts.kinds import KINDS
from mailslot_plugins.intake.auto_reply import AUTO_REPLY_HEADERS
from mailslot_plugins.intake.one_line import one_line
from mailslot_plugins.status.status_report import identity_lines
from mailslot_plugins.status.words import load_words, translate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import tzinfo

    from mailslot_plugins.alerts.state import AlertMail, Report

ENGLISH: Final = "en"


def mail_word(key: str, language: str, **facts: object) -> str:
    """Return one of the texts of alert mails."""
    return translate(load_words("mailslot_plugins.alerts", "mail_words.toml"), key, language, **facts)


def _name(key: str, language: str) -> str:
    """Return the name of a kind or severity, which mails share with the panel."""
    return translate(load_words("mailslot_plugins.alerts.panel"), key, language)


def incident_title(report: Report, language: str = ENGLISH) -> str:
    """Return an incident's title, for example ``Toner low: black``."""
    title = _name(f"kind_{report.kind if report.kind in KINDS else 'other'}", language)
    return title + (f": {one_line(report.part, 60)}" if report.part else "")


def mail_subject(mail: AlertMail, device_name: str, language: str = ENGLISH) -> str:
    """Return a mail's subject."""
    first = mail.reports[0]
    summary = (
        mail_word("number_of_alerts", language, number=len(mail.reports) + mail.left_out)
        if mail.digest
        else mail_word(f"subject_{first.what}", language, title=incident_title(first, language))
    )
    return f"[{one_line(device_name or mail_word('device', language), 60)}] {summary}"


def compose(mail: AlertMail, device: Mapping[str, Any], sender: Mailbox, zone: tzinfo | None) -> Message:
    """Compose an alert mail.

    Args:
        mail: the mail that is due.
        device: the values of the section ``[device]``.
        sender: its sender.
        zone: the time zone; None for the system's.
    """
    language = str(device.get("language") or ENGLISH)
    lines = [*identity_lines(device), ""]
    if mail.digest:
        lines += [mail_word("body_digest", language, number=len(mail.reports) + mail.left_out), ""]
        lines += [f"    {line}" for report in mail.reports for line in _digest_lines(report, zone, language)]
        if mail.left_out:
            lines += ["", mail_word("left_out", language, number=mail.left_out)]
    else:
        lines += _full_lines(mail.reports[0], zone, language)
    thread = "" if mail.digest else mail.reports[0].thread
    return Message(
        sender=sender,
        to=mail.recipients,
        subject=mail_subject(mail, str(device.get("name") or ""), language),
        text="\n".join([*lines, ""]),
        in_reply_to=thread or None,
        references=(thread,) if thread else (),
        auto_submitted="auto-generated",
        headers=AUTO_REPLY_HEADERS,
    )


def _full_lines(report: Report, zone: tzinfo | None, language: str) -> Iterator[str]:
    yield mail_word(f"body_{report.what}", language)
    yield ""
    yield f"    {incident_title(report, language)}"
    if report.detail:
        yield f"    {one_line(report.detail, 500)}"
    yield ""
    yield mail_word("severity", language, severity=_name(f"severity_{report.severity}", language))
    yield mail_word("since", language, at=format_time(report.since, zone))
    if report.ended is not None:
        yield mail_word("until", language, at=format_time(report.ended, zone))
    else:
        kind = report.kind if report.kind in KINDS else "other"
        yield mail_word("what_to_do", language, advice=mail_word(f"advice_{kind}", language))


def _digest_lines(report: Report, zone: tzinfo | None, language: str) -> Iterator[str]:
    facts = {
        "title": incident_title(report, language),
        "severity": _name(f"severity_{report.severity}", language),
        "since": format_time(report.since, zone),
    }
    if report.ended is None:
        yield mail_word("digest_since", language, **facts)
    else:
        yield mail_word("digest_until", language, until=format_time(report.ended, zone), **facts)
    if report.detail:
        yield f"    {one_line(report.detail, 500)}"


def format_time(at: float, zone: tzinfo | None) -> str:
    """Return a time with its time zone, for people."""
    return datetime.fromtimestamp(at, zone).astimezone(zone).strftime("%Y-%m-%d %H:%M %z")
