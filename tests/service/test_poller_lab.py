"""Polls of a real Dovecot, with mail that came through a real Postfix; and a day of it in a few seconds."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot import OAuth, StaticToken, connect_smtp
from mailslot.service.device import Device
from mailslot.service.poller import poll_once
from mailslot.slots.connector import Connector
from mailslot.slots.records import Records
from mailslot.spool.spool import Spool
from service.polling_device import RECORD, RecordingPipeline, mail

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator
    from pathlib import Path

    import trustme

    from lab.dovecot import Dovecot
    from lab.postfix import Postfix
    from lab.provider import Provider

ALICE, DAEMON = "alice@example.test", "daemon@example.test"


def set_up(
    home: Path, dovecot: Dovecot, provider: Provider, ca: trustme.CA, security: str, **settings: object
) -> Records:
    ca.cert_pem.write_to_path(str(home / "ca.pem"))
    (home / "token").write_text(provider.token(ALICE))
    endpoint = dovecot.pop3s if security == "tls" else dovecot.pop3
    records = Records(home)
    values: dict[str, object] = {
        "server": "localhost",
        "port": endpoint.port,
        "security": security,
        "authentication": "oauth2",
        "account": ALICE,
        "token_source": f"file {home / 'token'}",
        "ca_file": str(home / "ca.pem"),
        "first_poll": "all",
    }
    records.change(RECORD, {**values, **settings}, {})
    return records


@asynccontextmanager
async def opened(records: Records) -> AsyncIterator[Device]:
    async with Spool(records.home) as spool, Connector(records) as connector:
        yield Device(records, connector, spool)


@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_the_journey_of_a_mail(
    tmp_path: Path,
    dovecot: Dovecot,
    postfix: Postfix,
    provider: Provider,
    ca: trustme.CA,
    lab_context: ssl.SSLContext,
    security: str,
) -> None:
    dovecot.empty(ALICE)
    sender = OAuth(DAEMON, StaticToken(provider.token(DAEMON)))
    async with connect_smtp(postfix.submissions, sender, ssl_context=lab_context) as smtp:
        for name in ("one", "two"):
            await smtp.submit(DAEMON, [ALICE], mail(name, size=300_000))
    with anyio.fail_after(120):
        while len(dovecot.messages(ALICE)) < 2:  # noqa: ASYNC110 - it is another process
            await anyio.sleep(0.02)
    there = dovecot.messages(ALICE)
    keeper = RecordingPipeline()
    async with opened(set_up(tmp_path, dovecot, provider, ca, security)) as device:
        report = await poll_once(device, RECORD, keeper)
        assert (report.ok, report.fetched, report.deleted) == (True, 2, 2), report.sentence
        assert sorted(keeper.subjects) == ["one", "two"]
        assert sorted(each.mail.size for each in report.handled) == sorted(
            len(octets.replace(b"\n", b"\r\n")) for octets in there
        )
        assert dovecot.messages(ALICE) == []


async def test_many_mails_in_batches(tmp_path: Path, dovecot: Dovecot, provider: Provider, ca: trustme.CA) -> None:
    dovecot.empty(ALICE)
    for number in range(50):
        dovecot.deliver(ALICE, mail(f"mail {number}"))
    keeper = RecordingPipeline()
    async with opened(set_up(tmp_path, dovecot, provider, ca, "tls")) as device:
        report = await poll_once(device, RECORD, keeper)
        assert (report.fetched, report.deleted, report.left) == (50, 50, 0)
        assert len(set(keeper.subjects)) == 50
        assert dovecot.messages(ALICE) == []


async def test_new_mail_only_and_kept_mail(
    tmp_path: Path, dovecot: Dovecot, provider: Provider, ca: trustme.CA
) -> None:
    dovecot.empty(ALICE)
    dovecot.deliver(ALICE, mail("old"))
    keeper = RecordingPipeline()
    async with opened(set_up(tmp_path, dovecot, provider, ca, "tls", first_poll="new", after_fetch="keep")) as device:
        assert (await poll_once(device, RECORD, keeper)).passed_over == 1
        dovecot.deliver(ALICE, mail("new"))
        for _ in range(2):
            assert (await poll_once(device, RECORD, keeper)).ok
        assert keeper.subjects == ["new"]
        assert len(dovecot.messages(ALICE)) == 2
        (tmp_path / "token").write_text("no-token-of-anybody")
        report = await poll_once(device, RECORD, keeper)
        assert (report.cause, report.retryable) == ("token_refused", False)
