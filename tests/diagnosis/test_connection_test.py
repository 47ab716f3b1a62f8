"""The connection test in front of a service that works, and stage by stage where it does not."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import pytest

from diagnosis.device import ALICE, SCANNER, Device
from mailslot.diagnosis.history import History
from mailslot.diagnosis.stages import STAGES
from mailslot_plugins.sandbox import DOVECOT, EXCHANGE, GMAIL, Fault

if TYPE_CHECKING:
    from mailslot.diagnosis.result import TestResult
    from mailslot.diagnosis.stages import StageResult
    from mailslot_plugins.sandbox import Sandbox


def passed(result: TestResult) -> list[str]:
    return [stage.name for stage in result.stages if stage.ok]


@pytest.mark.parametrize("personality", [DOVECOT, GMAIL, EXCHANGE], ids=lambda played: played.name)
@pytest.mark.parametrize("slot", ["network.smtp", "fax.pop"])
async def test_all_stages_pass(device: Device, sandbox: Sandbox, slot: str) -> None:
    await device.set_up_slot(slot, sandbox)
    sandbox.maildrops[SCANNER].add(b"Subject: a\r\n\r\nb\r\n")
    result = await device.test(slot)
    assert result.ok, result
    assert (result.stage, result.diagnosis.cause, result.warnings) == (None, "ok", ())
    assert passed(result) == [name for name in STAGES if name != "send"]
    assert len(sandbox.maildrops[SCANNER].messages) == 1
    assert not sandbox.submissions
    assert not sandbox.violations
    assert "RETR" not in sandbox.transcript
    assert any(line.startswith("C: AUTH ") for line in result.transcript)


async def test_pop_fetches_nothing_and_reports_the_size_of_the_maildrop(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot("fax.pop", sandbox)
    sandbox.maildrops[SCANNER].add(b"Subject: a\r\n\r\nb\r\n")
    result = await device.test("fax.pop")
    assert result.stages[-1].note == "1 message, 17 octets"
    commands = [line for line in result.transcript if line.startswith("C: ")]
    assert commands[-2:] == ["C: STAT", "C: QUIT"]


async def test_smtp_sends_an_envelope_and_resets(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot("network.smtp", sandbox)
    result = await device.test("network.smtp")
    commands = [line for line in result.transcript if line.startswith("C: ")]
    assert commands[-4:] == [
        f"C: MAIL FROM:<{SCANNER}> SIZE=1024",
        f"C: RCPT TO:<{SCANNER}>",
        "C: RSET",
        "C: QUIT",
    ] or commands[-3:] == [f"C: MAIL FROM:<{SCANNER}> SIZE=1024", f"C: RCPT TO:<{SCANNER}>", "C: RSET"]


async def test_sending_detects_more_than_the_probe(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot("network.smtp", sandbox, sender_name="Scanner")
    result = await device.test("network.smtp", send=True)
    assert result.ok, result
    assert passed(result)[-2:] == ["probe", "send"]
    [submission] = sandbox.submissions
    assert [path.address for path in submission.recipients] == [SCANNER]
    assert b"Auto-Submitted: auto-generated" in submission.content
    assert f"From: Scanner <{SCANNER}>".encode() in submission.content
    assert "taken for delivery" in result.stages[-1].note


@pytest.mark.parametrize("personality", [EXCHANGE], ids=["Exchange"])
async def test_a_message_refused_after_its_envelope_was_accepted(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot("network.smtp", sandbox, sender_address=ALICE)
    assert (await device.test("network.smtp")).ok
    result = await device.test("network.smtp", send=True)
    assert (result.stage, result.diagnosis.cause) == ("send", "sender_refused")
    assert passed(result)[-1] == "probe"


async def test_starttls_stages_keep_the_usual_order(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot("network.smtp", sandbox)
    heard: list[StageResult] = []
    result = await device.test("network.smtp", on_stage=heard.append)
    begun = [stage.name for stage in heard if stage.ok is None and stage.reached and not stage.note]
    # As it goes over the wire.
    assert begun == [
        *("resolve", "connect", "greeting", "capabilities", "tls", "capabilities", "sign_in", "token", "sign_in"),
        "probe",
    ]
    assert [stage.name for stage in result.stages] == [*STAGES[:-1]]


async def test_tls_first(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot("network.smtp", sandbox, port=sandbox.smtps.port, security="tls")
    heard: list[StageResult] = []
    assert (await device.test("network.smtp", on_stage=heard.append)).ok
    assert [stage.name for stage in heard if stage.ok is None][:4] == ["resolve", "connect", "tls", "greeting"]


async def test_a_slow_step_is_timed_in_its_stage(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot("network.smtp", sandbox)
    sandbox.faults.append(Fault("sign_in", delay=0.3))
    began = time.perf_counter()
    result = await device.test("network.smtp")
    spent = time.perf_counter() - began
    seconds = {stage.name: stage.seconds for stage in result.stages}
    assert result.ok
    assert seconds["sign_in"] >= 0.3
    # No other stage has it, too.
    assert sum(seconds.values()) <= spent


async def test_a_refused_token_is_refreshed_as_for_mail(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot("network.smtp", sandbox, valid=False)
    result = await device.test("network.smtp")
    assert result.ok, result


async def test_the_test_ignores_a_remembered_failure(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot("network.smtp", sandbox, left=-10, client_id="unknown")
    first = await device.test("network.smtp")
    assert (first.stage, first.diagnosis.cause) == ("token", "app_secret_invalid")
    sandbox.provider.register("unknown")
    again = await device.test("network.smtp")
    # Asked again, the service now knows the application and refuses another one's renewal token.
    assert (again.stage, again.diagnosis.cause) == ("token", "token_update_failed")


async def test_a_slot_is_tested_with_its_shared_record(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot("install.quick", sandbox)
    result = await device.test("network.quick")
    assert result.ok
    assert (result.slot, result.record) == ("network.quick", "smtp")
    [past] = await History(device.home).last("smtp")
    assert (past.slot, past.ok) == ("network.quick", True)


@pytest.mark.parametrize(
    ("values", "missing"),
    [({"server": None}, "server"), ({"account": None}, "account"), ({"sender_address": None}, "sender_address")],
)
async def test_missing_settings(device: Device, sandbox: Sandbox, values: dict[str, None], missing: str) -> None:
    await device.set_up_slot("network.smtp", sandbox, keep=False)
    # A sender is taken from the account where that is an address.
    device.set("network.smtp", **{**values, **({"account": "scanner"} if missing == "sender_address" else {})})
    if missing == "account":
        device.set("network.smtp", sender_address=SCANNER)
    result = await device.test("network.smtp")
    assert result.diagnosis.cause == "not_configured"
    assert result.diagnosis.facts["missing"] == missing
    assert not sandbox.dialogues


async def test_a_broken_settings_file(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot("network.smtp", sandbox)
    path = device.home / "mailslot.toml"
    path.write_text(path.read_text() + "\n[records.smtp]\n")
    result = await device.test("network.smtp")
    assert result.diagnosis.cause == "not_configured"
    assert str(path) in result.diagnosis.facts["reason"]


async def test_cancellation_closes_everything(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot("network.smtp", sandbox, timeout=30)
    sandbox.faults.append(Fault("sign_in", delay=60))
    reached = anyio.Event()

    def hear(stage: StageResult) -> None:
        if stage.name == "token" and stage.ok:
            reached.set()

    async with anyio.create_task_group() as group:

        async def run() -> None:
            await device.test("network.smtp", on_stage=hear)
            raise AssertionError("it was to be cancelled")

        group.start_soon(run)
        await reached.wait()
        group.cancel_scope.cancel()
    assert not await History(device.home).last("smtp")


@pytest.mark.parametrize("personality", [replace(DOVECOT, sign_in_required=None)], ids=["open"])
async def test_pop_before_smtp(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot("fax.pop", sandbox)
    ca_file = device.home / "ca.pem"
    plain = {"authentication": "pop_before_smtp", "pop_slot": "fax.pop", "sender_address": SCANNER, "ca_file": ca_file}
    device.set_endpoint("network.smtp", sandbox.smtp, **plain)
    result = await device.test("network.smtp")
    assert result.ok, result
    assert [dialogue.protocol for dialogue in sandbox.dialogues] == ["pop3", "smtp"]
    await device.records.tokens.store("fax-pop").delete()
    result = await device.test("network.smtp")
    assert (result.stage, result.diagnosis.cause) == ("sign_in", "token_not_retrieved")


async def test_the_secondary_server_is_tested_if_the_primary_is_unreachable(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot("network.smtp", sandbox, server="mail.invalid", secondary_server="localhost")
    result = await device.test("network.smtp")
    assert (result.stage, result.diagnosis.cause) == ("resolve", "name_not_found")
    assert "the secondary server localhost works" in result.diagnosis.detail


async def test_neither_server_can_be_reached(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot("network.smtp", sandbox, server="mail.invalid", secondary_server="127.0.0.1", port=1)
    result = await device.test("network.smtp")
    assert (result.stage, result.diagnosis.cause) == ("resolve", "name_not_found")
    assert "the secondary server 127.0.0.1 does not work either" in result.diagnosis.detail


async def test_json(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot("network.smtp", sandbox)
    device.set("network.smtp", server="mail.invalid")
    found = (await device.test("network.smtp")).as_json()
    assert {
        *("slot", "ok", "stage", "cause", "message", "advice", "actor", "token_helps", "detail", "stages"),
        "transcript",
    } <= set(found)
    assert (found["slot"], found["ok"], found["stage"]) == ("network.smtp", False, "resolve")
    assert (found["cause"], found["actor"], found["token_helps"]) == ("name_not_found", "network", False)
    assert [(stage["name"], stage["ok"]) for stage in found["stages"]] == [("resolve", False)]
    assert "mail.invalid" in found["message"]
