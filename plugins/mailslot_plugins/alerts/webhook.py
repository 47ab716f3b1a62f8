"""Posts alerts whose mail cannot be sent to a webhook."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import anyio

from mailslot.slots.section import DEVICE
from mailslot_plugins.alerts.alarms import PIPELINE, mail_notes
from mailslot_plugins.alerts.mail_text import mail_subject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.service.device import Device
    from mailslot.spool.job import Job
    from mailslot_plugins.alerts.alarms import Alarms

STUCK_AFTER: Final = 300.0
"""Seconds after which a mail that is still unsent counts as stuck."""

MAX_TRIES: Final = 3
TIMEOUT: Final = 15.0

_MAX_REMEMBERED: Final = 500
_IDENTITY_KEYS: Final = ("name", "model", "serial_number", "location")
logger = logging.getLogger(__name__)


async def post_stuck_alerts(device: Device, alarms: Alarms) -> None:
    """Post stuck alerts, each once, with up to three tries.

    The body is JSON: ``device`` (name, model, serial_number, location), ``alert`` (what, kind, part, detail, severity,
    since, incident, subject), ``mail`` (state, cause, sentence: why it is not sent). It contains no secret.
    """
    address = device.settings(DEVICE)["webhook"]
    if address is None:
        return
    store = device.store(PIPELINE)
    tries: dict[str, int] = await store.get("webhook", {})
    for name, body in (await _stuck_alerts(device, alarms)).items():
        if tries.get(name, 0) >= MAX_TRIES:
            continue
        posted = await _post(address, body)
        tries[name] = MAX_TRIES if posted else tries.get(name, 0) + 1
        await store.put("webhook", dict(list(tries.items())[-_MAX_REMEMBERED:]))


async def _stuck_alerts(device: Device, alarms: Alarms) -> dict[str, dict[str, Any]]:
    """Return the bodies of stuck alerts, by key."""
    values = device.settings(DEVICE)
    identity = {name: values[name] for name in _IDENTITY_KEYS}
    alerts: dict[str, dict[str, Any]] = {}
    state = await alarms.state()
    for mail in state.outbox:
        alert = {**mail_notes(mail), "subject": mail_subject(mail, values["name"] or "", values["language"])}
        delivery = {"state": "waiting", "cause": "not_configured", "sentence": "The mail could not be accepted yet."}
        alerts[mail.key] = {"device": identity, "alert": alert, "mail": delivery}
    for job in await device.spool.jobs(states={"deferred", "held", "failed"}, pipeline=PIPELINE, limit=50):
        if _is_stuck(job, device.now()):
            alert = {**job.notes, "subject": job.subject}
            delivery = {"state": job.state, "cause": job.cause or "", "sentence": job.sentence}
            alerts[f"job {job.id}"] = {"device": identity, "alert": alert, "mail": delivery}
    return alerts


def _is_stuck(job: Job, now: float) -> bool:
    return job.state in {"held", "failed"} or now - job.created_at > STUCK_AFTER


async def _post(address: str, body: Mapping[str, Any]) -> bool:
    """Post JSON and return whether it was accepted. The address may contain a secret and is never logged."""
    import httpx2  # noqa: PLC0415 - a device without a webhook needs no HTTP client

    try:
        with anyio.fail_after(TIMEOUT):
            async with (
                httpx2.AsyncClient(timeout=TIMEOUT, follow_redirects=False, headers={"User-Agent": "mailslot"}) as http,
                http.stream("POST", address, json=body) as response,
            ):
                status = response.status_code
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError) as error:
        logger.warning("The webhook did not accept an alert: %s", type(error).__name__)
        return False
    if not 200 <= status < 300:
        logger.warning("The webhook did not accept an alert: HTTP status %s", status)
    return 200 <= status < 300
