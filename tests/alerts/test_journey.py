"""An alert, and a status request with its reply, on the real servers."""

from __future__ import annotations

import email
from email import policy
from typing import TYPE_CHECKING

import anyio
import pytest

from alerts.devices import run_device
from lab.users import PASSWORD
from mailslot import OAuth, Password, StaticToken, connect_smtp
from mailslot.service.poller import poll_once
from mailslot.service.worker import Worker
from mailslot_plugins.alerts.alarms import Alarms
from mailslot_plugins.status.pipeline import pipeline

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from contextlib import AbstractAsyncContextManager
    from email.message import EmailMessage
    from pathlib import Path

    import trustme

    from lab.dovecot import Dovecot
    from lab.postfix import Postfix
    from lab.provider import Provider
    from mailslot.service.device import Device

COPIER, ALICE, BOB = "daemon@example.test", "alice@example.test", "bob@example.test"

SETTINGS = """
[device]
name = "Copier"
serial_number = "0815"

[records.alert-smtp]
server = "localhost"
port = {smtp}
security = "starttls"
authentication = "oauth2"
account = "daemon@example.test"
token_source = "file {folder}/token"
ca_file = "{folder}/ca.pem"

[records.status-pop]
server = "localhost"
port = {pop}
security = "tls"
authentication = "oauth2"
account = "daemon@example.test"
token_source = "file {folder}/token"
ca_file = "{folder}/ca.pem"
first_poll = "all"

[alerts]
recipients = ["alice@example.test", "bob@example.test"]

[status]
allowed_senders = ["alice@example.test"]
"""


@pytest.fixture(autouse=True)
def _empty(dovecot: Dovecot) -> Iterator[None]:
    for user in (COPIER, ALICE, BOB):
        dovecot.empty(user)
    yield
    for user in (COPIER, ALICE, BOB):
        dovecot.empty(user)


@pytest.fixture
def copier(
    tmp_path: Path, provider: Provider, dovecot: Dovecot, postfix: Postfix, ca: trustme.CA
) -> AbstractAsyncContextManager[Device]:
    """A device whose mailbox is daemon's."""
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    (tmp_path / "token").write_text(provider.token(COPIER))
    (tmp_path / "token").chmod(0o600)
    settings = SETTINGS.format(smtp=postfix.submission.port, pop=dovecot.pop3s.port, folder=tmp_path)
    return run_device(tmp_path / "home", settings)


async def inbox(dovecot: Dovecot, user: str, number: int) -> list[EmailMessage]:
    """Wait until so many mails have arrived, and return them."""
    with anyio.fail_after(120):
        while len(dovecot.messages(user)) < number:  # noqa: ASYNC110 - it is another process
            await anyio.sleep(0.02)
    found = [email.message_from_bytes(octets, policy=policy.default) for octets in dovecot.messages(user)]
    assert len(found) == number
    return found


async def test_an_alert_arrives_once(copier: AbstractAsyncContextManager[Device], dovecot: Dovecot) -> None:
    async with copier as device:
        alarms = Alarms(device)
        for _ in range(3):
            await alarms.raise_("toner_low", part="Schwarz – 5 %", detail="Überall")
            await Worker(device).deliver_due()
        assert [job.state for job in await device.spool.jobs()] == ["sent"]
    for user in (ALICE, BOB):
        [mail] = await inbox(dovecot, user, 1)
        assert mail["Subject"] == "[Copier] Toner low: Schwarz – 5 %"
        assert mail["Auto-Submitted"] == "auto-generated"
        assert mail["Return-Path"] == f"<{COPIER}>"
        assert "    Überall" in mail.get_content().splitlines()


async def test_an_alert_waits_for_a_valid_token(
    copier: AbstractAsyncContextManager[Device], dovecot: Dovecot, tmp_path: Path, provider: Provider
) -> None:
    token = anyio.Path(tmp_path / "token")
    await token.write_text("no-token-at-all")
    async with copier as device:
        await Alarms(device).raise_("jam")
        await Worker(device).deliver_due()
        [job] = await device.spool.jobs()
        assert job.state == "held"
        assert job.sentence
        await token.write_text(provider.token(COPIER))
        await device.spool.release("alert-smtp")
        await Worker(device).deliver_due()
    [mail] = await inbox(dovecot, ALICE, 1)
    assert mail["Subject"] == "[Copier] Paper jam"


async def test_a_request_is_answered_once_and_machines_never(
    copier: AbstractAsyncContextManager[Device],
    dovecot: Dovecot,
    postfix: Postfix,
    provider: Provider,
    lab_context: ssl.SSLContext,
) -> None:
    alice = OAuth(ALICE, StaticToken(provider.token(ALICE)))
    request = b"From: Alice <alice@example.test>\nSubject: Status all\nMessage-ID: <1@example.test>\n\nPlease.\n"
    async with connect_smtp(postfix.submission, alice, ssl_context=lab_context) as smtp:
        await smtp.submit(ALICE, [COPIER], request)
        await smtp.submit(ALICE, [COPIER], b"List-Id: <x.example.test>\n" + request.replace(b"<1@", b"<2@"))
        await smtp.submit(ALICE, [COPIER], b"Auto-Submitted: auto-replied\n" + request.replace(b"<1@", b"<4@"))
    async with connect_smtp(postfix.submission, Password(BOB, PASSWORD), ssl_context=lab_context) as smtp:
        await smtp.submit(BOB, [COPIER], request.replace(b"<1@", b"<5@"))
    await inbox(dovecot, COPIER, 4)

    async with copier as device:
        report = await poll_once(device, "status-pop", pipeline)
        assert report.ok
        assert dovecot.messages(COPIER) == []
        await Worker(device).deliver_due()
        [job] = await device.spool.jobs()
        assert job.state == "sent"
        [answer] = await inbox(dovecot, ALICE, 1)
        assert answer["Subject"] == "Auto: Re: Status all"
        assert answer["In-Reply-To"] == "<1@example.test>"
        assert answer["Auto-Submitted"] == "auto-replied"
        lines = answer.get_content().splitlines()
        assert lines[:2] == ["DEVICE NAME: Copier", "SERIAL NUMBER: 0815"]
        assert "    status.pop: set up" in lines

        # Ourselves, by way of a filter that sends everything back; and the request once more.
        dovecot.deliver(COPIER, dovecot.messages(ALICE)[0])
        dovecot.deliver(COPIER, b"Return-Path: <alice@example.test>\n" + request)
        await poll_once(device, "status-pop", pipeline)
        assert len(await device.spool.jobs()) == 1
    assert await inbox(dovecot, BOB, 0) == []
