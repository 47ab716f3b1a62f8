"""A record that sends through another client: chosen, refused where there is none, and obeyed by all that sends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from diagnosis.device import SCANNER, Device
from mailslot import InputError, MailError
from mailslot.diagnosis.catalogue import explain
from mailslot.slots.connector import Connector, open_smtp
from mailslot_plugins.aiosmtplib.session import AiosmtplibSession
from mailslot_plugins.sandbox import Fault, run_sandbox
from service.sending_device import ALICE, opened, received

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from mailslot_plugins.sandbox import Sandbox

SMTP = "network.smtp"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with run_sandbox() as running:
        yield running


@pytest.fixture
async def device(tmp_path: Path, sandbox: Sandbox) -> Device:
    device = Device(tmp_path / "home")
    await device.set_up_slot(SMTP, sandbox, submitter="aiosmtplib")
    return device


def test_choosing_a_submitter(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.set(SMTP, submitter="AIOSMTPLIB")
    assert device.records.settings.load()["smtp"].submitter == "aiosmtplib"
    with pytest.raises(InputError, match=r"There is no submitter 'aiosmtplip'\. Did you mean aiosmtplib\?"):
        device.set(SMTP, submitter="aiosmtplip", timeout=7)
    with pytest.raises(InputError, match=r"There is no submitter 'nonsense'; there are aiosmtplib, mailslot\."):
        device.set(SMTP, submitter="nonsense")
    with pytest.raises(InputError, match="no setting submitter for POP"):
        device.set("fax.pop", submitter="aiosmtplib")
    assert device.records.settings.load()["smtp"].submitter == "aiosmtplib"
    assert device.records.settings.load()["smtp"].timeout == 30
    device.set(SMTP, submitter=None)
    assert device.records.settings.load()["smtp"].submitter == "mailslot"


async def test_the_connection_test(device: Device, sandbox: Sandbox, anyio_backend: str) -> None:
    result = await device.test(SMTP, send=True)
    if anyio_backend == "trio":
        assert (result.ok, result.stage, result.diagnosis.cause) == (False, "resolve", "not_configured")
        assert "aiosmtplib works on asyncio alone" in explain(result.diagnosis).message
        return
    assert result.ok
    stages = "resolve connect greeting capabilities tls token sign_in probe send"
    assert sorted(stage.name for stage in result.stages) == sorted(stages.split())
    assert len(sandbox.submissions) == 1
    assert any("MAIL FROM" in line for line in result.transcript)
    for fault, stage, cause in (
        (Fault("STARTTLS", append=b"250 ok\r\n"), "tls", "tls_injection"),
        (
            Fault("sign_in", protocol="smtp", act=False, replace=b"454 4.7.0 later\r\n"),
            "sign_in",
            "sign_in_temporarily",
        ),
        (Fault("RCPT", act=False, replace=b"550 5.1.1 nobody\r\n"), "probe", "recipient_refused"),
    ):
        sandbox.faults[:] = [fault]
        result = await device.test(SMTP)
        assert (result.ok, result.stage) == (False, stage)
        assert result.diagnosis.cause.startswith(cause)


async def test_jobs_are_delivered(device: Device, sandbox: Sandbox, anyio_backend: str) -> None:
    sandbox.rules.recipients["nobody@example.com"] = "550 5.1.1 no such user"
    async with opened(device.records) as outbox:
        first = await outbox.accept(ALICE, "nobody@example.com", text="one")
        second = await outbox.accept(ALICE, text="two")
        await outbox.deliver_due()
        first, second = await outbox.job(first), await outbox.job(second)
        if anyio_backend == "trio":
            assert (first.state, second.state, sandbox.submissions) == ("held", "held", [])
            assert "asyncio alone" in first.sentence
            return
        assert (first.state, second.state) == ("sent", "sent")
        assert [recipient.state for recipient in first.recipients] == ["accepted", "refused"]
        assert received(sandbox) == [("one", (ALICE,)), ("two", (ALICE,))]
        sandbox.faults[:] = [Fault("message", ending="close", act=False, replace=b"")]
        third = await outbox.accept(ALICE, text="three")
        await outbox.deliver_due()
        assert (await outbox.job(third)).state == "in_doubt"
    assert not sandbox.violations


async def test_the_chosen_client_is_used(device: Device, anyio_backend: str) -> None:
    async with Connector(device.records) as connector:
        profile = await connector.profile("smtp")
        if anyio_backend == "trio":
            with pytest.raises(InputError, match="set submitter to mailslot"):
                async with open_smtp(profile):
                    pass
            return
        async with open_smtp(profile) as session:
            assert isinstance(session, AiosmtplibSession)
            await session.submit(SCANNER, [ALICE], b"Subject: x\r\n\r\n")


async def test_an_uninstalled_client(device: Device, sandbox: Sandbox) -> None:
    """The settings can still be read, and sending reports what is missing."""
    path = device.home / "mailslot.toml"
    path.write_text(path.read_text().replace('"aiosmtplib"', '"gone"'))
    result = await device.test(SMTP)
    assert (result.ok, result.stage) == (False, "resolve")
    assert "There is no submitter 'gone'" in explain(result.diagnosis).message
    async with opened(device.records) as outbox:
        job = await outbox.accept(ALICE)
        await outbox.deliver_due()
        job = await outbox.job(job)
        assert job.state in {"held", "deferred"}
        assert "'gone'" in job.sentence
    with pytest.raises(MailError):
        async with Connector(device.records) as connector, open_smtp(await connector.profile("smtp")):
            pass
    assert sandbox.dialogues == []
