"""The devices of a fleet by state: what needs somebody first, in one query."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from command_line import mailslot
from fleet.tasks import TaskFleet
from mailslot.fleet.postgres.device_states import STATES, device_health, state_counts
from mailslot.slots.records import Records
from mailslot.spool.job import NewJob
from mailslot.spool.spool import Spool
from spool.conftest import message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from mailslot.fleet.postgres.home import PostgresHome

OAUTH = {"provider": "microsoft365", "authentication": "oauth2", "account": "a@example.com", "client_id": "x"}


@pytest.fixture(scope="module")
def tasks(postgres: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TaskFleet]:
    found = TaskFleet(postgres.create_database(), tmp_path_factory.mktemp("health"))
    yield found
    found.database.close()


async def plan(tasks: TaskFleet, home: PostgresHome) -> None:
    await tasks.work().wake(home.device.tenant_name, home.device.name, "", "plan")


async def test_what_a_worker_has_seen(tasks: TaskFleet) -> None:
    tenant = tasks.new_tenant()
    empty, without_token, plain = (tasks.add_device(tenant) for _ in range(3))
    Records(without_token).change("smtp", OAUTH, {})
    Records(without_token).change("fax-pop", OAUTH, {})
    Records(plain).change("smtp", {"server": "mail.example.com"}, {})
    for home in (empty, without_token, plain):
        await plan(tasks, home)
    found = device_health(tasks.database, tenant=tenant)
    assert [(each.device, each.state, each.record, each.cause) for each in found] == [
        (without_token.device.name, "needs_token", "fax-pop", "token_not_retrieved"),
        (empty.device.name, "not_set_up", None, None),
        (plain.device.name, "ok", None, None),
    ]
    since = found[0].since
    assert since is not None
    # What is still so stays since then, and what is mended goes.
    Records(without_token).change("fax-pop", dict.fromkeys(OAUTH), {})
    await plan(tasks, without_token)
    [found_now] = device_health(tasks.database, states=["needs_token"], tenant=tenant)
    assert (found_now.record, found_now.since) == ("smtp", since)
    assert state_counts(tasks.database)[tenant] == {"needs_token": 1, "not_set_up": 1, "ok": 1}


async def test_the_order_and_the_filters(tasks: TaskFleet, tmp_path: Path) -> None:
    tenant = tasks.new_tenant()
    homes = {name: tasks.add_device(tenant) for name in ("held", "refused", "failing", "late", "failed")}
    for name, home in homes.items():
        Records(home).change("smtp", {"server": "mail.example.com"}, {})
        await plan(tasks, home)
        if name in {"held", "failed"}:
            async with Spool(home) as spool, spool.delivery_lock():
                job = await spool.accept(NewJob("scan", "smtp", "a@example.com", ["b@example.com"]), message())
                if name == "held":
                    await spool.suspend("smtp", "token_not_retrieved", "Get a token.")
                else:
                    await spool.claim("smtp")
                    await spool.fail(job.id, "recipient_refused", "No.")
            with tasks.look() as connection:
                # A slow machine would have what is due count as late.
                connection.execute("DELETE FROM tasks WHERE device = %s", (home.device.number,))
    with tasks.look() as connection:
        values = [
            (homes["refused"], "poll", 1, "account_mismatch", "0"),
            (homes["failing"], "poll", 2, "server_unreachable", "0"),
            (homes["late"], "plan", 0, None, "2 hours"),
        ]
        for home, kind, failures, cause, ago in values:
            connection.execute("DELETE FROM tasks WHERE device = %s", (home.device.number,))
            connection.execute(
                "INSERT INTO tasks (tenant, device, record, kind, due_at, wake_at, failures, cause) VALUES "
                "(%s, %s, '', %s, now() + interval '1 hour' - %s::interval, now() + interval '1 hour', %s, %s)",
                (home.device.tenant, home.device.number, kind, ago, failures, cause),
            )
    found = device_health(tasks.database, tenant=tenant)
    names = {home.device.name: name for name, home in homes.items()}
    assert [(names[each.device], each.state) for each in found] == [(name, name) for name in homes]
    assert [each.state for each in found] == sorted((each.state for each in found), key=STATES.index)
    assert (found[0].jobs, found[0].cause) == (1, "token_not_retrieved")
    wanted = homes["failing"].device
    assert [each.device for each in device_health(tasks.database, cause="server_unreachable")] == [wanted.name]
    assert [each.device for each in device_health(tasks.database, search=f"{tenant}/{wanted.name}")] == [wanted.name]
    assert [each.state for each in device_health(tasks.database, tenant=tenant, limit=2)] == ["held", "refused"]

    environment = {"MAILSLOT_DATABASE": tasks.url, "XDG_DATA_HOME": str(tmp_path), "COLUMNS": "200"}
    ran = mailslot("fleet", "list", "--state", "held", "--tenant", tenant, "--json", **environment)
    [document] = json.loads(ran.stdout)
    assert (document["device"], document["jobs"]) == (homes["held"].device.name, 1)
    assert document["actor"] == "operator"
    assert "job: " in mailslot("fleet", "list", "--health", "--tenant", tenant, **environment).stdout
    assert "There is no state" in mailslot("fleet", "list", "--state", "sad", **environment).stderr
