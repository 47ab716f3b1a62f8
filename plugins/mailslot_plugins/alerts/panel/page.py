"""``/alerts``: open alarms, watched conditions, recipients, schedule, and a test mail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from mailslot.errors import InputError, MailError
from mailslot.slots.section import DEVICE
from mailslot_plugins.alerts.alarms import RECORD, Alarms
from mailslot_plugins.alerts.kinds import KINDS, SEVERITIES
from mailslot_plugins.alerts.panel.attention import attention
from mailslot_plugins.alerts.panel.kinds import kind_name, setting_label
from mailslot_plugins.alerts.panel.shown_incidents import shown_incidents
from mailslot_plugins.alerts.section import SECTION, policy
from mailslot_plugins.alerts.test_mail import send_test_mail
from mailslot_plugins.panel.render import device_of, page_endpoint, redirect, text
from mailslot_plugins.panel.token.state import token_state

if TYPE_CHECKING:
    from starlette.datastructures import FormData
    from starlette.requests import Request
    from starlette.responses import Response

    from mailslot_plugins.alerts.panel.shown_incidents import ShownIncident


@dataclass(frozen=True, slots=True)
class Condition:
    """A kind of alert, and who is mailed when it is raised.

    Attributes:
        name: its name.
        severity: its severity.
        open: whether it is raised now.
        recipients: who gets a mail; empty if the severity is too low or there are no recipients.
    """

    name: str
    severity: str
    open: bool
    recipients: tuple[str, ...]


async def clear(request: Request) -> Response:
    """Clear an alarm, unless a watch still observes its condition: it would be raised again."""
    device = device_of(request)
    form: FormData = request.state.form
    kind, part = str(form.get("kind", "")), str(form.get("part", ""))
    for each in await shown_incidents(device, request.state.language):
        if each.is_watched and (each.incident.kind, each.incident.part) == (kind, part):
            return redirect(request, "/alerts", text(request, "alerts", "is_still_so", what=each.name), "error")
    try:
        await Alarms(device).clear(kind, part=part)
    except InputError as error:
        return redirect(request, "/alerts", str(error), "error")
    return redirect(request, "/alerts", text(request, "alerts", "is_cleared"))


async def send_test(request: Request) -> Response:
    """Send a test mail, and redirect to its job."""
    try:
        job = await send_test_mail(device_of(request))
    except MailError as error:
        return redirect(request, "/alerts", str(error), "error")
    return redirect(request, f"/jobs/{job.id}", text(request, "alerts", "test_is_sent"))


async def _context(request: Request) -> dict[str, Any]:
    device = device_of(request)
    language = request.state.language
    values = device.settings(SECTION)
    rules = policy(values, device.settings(DEVICE)["administrator"])
    incidents = await shown_incidents(device, language)
    open_kinds = {each.incident.kind for each in incidents if not each.is_over}
    mailed_severities = SEVERITIES[SEVERITIES.index(rules.minimum) :]
    return {
        "incidents": sorted(incidents, key=_worst_first),
        "conditions": [
            Condition(
                kind_name(kind, language),
                each.severity,
                kind in open_kinds,
                tuple(rules.recipients(kind)) if each.severity in mailed_severities else (),
            )
            for kind, each in KINDS.items()
        ],
        "recipients": rules.recipients("other"),
        "schedule": values["schedule"],
        "schedule_recipients": values["schedule_recipients"] or rules.recipients("other"),
        "values": values,
        "slot": await token_state(device, RECORD),
    }


def _worst_first(shown: ShownIncident) -> tuple[bool, int, float]:
    return shown.is_over, -SEVERITIES.index(shown.incident.severity), shown.incident.since


routes = [
    Route("/alerts", page_endpoint("alerts/alerts.html", _context)),
    Route("/alerts/live", page_endpoint("alerts/incidents.html", _context)),
    Route("/alerts/clear", clear, methods=["POST"]),
    Route("/alerts/test", send_test, methods=["POST"]),
]

__all__ = ["attention", "routes", "setting_label"]
