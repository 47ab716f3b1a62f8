"""The worker with Postfix and Dovecot, and a token from oidc-provider, as in an office."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.to_thread import run_sync

from mailslot.message import Message
from mailslot.slots.records import Records
from mailslot.spool.job import NewJob
from service.sending_device import FastClocks, opened
from test_token_commands import Shell

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import trustme

    from lab.dovecot import Dovecot
    from lab.postfix import Postfix
    from lab.provider import Provider
    from mailslot.spool.job import Job
    from service.sending_device import SendingDevice

ALICE, BOB = "alice@example.test", "bob@example.test"


class LabDevice:
    """A device in the lab; its settings and its token come by the commands that people type."""

    def __init__(self, shell: Shell, provider: Provider, postfix: Postfix, ca: Path) -> None:
        self.shell = shell
        known = {
            "server": "localhost",
            "port": postfix.submission.port,
            "security": "starttls",
            "ca_file": ca,
            "authentication": "oauth2",
            "provider": "custom",
            "issuer": provider.issuer,
            "client_id": "alice",
            "flow": "app",
            "scopes": "mail.pop mail.send",
            "account": ALICE,
            "sender_address": ALICE,
            "timeout": 60,
        }
        shell.run("set", "network.smtp", *(f"{key}={value}" for key, value in known.items()))
        shell.run("set", "network.smtp", "client_secret=-", typed="alice-secret\n")

    async def get_token(self) -> None:
        await run_sync(self.shell.run, "token", "get", "network.smtp")

    async def delete_token(self) -> None:
        await run_sync(self.shell.run, "token", "delete", "network.smtp", "--yes")

    @asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator[SendingDevice]:
        async with opened(await run_sync(Records, self.shell.home), FastClocks(), **options) as harness:
            yield harness


@pytest.fixture
def lab_device(tmp_path: Path, provider: Provider, postfix: Postfix, dovecot: Dovecot, ca: trustme.CA) -> LabDevice:
    for user in (ALICE, BOB):
        dovecot.empty(user)
    (tmp_path / "ca.pem").write_bytes(ca.cert_pem.bytes())
    return LabDevice(Shell(tmp_path / "home"), provider, postfix, tmp_path / "ca.pem")


async def scan(harness: SendingDevice, *to: str, subject: str = "A page", sender: str = ALICE, size: int = 100) -> Job:
    message = Message(sender=sender, to=list(to), subject=subject, text="x" * size)
    return await harness.spool.accept(NewJob("scan", "smtp", sender, to, subject), message)


async def arrived(dovecot: Dovecot, user: str, number: int = 1) -> list[bytes]:
    with anyio.fail_after(120):
        while len(found := dovecot.messages(user)) < number:  # noqa: ASYNC110 - it is another process
            await anyio.sleep(0.02)
    return found


async def test_a_scan_waits_for_its_token_and_arrives(lab_device: LabDevice, dovecot: Dovecot) -> None:
    async with lab_device.open() as harness, harness.delivering():
        job = await harness.until(await scan(harness, ALICE, BOB, size=300_000), "held")
        assert job.cause == "token_not_retrieved"
        await lab_device.get_token()
        job = await harness.until(job, "sent")
        assert {each.state for each in job.recipients} == {"accepted"}
        for user in (ALICE, BOB):
            [mail] = await arrived(dovecot, user)
            assert b"Subject: A page" in mail
            assert mail.count(b"x") >= 300_000
        # The token goes away while the service runs, and comes again.
        await lab_device.delete_token()
        job = await harness.until(await scan(harness, ALICE, subject="Another"), "held")
        await lab_device.get_token()
        await harness.until(job, "sent")
        await arrived(dovecot, ALICE, 2)


async def test_postfix_refuses_one_recipient_and_defers_one(lab_device: LabDevice, dovecot: Dovecot) -> None:
    await lab_device.get_token()
    async with lab_device.open() as harness:
        job = await scan(harness, ALICE, "nobody@example.test", "later@example.test")
        await harness.deliver_due()
        job = await harness.job(job)
        assert (job.state, job.waiting) == ("deferred", ("later@example.test",))
        by_address = {each.address: each for each in job.recipients}
        assert by_address[ALICE].state == "accepted"
        refused = by_address["nobody@example.test"]
        assert (refused.state, refused.reply[:3], refused.cause) == ("refused", "554", "recipient_refused")
        assert job.cause == "try_again_later"
        await arrived(dovecot, ALICE)
        # Nobody gets it twice for the sake of those who wait.
        await harness.spool.release("smtp")
        await harness.deliver_due()
        await anyio.sleep(0.3)
        assert len(dovecot.messages(ALICE)) == 1


async def test_postfix_refuses_the_sender_and_the_size(lab_device: LabDevice, postfix: Postfix) -> None:
    await lab_device.get_token()
    async with lab_device.open() as harness:
        foreign = await scan(harness, ALICE, sender=BOB)
        large = await scan(harness, ALICE, size=postfix.size_limit + 1)
        good = await scan(harness, ALICE)
        await harness.deliver_due()
        assert [(await harness.job(job)).state for job in (foreign, large, good)] == ["failed", "failed", "sent"]
        job = await harness.job(large)
        assert job.cause == "message_too_large"
        job = await harness.job(foreign)
        assert job.cause in {"sender_refused", "recipient_refused"}


async def test_many_jobs_share_one_session(lab_device: LabDevice, postfix: Postfix, dovecot: Dovecot) -> None:
    await lab_device.get_token()
    async with lab_device.open() as harness:
        before = postfix.log_text().count("sasl_username=alice")
        connects = postfix.log_text().count(": connect from")
        for number in range(25):
            await scan(harness, ALICE, subject=str(number))
        await harness.deliver_due()
        assert await harness.spool.count_by_state() == {
            **dict.fromkeys(await harness.spool.count_by_state(), 0),
            "sent": 25,
        }
        await arrived(dovecot, ALICE, 25)
        with anyio.fail_after(120):
            # Another process of Postfix writes the log.
            while postfix.log_text().count("sasl_username=alice") - before < 25:  # noqa: ASYNC110 - it is another process
                await anyio.sleep(0.02)
        assert postfix.log_text().count("sasl_username=alice") - before == 25
        assert postfix.log_text().count(": connect from") - connects == 1
