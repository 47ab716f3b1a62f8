"""What is told of the incidents that are open, as JSON holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailslot.errors import InputError
from mailslot.timestamps import iso
from mailslot_plugins.alerts.kinds import KINDS

if TYPE_CHECKING:
    from mailslot.service.device import Device
    from mailslot_plugins.alerts.alarms import Alarms
    from mailslot_plugins.alerts.board import Incident


async def incident_rows(device: Device, alarms: Alarms) -> tuple[str, list[dict[str, Any]]]:
    """Return why mails wait, and what is open; whatever is due by now is accepted first.

    Raises:
        MailError: the alarms cannot be read.
    """
    waits = await alarms.tell()
    board = await alarms.board()
    unsent = {report.incident for mail in board.outbox for report in mail.reports}
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
                {"job": None, "state": "waiting", "cause": "not_configured", "sentence": waits}
                if incident.id in unsent
                else await _mail(device, incident)
            ),
        }
        for incident in board.incidents
    ]
    return waits, rows


def _state(incident: Incident) -> str:
    """Return ``new`` before its mail is due, ``open``, or ``ending`` where it is gone, but not for long enough."""
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
