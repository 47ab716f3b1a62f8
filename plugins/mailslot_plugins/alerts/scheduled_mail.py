"""The regular status mail: what the device says of itself, on a schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mailslot.message import Message
from mailslot.slots.section import DEVICE
from mailslot.spool.job import NewJob
from mailslot_plugins.alerts.alarms import LIFETIME, PIPELINE, RECORD, sender_of
from mailslot_plugins.alerts.schedule import parse_schedule, turn
from mailslot_plugins.alerts.section import SECTION
from mailslot_plugins.intake.auto_reply import HEADERS
from mailslot_plugins.intake.one_line import one_line
from mailslot_plugins.status.report import report
from mailslot_plugins.status.request import ALL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.service.device import Device
    from mailslot.spool.job import Job
    from mailslot_plugins.alerts.schedule import Turn

_KEY: Final = "schedule"


async def send_if_due(device: Device) -> Job | None:
    """Accept the regular mail if it is due, once for each moment; return its job.

    Raises:
        MailError: it could not be accepted; it stays due.
    """
    values = device.settings(SECTION)
    if values["schedule"] is None:
        return None
    store = device.store(PIPELINE)
    stored = await store.get(_KEY, {})
    # Another schedule begins anew, with its next moment.
    last = stored.get("last") if stored.get("schedule") == values["schedule"] else None
    now = turn(parse_schedule(values["schedule"]), last, device.now(), values["timezone"])
    if now.last == last:
        return None
    # The mail first: after a crash in between, its key gives the job that is there.
    job = await _accept(device, values, now) if now.due else None
    await store.put(_KEY, {"schedule": values["schedule"], "last": now.last})
    return job


async def _accept(device: Device, values: Mapping[str, Any], now: Turn) -> Job | None:
    identity = device.settings(DEVICE)
    everybody = values["recipients"] or ((identity["administrator"],) if identity["administrator"] else ())
    recipients = values["schedule_recipients"] or everybody
    if not recipients:
        return None
    sender = await sender_of(device)
    text = await report(
        device, ALL, printer=values["printer"], ca_file=values["printer_ca_file"], zone=values["timezone"]
    )
    if now.late:
        text += f"\nThis mail was due at {now.last.replace('T', ' ')} and is late, since the device was off or busy."
        text += f" {now.missed} before it were missed as well.\n" if now.missed else "\n"
    message = Message(
        sender=sender,
        to=recipients,
        subject=f"[{one_line(identity['name'] or 'Device', 60)}] Status",
        text=text,
        auto_submitted="auto-generated",
        headers=HEADERS,
    )
    new = NewJob(
        pipeline=PIPELINE,
        via=RECORD,
        sender=sender.address,
        recipients=recipients,
        subject=message.subject,
        lifetime=LIFETIME,
        key=f"schedule:{now.last}",
        notes={"what": "status"},
    )
    return await device.spool.accept(new, message)
