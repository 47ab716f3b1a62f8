"""The scheduled status mail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mailslot.slots.section import DEVICE
from mailslot.timestamps import EARLIEST
from mailslot_plugins.alerts.alarms import PIPELINE, alert_sender, enqueue_device_mail
from mailslot_plugins.alerts.mail_text import mail_word
from mailslot_plugins.alerts.schedule import check_due, is_in_future, parse_schedule
from mailslot_plugins.alerts.section import SECTION
from mailslot_plugins.status.request import ALL_TOPICS
from mailslot_plugins.status.status_report import device_report

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

    from mailslot.service.device import Device
    from mailslot.spool.job import Job
    from mailslot_plugins.alerts.schedule import DueCheck

_KEY: Final = "schedule"

_MAX_AHEAD: Final = 10
"""The maximum number of later occurrences that are kept; one is added each time that the clock is set back."""


async def send_if_due(device: Device) -> Job | None:
    """Accept the scheduled mail if it is due, once for each occurrence; return its job.

    Raises:
        MailError: it could not be accepted; it stays due.
    """
    values = device.settings(SECTION)
    now, zone = device.now(), values["timezone"]
    if values["schedule"] is None or now < EARLIEST:
        # A device without a battery for its clock starts in 1970 and learns the time later; its schedule begins then.
        return None
    store = device.store(PIPELINE)
    stored: dict[str, Any] = await store.get(_KEY, {})
    # A changed schedule begins with its next occurrence.
    known: dict[str, Any] = stored if stored.get("schedule") == values["schedule"] else {}
    last, ahead = _occurrences(known, now, zone)
    check = check_due(parse_schedule(values["schedule"]), last, now, zone)
    new = {"schedule": values["schedule"], "last": check.last, "ahead": ahead}
    if new == stored:
        return None
    # The mail is accepted first: after a crash in between, its key finds the existing job.
    job = await _enqueue(device, values, check) if check.due else None
    await store.put(_KEY, new)
    return job


def _occurrences(known: Mapping[str, Any], now: float, zone: tzinfo | None) -> tuple[str | None, list[str]]:
    """Return the last occurrence, and those that are later than the clock and count again once it has come so far.

    The clock may be behind, as after a start with the date of the device's manufacture, or may have been ahead before.
    If later occurrences were forgotten, the time until then would count as missed once the clock is right.

    Args:
        known: what is stored.
        now: the time.
        zone: the time zone of the schedule.
    """
    occurrences = {*known.get("ahead", ()), *([known["last"]] if "last" in known else [])}
    ahead = sorted(each for each in occurrences if is_in_future(each, now, zone))
    return max(occurrences.difference(ahead), default=None), ahead[-_MAX_AHEAD:]


async def _enqueue(device: Device, values: Mapping[str, Any], check: DueCheck) -> Job | None:
    identity = device.settings(DEVICE)
    default_recipients = values["recipients"] or ((identity["administrator"],) if identity["administrator"] else ())
    recipients = values["schedule_recipients"] or default_recipients
    if not recipients:
        return None
    sender = await alert_sender(device)
    text = await device_report(
        device, ALL_TOPICS, printer=values["printer"], ca_file=values["printer_ca_file"], zone=values["timezone"]
    )
    language: str = identity["language"]
    if check.late:
        late = [mail_word("late", language, due=check.last.replace("T", " "))]
        if check.missed:
            late.append(mail_word("missed", language, number=check.missed))
        text += f"\n{' '.join(late)}\n"
    key = f"schedule:{check.last}"
    return await enqueue_device_mail(
        device, sender, recipients, mail_word("status_subject", language), text, what="status", key=key
    )
