"""What a fleet has to do while its database or its workers fail, and whether it has been done, once."""

from __future__ import annotations

import itertools
import random
import re
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
from anyio.to_thread import run_sync
from psycopg import Error

import bench.servers  # noqa: F401 - it finds the tests
from mailslot.errors import MailError
from mailslot.message import Message
from mailslot.oauth.grant import Grant
from mailslot.slots.records import Records
from mailslot.spool.job import NewJob
from mailslot.spool.spool import Spool
from service.polling_device import RECORD, mail
from service.sending_device import ALICE, SENDER, received, sandbox_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fleet.tasks import TaskFleet
    from mailslot.fleet.postgres.home import PostgresHome
    from mailslot_plugins.sandbox import Sandbox

LIFETIME = 40.0
"""Seconds for which an access token is valid; it is renewed after three quarters of them."""


@dataclass
class Load:
    """Devices that send, and fetch with a grant that is renewed all the time, with strict rotation.

    Attributes:
        fleet: the fleet.
        sandbox: their mail service and token service.
        homes: the devices, by their mailbox.
        jobs: the subjects of the jobs that were accepted, each by the number of its acceptance.
        mails: the subjects of the mails that arrived.
        refused: how often a job was not accepted at once, since the database could not be used.
    """

    fleet: TaskFleet
    sandbox: Sandbox
    homes: dict[str, PostgresHome]
    jobs: list[str] = field(default_factory=list[str])
    mails: list[str] = field(default_factory=list[str])
    refused: int = 0
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def set_up(self, folder: Path) -> None:
        """Set all devices up."""
        self.sandbox.provider.rotation = "strict"
        self.sandbox.provider.lifetime = LIFETIME
        client = self.sandbox.provider.register("copier")
        authorities = folder / "ca.pem"
        authorities.write_bytes(self.sandbox.ca_pem)
        for user, home in self.homes.items():
            records = Records(home)
            await run_sync(records.change, "smtp", sandbox_settings(self.sandbox), {})
            settings = {
                "server": "localhost",
                "port": self.sandbox.pop3s.port,
                "security": "tls",
                "authentication": "oauth2",
                "account": user,
                "timeout": 60,
                "first_poll": "all",
                "ca_file": str(authorities),
                "check_interval": 10,
                "provider": "custom",
                "client_id": "copier",
                "issuer": self.sandbox.issuer,
                "token_endpoint": f"{self.sandbox.issuer}/token",
                "authorization_endpoint": f"{self.sandbox.issuer}/authorize",
                "scopes": " ".join(sorted(self.sandbox.provider.scopes)),
            }
            await run_sync(records.change, RECORD, settings, {})
            grant = Grant(
                flow="browser",
                access_token=None,
                expires_at=None,
                refresh_token=self.sandbox.provider.consent(user, client),
                scopes=tuple(self.sandbox.provider.scopes),
                obtained_at=time.time(),
                renewed_at=0.0,
                account=user,
                token_origin=self.sandbox.issuer,
            )
            await records.tokens.store(RECORD).save(grant)

    async def run(self) -> None:
        """Give them work until cancelled; a job that is being accepted then is still accepted."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._send)
            group.start_soon(self._receive)
            group.start_soon(self._hasten)

    async def storm(self, ended: anyio.Event) -> None:
        """Hand over jobs one after the other, so that some commit is always under way."""
        while not ended.is_set():
            await self._accept(random.choice([*self.homes.values()]), f"job {next(self._numbers)}")

    async def _send(self) -> None:
        while True:
            with anyio.CancelScope(shield=True):
                await self._accept(random.choice([*self.homes.values()]), f"job {next(self._numbers)}")
            await anyio.sleep(0.3)

    async def _accept(self, home: PostgresHome, name: str) -> None:
        """Hand a job over until it is accepted, as clients do; its key makes it one job however often that is."""
        message = Message(sender=SENDER, to=[ALICE], subject=name, text="Hello.")
        while True:
            try:
                async with Spool(home) as spool:
                    await spool.accept(NewJob("scan", "smtp", SENDER, [ALICE], name, key=name), message)
            except MailError:
                self.refused += 1
                await anyio.sleep(1)
            else:
                self.jobs.append(name)
                return

    async def _receive(self) -> None:
        while True:
            self.mails.append(f"mail {len(self.mails) + 1}")
            self.sandbox.maildrops[random.choice([*self.homes])].add(mail(self.mails[-1]))
            await anyio.sleep(0.7)

    async def _hasten(self) -> None:
        """Let mailboxes be polled every few seconds, and not every ten minutes."""
        while True:
            with suppress(Error):
                await run_sync(self._poll_soon)
            await anyio.sleep(2)

    def _poll_soon(self) -> None:
        with self.fleet.look() as connection:
            connection.execute(
                "UPDATE tasks SET due_at = now(), wake_at = now() WHERE kind = 'poll' AND NOT woken AND due_at > now()"
            )

    async def finish(self, within: float) -> float:
        """Wait until everything is done; return the seconds that it took.

        Raises:
            TimeoutError: it is not done.
        """
        began = time.monotonic()
        left: str = ""
        while time.monotonic() - began < within:
            with suppress(Error):
                left = await run_sync(self._left)
                if not left:
                    return time.monotonic() - began
            await anyio.sleep(0.5)
        raise TimeoutError(left)

    def _left(self) -> str:
        waiting = sum(len(each.messages) for each in self.sandbox.maildrops.values())
        self._poll_soon()
        with self.fleet.look() as connection:
            # A job in doubt is sent again after a quarter of an hour, and mail whose handling met a fault is handled
            # again after five minutes, for which this does not wait.
            connection.execute(
                "UPDATE tasks SET due_at = now(), wake_at = now() WHERE kind = 'handle' AND NOT woken "
                "AND due_at > now()"
            )
            connection.execute("UPDATE mails SET due_at = 0 WHERE state = 'fetched' AND due_at > 0")
            connection.execute(
                "UPDATE jobs SET changed_at = changed_at - 3600, next_attempt = next_attempt - 3600 "
                "WHERE state = 'in_doubt' AND NOT delivering"
            )
            found = connection.execute(
                "SELECT 'jobs ' || state AS what, count(*) AS number FROM jobs WHERE state <> 'sent' GROUP BY state "
                "UNION ALL SELECT 'mails ' || state, count(*) FROM mails WHERE state <> 'done' GROUP BY state"
            ).fetchall()
        kept = {row["what"]: row["number"] for row in found} | ({"mails on the server": waiting} if waiting else {})
        return ", ".join(f"{number} {what}" for what, number in kept.items())

    async def check(self, log: str) -> tuple[list[str], dict[str, int]]:
        """Return what is wrong, and numbers for people."""
        wrong: list[str] = []
        doubts: dict[str, int] = {}
        dead, mails = 0, 0
        for home in self.homes.values():
            async with Spool(home) as spool:
                doubts |= {job.subject: job.doubts for job in await spool.jobs(limit=100_000)}
                mails += len(await spool.ledger.mails(RECORD, limit=100_000))
            grant = await Records(home).tokens.store(RECORD).load()
            dead += grant is None or (grant.failure is not None and grant.failure.retry_at is None)
        sent = Counter(subject for subject, _ in received(self.sandbox))
        wanted = {*self.jobs, *(f"answer to {name}" for name in self.mails)}
        if lost := wanted - sent.keys():
            wrong.append(f"never sent: {sorted(lost)[:5]}")
        if twice := [name for name, number in sent.items() if number > 1 and not doubts.get(name)]:
            wrong.append(f"sent twice: {twice[:5]}")
        if mails != len(self.mails):
            wrong.append(f"{mails} mails in the ledger instead of {len(self.mails)}")
        renewals = self.sandbox.token_service.requests.count("token refresh_token 200")
        if dead:
            wrong.append(f"{dead} grants are dead")
        if "Traceback" in log:
            wrong.append("a traceback in the log")
        numbers = {
            "jobs": len(self.jobs),
            "mails": len(self.mails),
            "sent again after doubt": sum(number > 1 for number in sent.values()),
            "renewals": renewals,
            "renewals saved": len(re.findall("the token was refreshed", log)),
            "grants dead": dead,
            "refused by the database": self.refused,
            "commits without an answer that took place": len(re.findall("not answered took place", log)),
            "and that did not": len(re.findall("not answered did not", log)),
        }
        return wrong, numbers
