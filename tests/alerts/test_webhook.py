"""Alerts whose mail cannot be sent are posted, each once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from alerts.devices import ALERTS, SETTINGS, Clock, run_device
from alerts.webhook_server import run_webhook_server
from mailslot_plugins.alerts.alarms import Alarms
from mailslot_plugins.alerts.webhook import post_stuck_alerts

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

TAKEN = b"HTTP/1.1 204 No Content\r\n\r\n"
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"


def settings(port: int, text: str = SETTINGS) -> str:
    return text.replace("[device]", f'[device]\nwebhook = "http://127.0.0.1:{port}/hook-4711"') + ALERTS


async def test_a_mail_that_is_held_is_posted_once(tmp_path: Path) -> None:
    async with run_webhook_server(TAKEN) as web, run_device(tmp_path, settings(web.port), Clock()) as device:
        alarms = Alarms(device)
        await alarms.raise_("toner_low", part="black", detail="5 %")
        await post_stuck_alerts(device, alarms)
        assert web.bodies == [], "it is on its way"
        async with device.spool.delivery_lock():
            job = await device.spool.claim("alert-smtp")
            assert job is not None
            await device.spool.hold(job.id, "token_update_failed", "Token update failed.")
        for _ in range(3):
            await post_stuck_alerts(device, alarms)
        [body] = web.bodies
    document = json.loads(body)
    incident = document["alert"].pop("incident")
    assert incident.startswith("1-")
    assert document == {
        "device": {"name": "Copier", "model": "BP-1", "serial_number": "0815", "location": "2nd floor"},
        "alert": {
            "what": "notice",
            "kind": "toner_low",
            "part": "black",
            "detail": "5 %",
            "severity": "warning",
            "since": "2027-01-15T08:00:00+00:00",
            "subject": "[Copier] Toner low: black",
        },
        "mail": {"state": "held", "cause": "token_update_failed", "sentence": "Token update failed."},
    }


async def test_a_mail_that_cannot_be_accepted_is_posted(tmp_path: Path) -> None:
    nobody = "\n".join(line for line in SETTINGS.splitlines() if "sender_address" not in line)
    async with run_webhook_server(TAKEN) as web, run_device(tmp_path, settings(web.port, nobody)) as device:
        alarms = Alarms(device)
        await alarms.raise_("jam")
        await post_stuck_alerts(device, alarms)
    assert [json.loads(body)["mail"]["cause"] for body in web.bodies] == ["not_configured"]


async def test_at_most_three_tries_and_the_address_is_not_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nobody = "\n".join(line for line in SETTINGS.splitlines() if "sender_address" not in line)
    async with run_webhook_server(BUSY) as web, run_device(tmp_path, settings(web.port, nobody)) as device:
        alarms = Alarms(device)
        await alarms.raise_("jam")
        for _ in range(5):
            await post_stuck_alerts(device, alarms)
    assert len(web.bodies) == 3
    assert "503" in caplog.text
    assert "hook-4711" not in caplog.text


async def test_a_deferred_mail_is_posted_only_after_a_while(tmp_path: Path) -> None:
    clock = Clock()
    async with run_webhook_server(BUSY, TAKEN) as web, run_device(tmp_path, settings(web.port), clock) as device:
        alarms = Alarms(device)
        await alarms.raise_("jam")
        async with device.spool.delivery_lock():
            job = await device.spool.claim("alert-smtp")
            assert job is not None
            await device.spool.defer(job.id, clock.now + 9999, "server_busy", "The server is busy.")
        clock.now = job.created_at + 60
        await post_stuck_alerts(device, alarms)
        assert web.bodies == []
        clock.now = job.created_at + 600
        for _ in range(3):
            await post_stuck_alerts(device, alarms)
    assert len(web.bodies) == 2, "the first was not taken"
