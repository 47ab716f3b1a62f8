"""The open incidents as JSON, for ``alert list`` and the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailslot.errors import InputError
from mailslot.timestamps import iso
from mailslot_plugins.alerts.kinds import KINDS

if TYPE_CHECKING:
    from mailslot.service.device import Device
    from mailslot_plugins.alerts.alarms import Alarms
    from mailslot_plugins.alerts.state import Incident


async def incident_rows(device: Device, alarms: Alarms) -> tuple[str, list[dict[str, Any]]]:
    """Accept the mails that are due; return why mails wait, and the open incidents.

    Raises:
        MailError: the alarms cannot be read.
    """
    waiting_reason = await alarms.record()
    state = await alarms.state()
    unsent = {report.incident for mail in state.outbox for report in mail.reports}
    rows = [
        {
            "id": incident.id,
            "kind": incident.kind,
            "title": KINDS[incident.kind].title,
            "part": incident.part,
            "detail": incident.detail,
            "severity": incident.severity,
            "state": _state(incident),
            "since": iso(incident.since),
            "gone_since": iso(incident.absent_since),
            "told_at": iso(incident.told_at),
            "told": incident.told,
            "sources": list(incident.sources),
            "mail": (
                {"job": None, "state": "waiting", "cause": "not_configured", "sentence": waiting_reason}
                if incident.id in unsent
                else await _mail(device, incident)
            ),
        }
        for incident in state.incidents
    ]
    return waiting_reason, rows


def _state(incident: Incident) -> str:
    """Return ``new`` before the mail is due, then ``open``, and ``ending`` while it is gone but not over."""
    if incident.absent_since is not None:
        return "ending"
    return "open" if incident.told else "new"


async def _mail(device: Device, incident: Incident) -> dict[str, Any] | None:
    if incident.job is None:
        return None
    try:
        job = await device.spool.job(incident.job)
    except InputError:  # it ended long ago
        return None
    return {"job": job.id, "state": job.state, "cause": job.cause, "sentence": job.sentence}
