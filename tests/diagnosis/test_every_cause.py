"""Every cause that a connection test can meet is reached by one, and its sentence is complete."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import virtual_time
from diagnosis.device import SCANNER
from diagnosis.scenarios import SCENARIOS, SMTP, Scenario, black_hole, jwt, silent_server, with_token
from mailslot.causes.cause import causes
from mailslot.causes.rules import table
from mailslot.diagnosis.catalogue import explain
from mailslot.slots import grant_store
from mailslot_plugins.sandbox import EXCHANGE, run_sandbox

if TYPE_CHECKING:
    from diagnosis.device import Device
    from mailslot_plugins.sandbox import Sandbox

pytestmark = pytest.mark.virtual_time

ELSEWHERE = {"connection_timeout": "test_black_hole", "token_store_busy": "test_another_process_refreshes"}
"""Causes that need more than a sandbox, and the test below that reaches each."""

OF_JOBS = {
    *("spool_full", "spool_unwritable", "spool_unreadable", "spool_busy", "queue_copied", "output_unwritable"),
    *("unknown_job", "unknown_mail", "job_state", "mail_state", "expired"),
    *("printer_unreachable", "printer_stopped", "printer_refused", "document_unprintable"),
}
"""Causes of the device's own queue, files and printers, which no connection test touches."""

OF_DEVICES = {
    *("device_tls_too_old", "device_distrusts_certificate", "device_tls_failed", "device_wrong_encryption"),
    *("device_not_signed_in", "device_password_wrong", "device_signs_in_without_tls", "device_sender_not_allowed"),
    *("device_recipient_not_allowed", "device_message_too_large", "device_too_fast", "device_gone", "device_silent"),
    *("device_speaks_otherwise", "device_unknown", "device_without_quit", "account_not_set_up"),
    "mail_loop",
}
"""Causes of the gateway's devices (`gateway/test_verdict.py`)."""

OF_FLEETS = {"token_store_unreachable"}
"""Causes of a fleet's database and master key (`fleet/test_key_rotation.py`)."""


def test_every_cause_has_a_scenario() -> None:
    """Of what a server's words tell, each row has a transcript of its own (`test_rules`)."""
    reached = {way.cause for way in SCENARIOS} | set(ELSEWHERE)
    result = {rule.cause for rule in table().rules}
    assert set(causes()) - OF_JOBS - OF_DEVICES - OF_FLEETS - reached - result == set()
    assert reached <= set(causes())
    assert all(name in globals() for name in ELSEWHERE.values())


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """One is enough for what is said of a fault; the connection test and the sessions have tests on both."""
    return virtual_time.backend("asyncio")


@pytest.mark.parametrize("way", SCENARIOS, ids=str)
async def test_way(device: Device, way: Scenario) -> None:
    async with run_sandbox(personality=way.personality) as sandbox:
        await way.prepare(device, sandbox)
        result = await device.test(way.slot, send=way.send)
        assert not sandbox.errors
    assert (result.diagnosis.cause, result.stage) == (way.cause, way.stage), result
    assert [stage.name for stage in result.stages if not stage.ok] == ([way.stage] if way.stage else [])
    assert all(stage.ok is not None for stage in result.stages)
    explanation = explain(result.diagnosis)
    assert explanation.cause == way.cause
    assert explanation.message
    assert "{" not in explanation.message


@pytest.mark.parametrize(
    ("audience", "name"),
    [
        ("00000003-0000-0000-c000-000000000000", "Microsoft Graph"),
        ("https://graph.windows.net", "Azure AD Graph"),
    ],
)
async def test_the_test_says_which_service_a_token_is_for(device: Device, audience: str, name: str) -> None:
    """At Exchange, which gives no reason."""
    token = jwt(aud=audience, scp="Mail.Send", upn=SCANNER)
    async with run_sandbox(personality=EXCHANGE) as sandbox:
        await with_token(token, account=SCANNER, provider="microsoft365")(device, sandbox)
        store = device.records.tokens.store("smtp")
        grant = await store.load()
        assert grant is not None
        await store.save(replace(grant, token_origin="https://login.microsoftonline.com"))
        result = await device.test(SMTP)
    assert (result.diagnosis.cause, result.stage) == ("token_for_other_service", "sign_in")
    assert explain(result.diagnosis).message == f"The token is for {name}, not for this mail service."


async def test_black_hole(device: Device, sandbox: Sandbox) -> None:
    with black_hole() as endpoint:
        await device.set_up_slot(SMTP, sandbox, server=endpoint.host, port=endpoint.port)
        result = await device.test(SMTP)
    assert (result.diagnosis.cause, result.stage) == ("connection_timeout", "connect")


async def test_silent_at_the_door(device: Device, sandbox: Sandbox) -> None:
    with silent_server() as endpoint:
        await device.set_up_slot(SMTP, sandbox, server=endpoint.host, port=endpoint.port)
        result = await device.test(SMTP, timeout=0.4)
    assert (result.diagnosis.cause, result.stage) == ("connection_timeout", "greeting")


async def test_another_process_refreshes(device: Device, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grant_store, "LOCK_TIMEOUT", 0.1)
    await device.set_up_slot(SMTP, sandbox, left=-10)
    async with device.records.tokens.store("smtp").lock():
        result = await device.test(SMTP)
    assert (result.diagnosis.cause, result.stage) == ("token_store_busy", "token")
