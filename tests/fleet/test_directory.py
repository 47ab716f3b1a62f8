"""The list of devices: their states, search, pages; what is known of them, and from when on."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
from anyio.to_thread import run_sync

from command_line import mailslot
from mailslot.fleet.postgres.descriptions import Description, describe
from mailslot.fleet.postgres.directory import NEEDS_SOMEBODY, PAGE, STATES, DeviceSearch, FleetDirectory
from mailslot.slots.records import Records
from mailslot.slots.section import DEVICE
from mailslot.spool.job import NewJob
from mailslot.spool.spool import Spool
from service.sending_device import ALICE, SENDER
from spool.conftest import message

if TYPE_CHECKING:
    from pathlib import Path

    from fleet.tasks import TaskFleet
    from mailslot.fleet.postgres.directory import DevicePage
    from mailslot.fleet.postgres.home import PostgresHome


OAUTH = {"provider": "microsoft365", "authentication": "oauth2", "account": "a@example.com", "client_id": "x"}


@pytest.fixture
def tenant(own: TaskFleet) -> str:
    return own.new_tenant()


async def listed(own: TaskFleet, tenant: str, **more: Any) -> DevicePage:
    return await run_sync(FleetDirectory(own.database).devices, DeviceSearch(tenant=tenant, **more))


async def set_up(home: PostgresHome, **settings: object) -> None:
    values = {"server": "mail.example.com", "authentication": "password", "account": "scan@example.com", **settings}
    await run_sync(Records(home).change, "smtp", values, {})


async def plan(own: TaskFleet, home: PostgresHome) -> None:
    await own.work().wake(home.device.tenant_name, home.device.name, "", "plan")


async def held_job(home: PostgresHome, state: str = "hold", cause: str = "password_refused") -> None:
    async with Spool(home) as spool:
        job = await spool.accept(NewJob("scan", "smtp", SENDER, [ALICE], "a page", 86_400.0), message())
        async with spool.delivery_lock():
            await spool.claim("smtp")
            await getattr(spool, state)(job.id, cause, "Refused.")


def put_task(own: TaskFleet, home: PostgresHome, kind: str, failures: int, cause: str | None, ago: str = "0") -> None:
    """Let a task that was due some time ago be all that a device has; none is late because this machine is slow."""
    with own.look() as connection:
        connection.execute("DELETE FROM tasks WHERE device = %s", (home.device.number,))
        connection.execute(
            "INSERT INTO tasks (tenant, device, record, kind, due_at, wake_at, failures, cause) VALUES "
            "(%s, %s, 'fax-pop', %s, now() + interval '1 hour' - %s::interval, now() + interval '1 hour', %s, %s)",
            (home.device.tenant, home.device.number, kind, ago, failures, cause),
        )


async def test_each_state(own: TaskFleet, tenant: str, tmp_path: Path) -> None:
    """What needs somebody comes first; all pages, both lists and the commands say the same."""
    homes = {state: own.add_device(tenant) for state in reversed(STATES)}
    for state, home in homes.items():
        if state in {"needs_administrator", "needs_token", "expiring"}:
            await set_up(home, authentication="oauth2", provider="microsoft365", server=None)
            await plan(own, home)
        elif state != "not_set_up":
            await set_up(home)
        put_task(own, home, "poll", 0, None)
    await held_job(homes["held"])
    await held_job(homes["failed"], "fail", "recipient_refused")
    put_task(own, homes["held"], "poll", 1, "server_unreachable")
    put_task(own, homes["refused"], "poll", 1, "account_mismatch")
    put_task(own, homes["failing"], "poll", 2, "server_unreachable")
    put_task(own, homes["late"], "plan", 0, None, "2 hours")
    put_task(own, homes["failed"], "poll", 0, None)
    health = "UPDATE record_health SET state = %s, cause = %s WHERE device = %s"
    with own.look() as connection:
        connection.execute(health, ("unreadable", "token_store_unreadable", homes["needs_administrator"].device.number))
        connection.execute(health, ("expiring", "app_secret_expired", homes["expiring"].device.number))

    page = await listed(own, tenant)
    names = {home.device.name: state for state, home in homes.items()}
    assert [(names[each.device], each.state) for each in page.devices] == [(state, state) for state in STATES]
    assert [(each.cause, each.record) for each in page.devices] == [
        ("token_store_unreadable", "smtp"),
        ("token_not_retrieved", "smtp"),
        ("password_refused", "smtp"),
        ("account_mismatch", "fax-pop"),
        ("server_unreachable", "fax-pop"),
        (None, "fax-pop"),
        ("app_secret_expired", "smtp"),
        ("recipient_refused", "smtp"),
        (None, None),
        (None, None),
    ]
    assert {each.state: (each.held, each.failed, each.jobs) for each in page.devices if each.held or each.failed} == {
        "held": (1, 0, 1),
        "failed": (0, 1, 1),
    }
    assert page.counts == dict.fromkeys(STATES, 1)
    only = await listed(own, tenant, states=("failing", "held"), size=1, page=2)
    assert ([each.state for each in only.devices], only.pages, only.counts) == (["failing"], 2, page.counts)
    caused = await listed(own, tenant, cause="server_unreachable", size=None)
    assert [each.state for each in caused.devices] == ["failing"]
    [row] = (await run_sync(FleetDirectory(own.database).tenants, DeviceSearch(tenant=tenant))).tenants
    assert (row.name, row.counts) == (tenant, page.counts)

    environment = {"MAILSLOT_DATABASE": own.url, "XDG_DATA_HOME": str(tmp_path), "COLUMNS": "200"}
    ran = await run_sync(run_list, environment, "--state", "held", "--tenant", tenant, "--json")
    [document] = json.loads(ran)
    assert (document["device"], document["jobs"]) == (homes["held"].device.name, 1)
    assert document["actor"] == "operator"
    assert "1 job: " in await run_sync(run_list, environment, "--health", "--tenant", tenant)
    ran = await run_sync(run_list, environment, "--tenant", tenant, "--limit", "3", "--page", "4", "--json")
    assert [each["state"] for each in json.loads(ran)] == ["ok"]
    ran = await run_sync(lambda: mailslot("fleet", "list", "--state", "sad", **environment).stderr)
    assert "There is no state" in ran
    ran = await run_sync(lambda: mailslot("fleet", "status", "--json", **environment).stdout)
    assert {"tenant": tenant, "states": dict.fromkeys(STATES, 1)}.items() <= next(
        each for each in json.loads(ran)["tenants"] if each["tenant"] == tenant
    ).items()


def run_list(environment: dict[str, str], *arguments: str) -> str:
    return mailslot("fleet", "list", *arguments, **environment).stdout


async def test_what_a_worker_has_seen(own: TaskFleet, tenant: str) -> None:
    """What is still so stays since then, and what is mended goes."""
    home = own.add_device(tenant)
    for record in ("smtp", "fax-pop"):
        await run_sync(Records(home).change, record, OAUTH, {})
    await plan(own, home)
    [found] = (await listed(own, tenant)).devices
    assert (found.state, found.record, found.cause) == ("needs_token", "fax-pop", "token_not_retrieved")
    assert found.since is not None
    await run_sync(Records(home).change, "fax-pop", dict.fromkeys(OAUTH), {})
    await plan(own, home)
    [found_now] = (await listed(own, tenant, states=NEEDS_SOMEBODY)).devices
    assert (found_now.record, found_now.since) == ("smtp", found.since)


async def test_a_failed_job_counts_for_a_week(own: TaskFleet, tenant: str) -> None:
    home = own.add_device(tenant)
    await set_up(home)
    await held_job(home, "fail", "recipient_refused")
    put_task(own, home, "poll", 0, None)
    [row] = (await listed(own, tenant)).devices
    assert (row.state, row.failed, row.cause) == ("failed", 1, "recipient_refused")
    with own.look() as connection:
        connection.execute(
            "UPDATE jobs SET changed_at = changed_at - 8 * 86400 WHERE device = %s", (home.device.number,)
        )
    [row] = (await listed(own, tenant)).devices
    assert (row.state, row.failed) == ("ok", 0)


async def test_search(own: TaskFleet, tenant: str) -> None:
    """It follows the settings at once."""
    home, other = own.add_device(tenant), own.add_device(tenant)
    await set_up(home, sender_address="Straße@example.com")
    section = {"name": "Copier 50%_\\ on Ground Floor", "location": "Zürich"}
    await run_sync(Records(home).settings.change_section, DEVICE, section)
    for words in (
        "",
        f"{tenant}/",
        tenant.upper(),
        home.device.name,
        "ground FLOOR",
        "floor ground",
        "zürich",
        "ZÜRICH",
    ):
        found = [each.device for each in (await listed(own, tenant, search=words)).devices]
        assert home.device.name in found, words
        assert (other.device.name in found) == (words in {"", f"{tenant}/", tenant.upper()}), words
    for words in ("50%_\\", "scan@example", "STRASSE@", f"{home.device.name} zürich"):
        assert [each.device for each in (await listed(own, tenant, search=words)).devices] == [home.device.name], words
    for words in ("%", "_", "\\", "ground cellar", "x' OR true --", "\0", "a" * 10_000):
        found = [each.device for each in (await listed(own, tenant, search=words)).devices]
        assert (home.device.name in found) == (words in {"%", "_", "\\", "\0"}), words
    await run_sync(Records(home).settings.change_section, DEVICE, {"location": None})
    assert not (await listed(own, tenant, search="zürich")).devices
    [row] = (await listed(own, tenant, search="ground")).devices
    assert (row.name, row.location) == ("Copier 50%_\\ on Ground Floor", "")
    assert row.accounts == "Straße@example.com, scan@example.com"


async def test_pages(own: TaskFleet, tenant: str) -> None:
    with own.look() as connection:
        number = own.add_device(tenant).device.tenant
        connection.execute(
            "WITH added AS (INSERT INTO devices (tenant, name) SELECT %(tenant)s, 'a' || lpad(i::text, 4, '0') "
            "FROM generate_series(1, 120) AS i RETURNING id) "
            "INSERT INTO device_state (tenant, device) SELECT %(tenant)s, id FROM added",
            {"tenant": number},
        )
    names: list[str] = []
    for number in (1, 2, 3):
        page = await listed(own, tenant, page=number)
        assert (page.page, page.pages) == (number, 3)
        assert len(page.devices) == (PAGE if number < 3 else 21)
        names += [each.device for each in page.devices]
    assert names == sorted(names)
    assert len(set(names)) == 121
    for number, pages in ((4, 3), (10**9, 3), (0, 3), (-1, 3)):
        page = await listed(own, tenant, page=number)
        assert (bool(page.devices), page.pages) == (number < 1, pages)
    assert (await listed(own, tenant, search="a0001")).pages == 1


async def test_only_the_tenants_that_may_be_seen(own: TaskFleet, tenant: str) -> None:
    directory = FleetDirectory(own.database)
    own.add_device(tenant)
    other = own.new_tenant()
    own.add_device(other)
    for tenants, expected in (
        (None, {tenant, other}),
        ({tenant}, {tenant}),
        ({other, "x"}, {other}),
        (set[str](), set[str]()),
    ):
        found: list[str] = []
        for number in itertools.count(1):
            page = await run_sync(directory.devices, DeviceSearch(tenants=tenants, page=number))
            found += [each.tenant for each in page.devices]
            if number == page.pages:
                break
        assert set(found) & {tenant, other} == expected
        assert sum(page.counts.values()) == len(found)
        assert tenants is None or set(found) == expected
        rows = await run_sync(directory.tenants, DeviceSearch(tenants=tenants))
        assert {each.name for each in rows.tenants} & {tenant, other} == expected
    assert not (await run_sync(directory.devices, DeviceSearch(tenants={other}, tenant=tenant))).devices


async def test_health_ends_with_the_record(own: TaskFleet, tenant: str) -> None:
    home = own.add_device(tenant)
    await set_up(home, authentication="oauth2", provider="microsoft365", server=None)
    await plan(own, home)
    assert (await listed(own, tenant)).counts == {"needs_token": 1}
    await set_up(home, authentication="password", provider=None)
    await plan(own, home)
    put_task(own, home, "poll", 0, None)
    assert (await listed(own, tenant)).counts == {"ok": 1}


@pytest.mark.parametrize(
    "octets", [None, b"", b"\xff", b"a = [", b"device = 3\nrecords = []\n", b"[records.smtp]\naccount = 7\n"]
)
def test_settings_that_say_nothing(octets: bytes | None) -> None:
    assert describe(octets) == Description()
