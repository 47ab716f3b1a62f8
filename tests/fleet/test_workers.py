"""Workers as processes: two of them, killed at random, with as much time passing as it takes to be thought dead."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import psycopg
import pytest
from anyio.to_thread import run_sync

from child_process import KILL_ROUNDS
from command_line import mailslot
from fleet.tasks import TaskFleet
from mailslot.message import Message
from mailslot.oauth.grant import Grant
from mailslot.slots.records import Records
from mailslot.spool.job import NewJob
from mailslot.spool.spool import Spool
from mailslot_plugins.sandbox import run_sandbox
from service.polling_device import RECORD, mail, pop_settings
from service.sending_device import ALICE, OPEN, SENDER, received, sandbox_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailslot.fleet.postgres.home import PostgresHome
    from mailslot_plugins.sandbox import Sandbox

ROUNDS = 2 * KILL_ROUNDS
CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
POLL_NOW = (
    "UPDATE tasks SET due_at = now(), wake_at = now() WHERE kind = 'poll' AND NOT woken "
    "AND due_at > now() AND cause IS NULL"
)
"""Polls are spread over their interval."""

JOBS = 6
USERS = ("status@example.com", "fax@example.com", "print@example.com")
READY = "The worker is ready"
REFRESHED = "the token was refreshed"
PROGRAM = Path(sys.executable).with_name("mailslot")


class Workers:
    """Worker processes of a fleet."""

    def __init__(self, fleet: TaskFleet, log: Path) -> None:
        self.log = log
        self.running: list[subprocess.Popen[bytes]] = []
        self.environment = {
            **os.environ,
            "MAILSLOT_DATABASE": fleet.url,
            "MAILSLOT_MASTER_KEY": str(fleet.folder / "master.key"),
            "XDG_DATA_HOME": str(fleet.folder / "data"),
        }

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.running.append(
                subprocess.Popen([PROGRAM, "fleet", "worker", "--tasks", "4"], stderr=output, env=self.environment)
            )

    def end(self, process: subprocess.Popen[bytes], number: signal.Signals) -> int:
        self.running.remove(process)
        process.send_signal(number)
        return process.wait(300)


@contextmanager
def run_workers(fleet: TaskFleet, log: Path, number: int) -> Iterator[Workers]:
    workers = Workers(fleet, log)
    try:
        for _ in range(number):
            workers.start()
        yield workers
    finally:
        for process in tuple(workers.running):
            workers.end(process, signal.SIGKILL)


def page(subject: str) -> Message:
    return Message(sender=SENDER, to=[ALICE], subject=subject, text="Hello.")


def let_time_pass(fleet: TaskFleet) -> None:
    """Let everything that waits for a time be due: everybody counts as dead, also those who are not.

    Their connections to the database break, too.
    """
    for statement in (
        "UPDATE leases SET until = now(), ended_at = '-infinity'",
        "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'",
        "UPDATE jobs SET next_attempt = next_attempt - 3600, changed_at = changed_at - 3600",
        "UPDATE mails SET due_at = due_at - 3600 WHERE state = 'fetched'",
        "UPDATE tasks SET due_at = least(due_at, now()), wake_at = now()",
        CUT,
    ):
        change(fleet, statement)


def change(fleet: TaskFleet, statement: str) -> None:
    """Change rows of many devices, which no worker does; so a worker and this may wait for each other."""
    while True:
        with suppress(psycopg.errors.DeadlockDetected), fleet.look() as connection:
            connection.execute(statement)
            return


async def set_up(home: PostgresHome, sandbox: Sandbox, folder: Path, user: str) -> None:
    """A device that sends, and polls with a grant that must be renewed first."""
    records = Records(home)
    await run_sync(records.change, "smtp", sandbox_settings(sandbox), {})
    settings = {
        **pop_settings(sandbox, folder),
        "account": user,
        "token_source": None,
        "check_interval": 10,
        "provider": "custom",
        "client_id": "copier",
        "issuer": sandbox.issuer,
        "token_endpoint": f"{sandbox.issuer}/token",
        "authorization_endpoint": f"{sandbox.issuer}/authorize",
        "scopes": " ".join(sorted(sandbox.provider.scopes)),
    }
    await run_sync(records.change, RECORD, settings, {})
    refresh_token = sandbox.provider.consent(user, sandbox.provider.clients["copier"])
    grant = Grant(
        flow="browser",
        access_token=None,
        expires_at=None,
        refresh_token=refresh_token,
        scopes=tuple(sandbox.provider.scopes),
        obtained_at=time.time(),
        renewed_at=0.0,
        account=user,
        token_origin=sandbox.issuer,
    )
    await records.tokens.store(RECORD).save(grant)


async def until(test: Callable[[], object], what: str, log: Path) -> None:
    with anyio.move_on_after(240):
        while not await run_sync(test):  # noqa: ASYNC110 - no event tells of another process
            await anyio.sleep(0.1)
        return
    pytest.fail(f"{what}: {log.read_text()[-3000:]}")  # noqa: ASYNC240 - the test ends here


@pytest.fixture
def own(postgres: Any, tmp_path: Path) -> Iterator[TaskFleet]:
    fleet = TaskFleet(postgres.create_database(), tmp_path / "fleet")
    yield fleet
    fleet.database.close()


async def test_workers_are_killed(own: TaskFleet, tmp_path: Path) -> None:
    """Every job is sent, every mail is handled, and each grant is renewed without reuse of a token."""
    homes = [own.add_device(tenant) for tenant in ("acme", "acme", "other")]
    dice, log = random.Random(7), tmp_path / "log"
    async with run_sandbox() as sandbox:
        sandbox.personality = OPEN
        sandbox.provider.rotation = "strict"
        sandbox.provider.register("copier")
        for home, user in zip(homes, USERS, strict=True):
            await set_up(home, sandbox, tmp_path, user)

        def renewed() -> bool:
            change(own, POLL_NOW)
            return log.read_text().count(REFRESHED) == len(homes)

        with run_workers(own, log, 2) as workers:
            # Nobody is killed before: what the provider answers to a worker that is gone then is lost to all of them.
            await until(renewed, "no grant is renewed", log)
            for user in USERS:
                for number in range(5):
                    sandbox.maildrops[user].add(mail(f"mail {number}"))
            await run_sync(change, own, POLL_NOW)
            for round_ in range(ROUNDS + 1):
                # One that is killed before it is ready says nothing, and is waited for in vain below.
                await until(lambda begun=2 + round_: log.read_text().count(READY) == begun, "none is ready", log)
                # The workers may have sent all of them by the time that the last one is accepted.
                wanted = len(sandbox.submissions) + dice.randrange(1, len(homes) * JOBS)
                for home in homes:
                    async with Spool(home) as spool:
                        for number in range(JOBS):
                            name = f"{home.device}/{round_}/{number}"
                            await spool.accept(NewJob("scan", "smtp", SENDER, [ALICE], name), page(name))
                if round_ < ROUNDS:
                    await until(lambda wanted=wanted: len(sandbox.submissions) >= wanted, "nothing is sent", log)
                    workers.end(dice.choice(workers.running), signal.SIGKILL)
                    await run_sync(let_time_pass, own)
                    workers.start()

            def unfinished() -> int:
                # Jobs in doubt wait a while before they are sent again.
                change(
                    own,
                    "UPDATE jobs SET changed_at = changed_at - 3600, next_attempt = next_attempt - 3600 "
                    "WHERE state = 'in_doubt' AND NOT delivering",
                )
                change(own, POLL_NOW)
                with own.look() as connection:
                    row = connection.execute(
                        "SELECT (SELECT count(*) FROM jobs WHERE state <> 'sent') + "
                        "(SELECT count(*) FROM mails WHERE state = 'fetched') + "
                        "(SELECT count(*) FROM tasks WHERE kind = 'renew' AND due_at <= now()) + "
                        # Also what waits for the lease of a worker that was killed.
                        "(SELECT count(*) FROM procrastinate_jobs WHERE status = 'doing' AND task_name = 'wake') "
                        "AS number"
                    ).fetchone()
                return int(row["number"]) + sum(len(sandbox.maildrops[user].messages) for user in USERS)

            await until(lambda: unfinished() == 0, "something is left", log)
            status = await run_sync(lambda: mailslot("fleet", "status", "--json", MAILSLOT_DATABASE=own.url).stdout)
            assert json.loads(status)["workers_seen_at"]
            ended = [workers.end(process, signal.SIGTERM) for process in tuple(workers.running)]
            assert ended == [0, 0], log.read_text()[-3000:]
        counts = Counter(subject for subject, _ in received(sandbox))
        doubts: dict[str, int] = {}
        for home in homes:
            async with Spool(home) as spool:
                doubts |= {job.subject: job.doubts for job in await spool.jobs(limit=1000)}
            grant = await Records(home).tokens.store(RECORD).load()
            assert grant is not None
            assert grant.failure is None
            assert grant.access_token is not None
        assert len(doubts) == len(homes) * JOBS * (ROUNDS + 1)
        assert set(counts) >= set(doubts)
        assert {name for name, number in counts.items() if number > 1} <= {name for name in doubts if doubts[name]}
        assert all(len(sandbox.maildrops[user].removed) == 5 for user in USERS)
        said = log.read_text()
        assert "Traceback" not in said
        assert said.count(REFRESHED) == len(homes)
