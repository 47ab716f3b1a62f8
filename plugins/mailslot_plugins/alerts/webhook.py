"""The other way out: alerts whose mail does not leave are posted to an address of the administrator's."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import anyio

from mailslot.slots.section import DEVICE
from mailslot_plugins.alerts.alarms import PIPELINE, notes
from mailslot_plugins.alerts.text import subject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.service.device import Device
    from mailslot.spool.job import Job
    from mailslot_plugins.alerts.alarms import Alarms

PATIENCE: Final = 300.0
"""How long a mail may be on its way before it counts as stuck, in seconds."""

TRIES: Final = 3
TIMEOUT: Final = 15.0

_REMEMBERED: Final = 500
_IDENTITY: Final = ("name", "model", "serial_number", "location")
logger = logging.getLogger(__name__)


async def post_stuck(device: Device, alarms: Alarms) -> None:
    """Post what is stuck, each alert once, and try three times.

    The body is JSON: ``device`` (name, model, serial_number, location), ``alert`` (what, kind, part, detail, severity,
    since, incident, subject), ``mail`` (state, cause, sentence: why it does not leave). No secret is in it.
    """
    address = device.settings(DEVICE)["webhook"]
    if address is None:
        return
    store = device.store(PIPELINE)
    tries: dict[str, int] = await store.get("webhook", {})
    for name, body in (await _stuck(device, alarms)).items():
        if tries.get(name, 0) >= TRIES:
            continue
        posted = await _post(address, body)
        tries[name] = TRIES if posted else tries.get(name, 0) + 1
        await store.put("webhook", dict(list(tries.items())[-_REMEMBERED:]))


async def _stuck(device: Device, alarms: Alarms) -> dict[str, dict[str, Any]]:
    """Return what does not leave by mail, by the name under which it is remembered."""
    values = device.settings(DEVICE)
    identity = {name: values[name] for name in _IDENTITY}
    found: dict[str, dict[str, Any]] = {}
    board = await alarms.board()
    for mail in board.outbox:
        alert = {**notes(mail), "subject": subject(mail, values["name"] or "")}
        state = {"state": "waiting", "cause": "not_configured", "sentence": "The mail could not be accepted yet."}
        found[mail.key] = {"device": identity, "alert": alert, "mail": state}
    for job in await device.spool.jobs(states={"deferred", "held", "failed"}, pipeline=PIPELINE, limit=50):
        if _is_stuck(job, device.now()):
            alert = {**job.notes, "subject": job.subject}
            state = {"state": job.state, "cause": job.cause or "", "sentence": job.sentence}
            found[f"job {job.id}"] = {"device": identity, "alert": alert, "mail": state}
    return found


def _is_stuck(job: Job, now: float) -> bool:
    return job.state in {"held", "failed"} or now - job.created_at > PATIENCE


async def _post(address: str, body: Mapping[str, Any]) -> bool:
    """Post JSON; whether it was taken. The address is a secret of its own and never logged."""
    import httpx2  # noqa: PLC0415 - a device without a webhook needs no HTTP client

    try:
        with anyio.fail_after(TIMEOUT):
            async with (
                httpx2.AsyncClient(timeout=TIMEOUT, follow_redirects=False, headers={"User-Agent": "mailslot"}) as http,
                http.stream("POST", address, json=body) as answer,
            ):
                status = answer.status_code
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError) as error:
        logger.warning("The webhook did not take an alert: %s", type(error).__name__)
        return False
    if not 200 <= status < 300:
        logger.warning("The webhook did not take an alert: HTTP status %s", status)
    return 200 <= status < 300
