"""``/alerts``: open alarms, watched conditions, recipients, schedule, and a test mail."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from anyio.to_thread import run_sync
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
from mailslot_plugins.panel.permission import change_section, requested_by
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
        kind: its name in settings.
        open: whether it is raised now.
        is_severe: whether its severity is high enough to be mailed.
        is_mailed: whether it is mailed to somebody.
        is_muted: whether it was switched off.
    """

    name: str
    severity: str
    kind: str
    open: bool
    is_severe: bool
    is_mailed: bool
    is_muted: bool


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


async def switch(request: Request) -> Response:
    """Switch the mails about kinds of alarms on and off, and save the first recipient."""
    device = device_of(request)
    form: FormData = request.state.form
    rules = policy(device.settings(SECTION), device.settings(DEVICE)["administrator"])
    shown = {kind for kind, each in KINDS.items() if SEVERITIES.index(each.severity) >= SEVERITIES.index(rules.minimum)}
    muted = (rules.muted - shown) | (shown - {str(each) for each in form.getlist("kind")})
    values: dict[str, object | None] = {"muted": [kind for kind in KINDS if kind in muted] or None}
    if recipients := str(form.get("recipients", "")).strip():
        values["recipients"] = recipients
    try:
        await run_sync(partial(change_section, device.records.settings, SECTION, values, by=requested_by(request)))
    except InputError as error:
        return redirect(request, "/alerts", str(error), "error")
    await device.refresh([SECTION])
    return redirect(request, "/alerts", text(request, "alerts", "is_switched"))


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
                name=kind_name(kind, language),
                severity=each.severity,
                kind=kind,
                open=kind in open_kinds,
                is_severe=each.severity in mailed_severities,
                is_mailed=rules.mails(kind, each.severity),
                is_muted=kind in rules.muted,
            )
            for kind, each in KINDS.items()
        ],
        "recipients": rules.recipients("other"),
        "schedule": values["schedule"],
        "schedule_recipients": values["schedule_recipients"] or rules.recipients("other"),
        "values": values,
        "slot": await token_state(device, RECORD),
        "slot_of_alerts": device.slots.of(RECORD)[0],
    }


def _worst_first(shown: ShownIncident) -> tuple[bool, int, float]:
    return shown.is_over, -SEVERITIES.index(shown.incident.severity), shown.incident.since


routes = [
    Route("/alerts", page_endpoint("alerts/alerts.html", _context)),
    Route("/alerts/live", page_endpoint("alerts/incidents.html", _context)),
    Route("/alerts/clear", clear, methods=["POST"]),
    Route("/alerts/switch", switch, methods=["POST"]),
    Route("/alerts/test", send_test, methods=["POST"]),
]

__all__ = ["attention", "routes", "setting_label"]
