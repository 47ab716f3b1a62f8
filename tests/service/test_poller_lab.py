"""Polls of a real Dovecot, with mail that came through a real Postfix; and a day of it in a few seconds."""

from __future__ import annotations

import gc
import resource
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot import OAuth, StaticToken, connect_smtp
from mailslot.service.device import Device
from mailslot.service.poller import poll_once
from mailslot.service.service import Service
from mailslot.service.systemd import ServiceManager
from mailslot.slots.access import Accesses
from mailslot.slots.records import Records
from mailslot.spool.limits import Limits
from mailslot.spool.spool import Spool
from mailslot_plugins.sandbox import run_sandbox
from service.maildrop import RECORD, USER, Keeper, mail, pop_settings
from service.outbox import OPEN, FastClocks, Outbox, sandbox_settings

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
    async with Spool(records.home) as spool, Accesses(records) as accesses:
        yield Device(records, accesses, spool)


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
    with anyio.fail_after(10):
        while len(dovecot.messages(ALICE)) < 2:  # noqa: ASYNC110 - it is another process
            await anyio.sleep(0.02)
    there = dovecot.messages(ALICE)
    keeper = Keeper()
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
    keeper = Keeper()
    async with opened(set_up(tmp_path, dovecot, provider, ca, "tls")) as device:
        report = await poll_once(device, RECORD, keeper)
        assert (report.fetched, report.deleted, report.left) == (50, 50, 0)
        assert len(set(keeper.subjects)) == 50
        assert dovecot.messages(ALICE) == []


async def test_new_mail_alone_and_mail_that_is_kept(
    tmp_path: Path, dovecot: Dovecot, provider: Provider, ca: trustme.CA
) -> None:
    dovecot.empty(ALICE)
    dovecot.deliver(ALICE, mail("old"))
    keeper = Keeper()
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


DAY, SPEED = 86_400.0, 8_000.0
TIGHT = Limits(rows=50, sent=3_600.0, uids=3_600.0, key_rows=50, keys=3_600.0)


async def test_a_day_of_operation_grows_nothing(tmp_path: Path) -> None:
    """A poll every ten minutes, a mail in it every hour, a job every half hour."""
    async with run_sandbox(personality=OPEN) as sandbox:
        records = Records(tmp_path)
        records.change("smtp", sandbox_settings(sandbox), {})
        records.change(RECORD, {**pop_settings(sandbox, tmp_path), "check_interval": 10}, {})
        clocks, keeper = FastClocks(SPEED), Keeper()
        async with Spool(tmp_path, limits=TIGHT, clock=clocks.wall) as spool, Accesses(records) as accesses:
            device = Device(records, accesses, spool, clocks=clocks.clocks, speed=SPEED)
            box = Outbox(device)
            sizes: list[tuple[int, int, int, int]] = []

            async def live() -> None:
                for half_hour in range(48):
                    await box.accept(text=f"job {half_hour}", lifetime=None)
                    if half_hour % 2:
                        sandbox.maildrops[USER].add(mail(f"mail {half_hour}", size=20_000))
                    await device.sleep(1800)
                    if half_hour % 6 == 5:
                        gc.collect()
                        found = {path.name: path.stat().st_size for path in (tmp_path / "spool").iterdir()}
                        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                        sizes.append((found["spool.db"], found["spool.db-wal"], len(found), memory))
                with anyio.fail_after(20):
                    while len(keeper.subjects) < 24 or len(sandbox.submissions) < 48:  # noqa: ASYNC110 - no event
                        await anyio.sleep(0.02)

            began = device.steady()
            await Service(device, [keeper], ServiceManager(), worker=box.worker).run(live)
            assert device.steady() - began >= DAY
            assert len(keeper.subjects) == len(set(keeper.subjects)) == 24
            assert len(sandbox.submissions) == 48
            await spool.prune()
            assert sum((await spool.counts()).values()) <= 6
            assert len(await spool.ledger.mails()) <= 6
            assert len([dialogue for dialogue in sandbox.dialogues if dialogue.protocol == "pop3"]) > 100
            (octets, _, files, memory), (octets_then, log, files_then, memory_then) = sizes[1], sizes[-1]
            assert octets_then <= octets + 200_000
            assert log < 4_500_000, "SQLite writes its log anew after a thousand pages"
            assert files_then <= files + 3
            assert memory_then <= memory + 20_000, "kilobytes"
        assert not sandbox.errors
