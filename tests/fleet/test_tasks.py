"""What is due for each device, and what becomes of it, however its wake-ups come."""

from __future__ import annotations

import asyncio
import itertools
import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.to_thread import run_sync

from mailslot.fleet.engine import Engine
from mailslot.fleet.postgres.due_scan import LISTED, TASK, scan, unlock_old
from mailslot.fleet.postgres.lease_keeper import DURATION
from mailslot.oauth.grant import Grant
from mailslot.service.retry_policy import RESUBMIT_AFTER
from mailslot.service.service_lock import is_service_running
from mailslot.slots.records import Records
from mailslot.spool.job import NewJob
from mailslot.spool.spool import Spool
from mailslot.wire.secret import Secret
from mailslot_plugins.sandbox import Fault, run_sandbox
from service.polling_device import RECORD, USER, RecordingPipeline, mail, pop_settings
from service.sending_device import ALICE, OPEN, SENDER, received, sandbox_settings, set_up
from spool.conftest import message

if TYPE_CHECKING:
    from pathlib import Path

    from fleet.tasks import TaskFleet
    from mailslot.fleet.postgres.home import PostgresHome
    from mailslot_plugins.sandbox import Sandbox

DELIVER, PLAN = ("", "deliver"), ("", "plan")


@pytest.fixture
def home(own: TaskFleet) -> PostgresHome:
    return own.add_device(own.new_tenant())


async def accept(home: PostgresHome, via: str = "smtp") -> int:
    async with Spool(home) as spool:
        return (await spool.accept(NewJob("scan", via, SENDER, [ALICE], "a page", 86_400.0), message())).id


async def state_of(home: PostgresHome, job: int) -> tuple[str, str | None]:
    async with Spool(home) as spool:
        found = await spool.job(job)
        return found.state, found.cause


async def wake(own: TaskFleet, home: PostgresHome, kind: str, *pipelines: Any, record: str = "") -> None:
    await own.wake(home, kind, *pipelines, record=record)


async def obtain(home: PostgresHome, sandbox: Sandbox, folder: Path) -> None:
    """Set the record up with a grant whose access token has expired."""
    client = sandbox.provider.register("copier")
    settings = {
        **pop_settings(sandbox, folder),
        "token_source": None,
        "check_interval": 10,
        "provider": "custom",
        "client_id": "copier",
        "issuer": sandbox.issuer,
        "token_endpoint": f"{sandbox.issuer}/token",
        "authorization_endpoint": f"{sandbox.issuer}/authorize",
        "scopes": " ".join(sorted(sandbox.provider.scopes)),
    }
    records = Records(home)
    await run_sync(records.change, RECORD, settings, {})
    refresh_token = sandbox.provider.consent(USER, client)
    grant = Grant(
        flow="browser",
        access_token=Secret("old"),
        expires_at=3600.0,
        refresh_token=refresh_token,
        scopes=tuple(sandbox.provider.scopes),
        obtained_at=0.0,
        renewed_at=0.0,
        account=USER,
        token_origin=sandbox.issuer,
    )
    await records.tokens.store(RECORD).save(grant)


async def load(home: PostgresHome) -> Grant:
    grant = await Records(home).tokens.store(RECORD).load()
    assert grant is not None
    return grant


async def test_what_changes_says_what_is_due(own: TaskFleet, home: PostgresHome) -> None:
    assert not own.tasks(home)
    await accept(home)
    assert own.tasks(home)[DELIVER]["due_in"] <= 0
    await run_sync(Records(home).change, "smtp", {"server": "mail.example.com"}, {})
    assert own.tasks(home)[PLAN]["due_in"] <= 0
    async with Spool(home) as spool, spool.ledger.receive("fax-pop", "u1") as file:
        await file.write(mail("one"))
    assert 30 < own.tasks(home)["fax-pop", "handle"]["due_in"] <= 60
    await run_sync(own.registry.remove, home.device.tenant_name, home.device.name)
    assert not own.tasks(home)


async def test_each_due_task_has_one_wakeup_until_it_is_lost(own: TaskFleet, home: PostgresHome) -> None:
    tenant = [home.device.tenant_name]
    await accept(home)
    scan(own.database)
    assert own.wakeups(tenant) == [(*tenant, "", "deliver")]
    await accept(home)  # it is due again at once, but a wake-up waits already
    scan(own.database)
    assert len(own.wakeups(tenant)) == 1
    assert own.tasks(home)[DELIVER]["wake_in"] > 30
    assert await run_sync(is_service_running, home)
    with own.look() as connection:
        connection.execute("UPDATE schema_version SET scanned_at = now() - interval '1 hour'")
    assert not await run_sync(is_service_running, home)
    own.lose_wakeups()
    scan(own.database)
    assert len(own.wakeups(tenant)) == 1


@pytest.mark.parametrize("listed", [LISTED, 0], ids=["few are due", "more are due than are listed"])
async def test_a_tenant_does_not_stand_in_the_way_of_another(own: TaskFleet, listed: int) -> None:
    large, small = own.new_tenant(), own.new_tenant()
    homes = [own.add_device(large) for _ in range(5)]
    other = own.add_device(small)
    for home in (*homes, other):
        await accept(home)
    scan(own.database, per_tenant=2, together=0, listed=listed)
    assert sorted(own.wakeups([large, small])) == [(large, "", "deliver")] * 2 + [(small, "", "deliver")]
    scan(own.database, per_tenant=2, together=0, listed=listed)
    assert len(own.wakeups([large])) == 2
    woken = next(home for home in homes if own.tasks(home)[DELIVER]["woken"])
    await wake(own, woken, "deliver")
    scan(own.database, per_tenant=2, together=0, listed=listed)
    assert len(own.wakeups([large])) == 3


async def test_tenants_with_due_tasks_share_the_engine(own: TaskFleet) -> None:
    """One alone is not held to the share of one among many."""
    with own.look() as connection:
        connection.execute("UPDATE tasks SET wake_at = now() + interval '1 day'")
    large, small = own.new_tenant(), own.new_tenant()
    for home in [own.add_device(large) for _ in range(7)]:
        await accept(home)
    scan(own.database, per_tenant=1, together=5)
    assert len(own.wakeups([large])) == 5
    for home in [own.add_device(small) for _ in range(3)]:
        await accept(home)
    scan(own.database, per_tenant=1, together=5)
    assert (len(own.wakeups([large])), len(own.wakeups([small]))) == (5, 2)


async def test_a_tenant_that_comes_late_is_not_behind_all_of_a_large_one(own: TaskFleet) -> None:
    large, small = own.new_tenant(), own.new_tenant()
    for home in [own.add_device(large) for _ in range(5)]:
        await accept(home)
    # So long that no time between the scans counts.
    scan(own.database, per_turn=1e6)
    await accept(own.add_device(small))
    scan(own.database, per_turn=1e6)
    tenants = [tenant for tenant, _, _ in own.wakeups([large, small])]
    assert tenants == [large, small, large, large, large, large]


async def test_wakeups_are_taken_in_the_order_of_their_time_but_for_turns(own: TaskFleet) -> None:
    """However many come after it, each has its turn."""
    large, small = own.new_tenant(), own.new_tenant()
    for home in [own.add_device(large) for _ in range(5)]:
        await accept(home)
    scan(own.database, per_turn=0)
    await accept(own.add_device(small))
    scan(own.database, per_turn=0)
    assert [tenant for tenant, _, _ in own.wakeups([large, small])] == [large] * 5 + [small]


async def test_a_wakeup_whose_end_the_engine_has_not_learned(own: TaskFleet, home: PostgresHome) -> None:
    """The connection broke when a worker, which lives on, wanted to say that it has finished."""
    await accept(home)
    scan(own.database)
    with own.look() as connection:
        connection.execute("DELETE FROM procrastinate_jobs WHERE args ->> 'tenant' <> %s", (home.device.tenant_name,))
        fetch = (
            "WITH worker AS (INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id) "
            "SELECT (procrastinate_fetch_job_v2(NULL, id)).id AS job FROM worker"
        )
        taken = connection.execute(fetch).fetchone()["job"]
        connection.execute("UPDATE tasks SET wake_at = now() WHERE device = %s", (home.device.number,))
    scan(own.database)
    with own.look() as connection:
        assert taken is not None
        assert connection.execute(fetch).fetchone()["job"] is None
    assert unlock_old(own.database) == 0
    with own.look() as connection:
        connection.execute("UPDATE procrastinate_events SET at = at - interval '2 min' WHERE job_id = %s", (taken,))
    assert unlock_old(own.database) == 1
    with own.look() as connection:
        assert connection.execute(fetch).fetchone()["job"] is not None


async def test_a_job_is_sent_once_however_often_it_is_woken_for(own: TaskFleet, home: PostgresHome) -> None:
    async with run_sandbox() as sandbox:
        sandbox.personality = OPEN
        await run_sync(set_up, home, sandbox_settings(sandbox))
        job = await accept(home)
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(wake, own, home, "deliver")
        await wake(own, home, "deliver")
        assert await state_of(home, job) == ("sent", None)
        assert len(received(sandbox)) == 1
        due = own.tasks(home)[DELIVER]
        assert due["due_in"] > 3600
        assert not due["woken"]
    await run_sync(own.registry.remove, home.device.tenant_name, home.device.name)
    await wake(own, home, "deliver")  # late


async def test_a_job_in_doubt_is_sent_again(own: TaskFleet, home: PostgresHome) -> None:
    """Also if nothing else is sent meanwhile."""
    async with run_sandbox() as sandbox:
        sandbox.personality = OPEN
        sandbox.faults.append(Fault("message", act=False, keep=0, ending="close"))
        await run_sync(set_up, home, sandbox_settings(sandbox))
        job = await accept(home)
        await wake(own, home, "deliver")
        assert await state_of(home, job) == ("in_doubt", "in_doubt")
        assert 0 < own.tasks(home)[DELIVER]["due_in"] <= RESUBMIT_AFTER
        sandbox.faults.clear()
        own.make_due(home, "deliver")
        with own.look() as connection:
            connection.execute("UPDATE jobs SET next_attempt = 1 WHERE device = %s", (home.device.number,))
            connection.execute("DELETE FROM memory WHERE device = %s", (home.device.number,))
        await wake(own, home, "deliver")
        assert (await state_of(home, job))[0] == "sent"


async def test_failures_are_known_to_the_next_worker(own: TaskFleet, home: PostgresHome) -> None:
    async with run_sandbox() as sandbox:
        settings = sandbox_settings(sandbox)
        sandbox.personality = OPEN
    await run_sync(set_up, home, settings)
    job = await accept(home)
    for failures in (1, 2, 3):
        own.make_due(home, "deliver")
        with own.look() as connection:
            connection.execute("UPDATE jobs SET next_attempt = 0 WHERE device = %s", (home.device.number,))
            connection.execute(
                "UPDATE memory SET value = jsonb_set(value::jsonb, '{breaker,until}', '0')::text "
                "WHERE device = %s AND key LIKE 'breaker %%'",
                (home.device.number,),
            )
        await wake(own, home, "deliver")
        assert (await state_of(home, job))[0] == "deferred"
        assert own.tasks(home)[DELIVER]["due_in"] > 10
        async with Spool(home) as spool:
            assert (await spool.store("delivery").get("breaker smtp"))["breaker"]["failures"] == failures
    # A job that is accepted meanwhile waits as well.
    second = await accept(home)
    await wake(own, home, "deliver")
    assert (await state_of(home, second))[0] == "deferred"
    async with run_sandbox() as sandbox:
        sandbox.personality = OPEN
        await run_sync(set_up, home, sandbox_settings(sandbox))
        await wake(own, home, "plan")
        await wake(own, home, "deliver")
        assert len(received(sandbox)) == 2


async def test_a_record_is_polled_at_its_interval(own: TaskFleet, home: PostgresHome, tmp_path: Path) -> None:
    keeper = RecordingPipeline()
    async with run_sandbox() as sandbox:
        settings = {**pop_settings(sandbox, tmp_path), "check_interval": 10}
        await run_sync(Records(home).change, RECORD, settings, {})
        await wake(own, home, "plan", keeper)
        assert PLAN not in own.tasks(home)
        assert 0 <= own.tasks(home)[RECORD, "poll"]["due_in"] <= 600
        sandbox.maildrops[USER].add(mail("one"))
        await wake(own, home, "poll", keeper, record=RECORD)  # too early
        own.make_due(home, "poll")
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(lambda: wake(own, home, "poll", keeper, record=RECORD))
        assert keeper.subjects == ["one"]
        assert len(sandbox.dialogues) == 1
        assert 500 < own.tasks(home)[RECORD, "poll"]["due_in"] <= 600
        assert (RECORD, "handle") not in own.tasks(home)
    own.make_due(home, "poll")
    await wake(own, home, "poll", keeper, record=RECORD)
    failed = own.tasks(home)[RECORD, "poll"]
    assert (failed["failures"], failed["cause"]) == (1, "connection_refused")
    assert 0 < failed["due_in"] <= 60
    await run_sync(Records(home).change, RECORD, {"check_interval": None}, {})
    await wake(own, home, "plan", keeper)
    assert not own.tasks(home)


async def test_mail_that_a_dead_worker_has_fetched_is_handled(own: TaskFleet, home: PostgresHome) -> None:
    keeper = RecordingPipeline()
    async with Spool(home) as spool, spool.ledger.receive(RECORD, "u1") as file:
        await file.write(mail("one"))
    own.make_due(home, "handle")
    await wake(own, home, "handle", keeper, record=RECORD)
    await wake(own, home, "handle", keeper, record=RECORD)
    assert keeper.subjects == ["one"]
    assert not own.tasks(home)


async def test_what_another_worker_holds_is_left_to_it(own: TaskFleet, home: PostgresHome) -> None:
    other = own.home(home.device.tenant_name, home.device.name)
    job = await accept(home)
    async with other.lock("spool/delivery", timeout=0):
        await wake(own, home, "deliver")
        assert own.tasks(home)[DELIVER]["due_in"] <= 0
    async with other.lock("service", timeout=0):
        await wake(own, home, "deliver")
        assert own.tasks(home)[DELIVER]["wake_in"] > 100
    assert await state_of(home, job) == ("queued", None)


async def test_a_worker_that_was_thought_dead_writes_nothing(own: TaskFleet, home: PostgresHome) -> None:
    """While it handles a mail, its leases end, and another worker handles the mail."""
    keeper = RecordingPipeline()

    async def lose_lease(*_: object) -> Any:
        with own.look() as connection:
            connection.execute(
                "UPDATE leases SET until = now(), ended_at = '-infinity' WHERE device = %s", (home.device.number,)
            )
        await wake(own, home, "handle", keeper, record=RECORD)
        raise ConnectionError("it has slept")

    async with Spool(home) as spool, spool.ledger.receive(RECORD, "u1") as file:
        await file.write(mail("one"))
    own.make_due(home, "handle")
    await wake(own, home, "handle", RecordingPipeline(answer=lose_lease), record=RECORD)
    async with Spool(home) as spool:
        [handled] = await spool.ledger.mails(RECORD, limit=10)
        assert (handled.state, handled.tries) == ("done", 2)
    assert keeper.subjects == ["one"]
    assert not own.tasks(home)


async def test_a_token_is_renewed_once(own: TaskFleet, home: PostgresHome, tmp_path: Path) -> None:
    keeper = RecordingPipeline()
    async with run_sandbox() as sandbox:
        sandbox.provider.rotation = "strict"
        await obtain(home, sandbox, tmp_path)
        await wake(own, home, "plan", keeper)
        assert own.tasks(home)[RECORD, "renew"]["due_in"] <= 20
        own.make_due(home, "renew")
        before = await load(home)
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(lambda: wake(own, home, "renew", keeper, record=RECORD))
        renewed = await load(home)
        assert renewed.refresh_token != before.refresh_token
        assert own.tasks(home)[RECORD, "renew"]["due_in"] > 1000
        await wake(own, home, "renew", keeper, record=RECORD)
        assert await load(home) == renewed
        # With strict rotation, the provider would have revoked the grant at a second use of the old token.
        own.make_due(home, "poll")
        await wake(own, home, "poll", keeper, record=RECORD)
        assert own.tasks(home)[RECORD, "poll"]["failures"] == 0


async def test_a_worker_that_stood_still_renews_no_token(
    own: TaskFleet, home: PostgresHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one may have renewed it meanwhile, and a strict provider revokes a grant whose old token comes again."""
    async with run_sandbox() as sandbox:
        await obtain(home, sandbox, tmp_path)
        await wake(own, home, "plan")
        own.make_due(home, "renew")
        with monkeypatch.context() as patch:
            times = itertools.count(0.0, DURATION)
            patch.setattr("mailslot.fleet.postgres.lease_keeper.now", times.__next__)
            patch.setattr("mailslot.fleet.postgres.leases.now", times.__next__)
            await wake(own, home, "renew", record=RECORD)
        assert (await load(home)).access_token == Secret("old")
        assert "token refresh_token 200" not in sandbox.token_service.requests
        own.make_due(home, "renew")
        await wake(own, home, "renew", record=RECORD)
        assert (await load(home)).access_token != Secret("old")


async def test_work_that_the_engine_cancels_learns_what_its_threads_have_done(own: TaskFleet) -> None:
    """Otherwise a lease that a thread has taken meanwhile would be held for good."""
    begun, may_end = anyio.Event(), threading.Event()
    known: list[str] = []

    def take() -> str:
        anyio.from_thread.run_sync(begun.set)
        assert may_end.wait(120)
        return "taken"

    async def work(*_: str) -> None:
        known.append(await run_sync(take))
        await anyio.sleep_forever()

    engine = Engine(own.url, own.database, work, work=1, renewals=1)
    task = asyncio.create_task(engine._app.tasks[TASK].func("acme", "copier", "", "poll"))
    await begun.wait()
    task.cancel()
    await anyio.wait_all_tasks_blocked()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert known == ["taken"]
