"""The list of devices: their states, search, pages; what is known of them, and from when on."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from anyio.to_thread import run_sync

from fleet.tasks import TaskFleet
from mailslot.fleet.postgres.descriptions import Description, describe
from mailslot.fleet.postgres.directory import PAGE, FleetDirectory, Wanted
from mailslot.slots.records import Records
from mailslot.slots.section import DEVICE
from mailslot.spool.job import NewJob
from mailslot.spool.spool import Spool
from service.sending_device import ALICE, SENDER
from spool.conftest import message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailslot.fleet.postgres.directory import DevicePage
    from mailslot.fleet.postgres.home import PostgresHome


@pytest.fixture(scope="module")
def own(postgres: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TaskFleet]:
    fleet = TaskFleet(postgres.create_database(), tmp_path_factory.mktemp("fleet"))
    yield fleet
    fleet.database.close()


@pytest.fixture
def tenant(own: TaskFleet) -> str:
    return own.new_tenant()


async def listed(own: TaskFleet, tenant: str, **more: Any) -> DevicePage:
    return await run_sync(FleetDirectory(own.database).devices, Wanted(tenant=tenant, **more))


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


async def test_each_state(own: TaskFleet, tenant: str) -> None:
    """The worst comes first, with its cause; what is wrong and repeated comes after what needs somebody."""
    new, well, failing, held, without_token = (own.add_device(tenant) for _ in range(5))
    for home in (well, failing, held):
        await set_up(home)
    await set_up(without_token, authentication="oauth2", provider="microsoft365", server=None)
    await plan(own, without_token)
    await held_job(held)
    with own.look() as connection:
        connection.execute(
            "INSERT INTO tasks (tenant, device, record, kind, due_at, wake_at, failures, cause) "
            "VALUES (%s, %s, 'fax-pop', 'poll', now(), now(), 2, 'connection_refused')",
            (failing.device.tenant, failing.device.number),
        )
    page = await listed(own, tenant)
    assert [(each.device, each.state, each.cause, each.record) for each in page.devices] == [
        (held.device.name, "attention", "password_refused", "smtp"),
        (without_token.device.name, "attention", "token_not_retrieved", "smtp"),
        (failing.device.name, "failing", "connection_refused", "fax-pop"),
        (new.device.name, "new", None, None),
        (well.device.name, "well", None, None),
    ]
    assert page.counts == {"attention": 2, "failing": 1, "new": 1, "well": 1}
    assert [each.held for each in page.devices] == [1, 0, 0, 0, 0]
    only = await listed(own, tenant, state="failing")
    assert [each.device for each in only.devices] == [failing.device.name]
    assert only.counts == page.counts
    [row] = (await run_sync(FleetDirectory(own.database).tenants, Wanted(tenant=tenant))).tenants
    assert (row.name, row.devices, row.counts) == (tenant, 5, page.counts)


async def test_a_failed_job_counts_for_a_week(own: TaskFleet, tenant: str) -> None:
    home = own.add_device(tenant)
    await set_up(home)
    await held_job(home, "fail", "recipient_refused")
    [row] = (await listed(own, tenant)).devices
    assert (row.state, row.failed, row.cause) == ("failing", 1, "recipient_refused")
    with own.look() as connection:
        connection.execute(
            "UPDATE jobs SET changed_at = changed_at - 8 * 86400 WHERE device = %s", (home.device.number,)
        )
    [row] = (await listed(own, tenant)).devices
    assert (row.state, row.failed) == ("well", 0)


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
            page = await run_sync(directory.devices, Wanted(tenants=tenants, page=number))
            found += [each.tenant for each in page.devices]
            if number == page.pages:
                break
        assert set(found) & {tenant, other} == expected
        assert sum(page.counts.values()) == len(found)
        assert tenants is None or set(found) == expected
        rows = await run_sync(directory.tenants, Wanted(tenants=tenants))
        assert {each.name for each in rows.tenants} & {tenant, other} == expected
    assert not (await run_sync(directory.devices, Wanted(tenants={other}, tenant=tenant))).devices


async def test_what_was_there_before_is_described(own: TaskFleet, tenant: str) -> None:
    home = own.add_device(tenant)
    await set_up(home)
    with own.look() as connection:
        connection.execute("DELETE FROM descriptions")
    assert not (await listed(own, tenant, search="scan@example.com")).devices
    await run_sync(own.registry.init)
    assert len((await listed(own, tenant, search="scan@example.com")).devices) == 1


async def test_health_ends_with_the_record(own: TaskFleet, tenant: str) -> None:
    home = own.add_device(tenant)
    await set_up(home, authentication="oauth2", provider="microsoft365", server=None)
    await plan(own, home)
    assert (await listed(own, tenant)).counts["attention"] == 1
    await set_up(home, authentication="password", provider=None)
    await plan(own, home)
    assert (await listed(own, tenant)).counts == {"attention": 0, "failing": 0, "new": 0, "well": 1}


@pytest.mark.parametrize(
    "octets", [None, b"", b"\xff", b"a = [", b"device = 3\nrecords = []\n", b"[records.smtp]\naccount = 7\n"]
)
def test_settings_that_say_nothing(octets: bytes | None) -> None:
    assert describe(octets) == Description()
