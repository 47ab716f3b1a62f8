"""The faults, each with what it needs."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import psycopg
from anyio.to_thread import run_sync

from bench.faults.cluster import Cluster, own, pooler, small_disk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from bench.faults.world import World

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
BEHIND, DEVICES_BEHIND = 100_000, 2_500


async def cut(world: World) -> str:
    """The connections of all are cut, thirty times."""
    for _ in range(30):
        await anyio.sleep(random.uniform(0.2, 2))
        await world.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    return "30 times"


async def restart(world: World) -> str:
    """The database is restarted, without a checkpoint, five times."""
    for _ in range(5):
        await anyio.sleep(random.uniform(3, 8))
        await run_sync(world.cluster.stop)
        await run_sync(world.cluster.start)
    return "5 times"


async def gone(world: World) -> str:
    """The database is gone for ten minutes."""
    seconds = 100 if world.quick else 600
    await run_sync(world.cluster.stop, "fast")
    await anyio.sleep(seconds)
    await run_sync(world.cluster.start)
    return f"for {seconds} s"


async def kill(world: World) -> str:
    """Workers are killed at random, and others take their place."""
    times = 5 if world.quick else 20
    for _ in range(times):
        await anyio.sleep(random.uniform(1, 8))
        world.kill_worker()
        world.start_worker()
        await world.wait_until_ready()
    return f"{times} workers"


async def frozen(world: World) -> str:
    """A worker stands still for so long that others take over, and goes on as if nothing had been."""
    times = 1 if world.quick else 3
    for _ in range(times):
        victim = random.choice(world.workers)
        victim.send_signal(signal.SIGSTOP)
        await anyio.sleep(150)
        victim.send_signal(signal.SIGCONT)
        await anyio.sleep(10)
    return f"{times} times for 150 s"


async def clock(world: World) -> str:
    """One worker's clock is five hours ahead, and another's five hours behind."""
    for offset in ("+5h", "-5h"):
        world.kill_worker()
        world.start_worker(
            LD_PRELOAD=str(FAKETIME), FAKETIME=offset, FAKETIME_DONT_FAKE_MONOTONIC="1", DONT_FAKE_MONOTONIC="1"
        )
    await world.wait_until_ready()
    await anyio.sleep(60 if world.quick else 300)
    return "by +5 and -5 hours"


async def pooled(world: World) -> str:
    """PgBouncer is in between, in transaction mode, with 12 connections for all."""
    await anyio.sleep(60 if world.quick else 180)
    [[number]] = await run_sync(
        lambda: (
            psycopg.connect(f"postgresql://postgres@127.0.0.1:{world.cluster.port}/fleet")
            .execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = 'fleet' AND application_name LIKE 'mailslot%'"
            )
            .fetchall()
        )
    )
    return f"{number} connections of the pooler"


async def behind(world: World) -> str:
    """100,000 tasks are due at once, of a fourth tenant; the others are none the worse.

    Each is to poll a mailbox that is not set up any more: a worker opens the device, sees that, and removes the task.
    """
    fleet = world.load.fleet
    await run_sync(fleet.registry.add, "umbrella", "device-0", fleet.master)
    await world.ask(
        f"INSERT INTO devices (tenant, name) SELECT id, 'device-' || number FROM tenants, "
        f"generate_series(1, {DEVICES_BEHIND - 1}) AS number WHERE tenants.name = 'umbrella'"
    )
    await world.ask(
        "INSERT INTO device_state (tenant, device) SELECT tenant, id FROM devices "
        "WHERE id NOT IN (SELECT device FROM device_state)"
    )
    await world.ask(
        "INSERT INTO tasks (tenant, device, record, kind, due_at, wake_at) SELECT devices.tenant, devices.id, "
        f"'record' || number, 'poll', now() - interval '1 hour', now() FROM devices JOIN tenants ON tenants.id = "
        f"devices.tenant, generate_series(1, {BEHIND // DEVICES_BEHIND}) AS number WHERE tenants.name = 'umbrella'"
    )
    began = time.monotonic()
    most, late = 0, 0.0
    for _ in range(60 if world.quick else 240):
        await anyio.sleep(0.5)
        [[queued, longest]] = await world.ask(
            "SELECT (SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'wake'), "
            "(SELECT coalesce(extract(epoch FROM max(now() - due_at)), 0)::float FROM tasks JOIN tenants "
            "ON tenants.id = tasks.tenant WHERE due_at <= now() AND tenants.name <> 'umbrella')"
        )
        most, late = max(most, int(str(queued))), max(late, float(str(longest)))
    [[left]] = await world.ask("SELECT count(*) FROM tasks WHERE record LIKE 'record%'")
    pace = (BEHIND - int(str(left))) / (time.monotonic() - began)
    began = time.monotonic()
    await run_sync(fleet.registry.remove_tenant, "umbrella")
    removed = time.monotonic() - began
    return (
        f"{most} wake-ups in the engine at most; {pace:.0f} tasks a second; tasks of others due for {late:.1f} s at "
        f"most; {left} were left, and removed in {removed:.1f} s"
    )


async def failover(world: World) -> str:
    """The primary dies in the middle of commits, and its standby, with synchronous replication, takes its place.

    The standby stands still for a moment before, so that commits wait for it, and have no answer when the primary dies.
    """
    standby, ended = world.standby, anyio.Event()
    assert standby is not None
    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(world.load.storm, ended)
        await anyio.sleep(3)
        receiver = await run_sync(standby.receiver)
        os.kill(receiver, signal.SIGSTOP)
        await anyio.sleep(1)
        waiting = await run_sync(world.count_commits_that_wait)
        await run_sync(world.cluster.kill)
        # It ends without reading what has arrived meanwhile, so that it is lost.
        os.kill(receiver, signal.SIGTERM)
        os.kill(receiver, signal.SIGCONT)
        await anyio.sleep(random.uniform(0, 3))
        began = time.monotonic()
        await run_sync(standby.promote)
        promoted = time.monotonic() - began
        ended.set()
    return f"{waiting} commits waited for the standby when the primary died; promoted in {promoted:.1f} s"


async def full(world: World) -> str:
    """The disk of the database's tables is full for a while; what is in its log of changes can still be written."""
    assert world.fill is not None
    empty = await run_sync(world.fill)
    refused = world.load.refused
    seconds = 30 if world.quick else 120
    await anyio.sleep(seconds)
    was_full = world.load.refused - refused
    await run_sync(empty)
    state = "ran on" if world.cluster.is_running() else "ended"
    if state == "ended":
        await run_sync(world.cluster.start)
    return f"for {seconds} s; {was_full} jobs refused meanwhile, and PostgreSQL {state}"


@asynccontextmanager
async def alone(world: World) -> AsyncIterator[None]:
    """One cluster."""
    await run_sync(world.cluster.create)
    await run_sync(world.cluster.start)
    await run_sync(world.create_database)
    yield


@asynccontextmanager
async def with_standby(world: World) -> AsyncIterator[None]:
    """Two clusters; a commit counts once it is on the disks of both."""
    async with alone(world):
        standby = world.standby = Cluster(world.folder / "standby")
        try:
            await run_sync(standby.follow, world.cluster)
            await run_sync(standby.start)
            # Not in the standby's copy of the settings, since it has nobody to wait for.
            for command in ("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"):
                await run_sync(world.command, command)
            ports = f"{world.cluster.port},127.0.0.1:{standby.port}"
            world.url = f"postgresql://postgres@127.0.0.1:{ports}/fleet?target_session_attrs=read-write"
            yield
        finally:
            await run_sync(standby.end)


@asynccontextmanager
async def with_pooler(world: World) -> AsyncIterator[None]:
    """A pooler in front of one cluster."""
    async with alone(world):
        with pooler(world.folder / "pooler", world.cluster.port, "fleet") as port:
            world.url = f"postgresql://postgres@127.0.0.1:{port}/fleet"
            yield


@asynccontextmanager
async def with_full_tables(world: World) -> AsyncIterator[None]:
    """The tables on a small disk."""
    with small_disk(world.folder / "disk", 160) as world.fill:
        await run_sync(world.cluster.create)
        await run_sync(world.cluster.start)
        tables = world.folder / "disk" / "tables"
        tables.mkdir()
        own(tables)
        await run_sync(world.command, f"CREATE TABLESPACE small LOCATION '{tables}'")
        await run_sync(world.create_database, "TABLESPACE small")
        try:
            yield
        finally:
            await run_sync(world.cluster.end)


@asynccontextmanager
async def with_full_disk(world: World) -> AsyncIterator[None]:
    """The whole cluster on a small disk, its log of changes included."""
    with small_disk(world.folder / "disk", 500) as world.fill:
        world.cluster = Cluster(world.folder / "disk" / "cluster")
        await run_sync(partial(world.cluster.create, max_wal_size="64MB", min_wal_size="32MB", wal_recycle="off"))
        await run_sync(world.cluster.start)
        await run_sync(world.create_database)
        try:
            yield
        finally:
            await run_sync(world.cluster.end)


FAULTS: dict[str, tuple[Callable[[World], Awaitable[str]], Callable[[World], AbstractAsyncContextManager[None]]]] = {
    "cut": (cut, alone),
    "restart": (restart, alone),
    "gone": (gone, alone),
    "failover": (failover, with_standby),
    "kill": (kill, alone),
    "frozen": (frozen, alone),
    "clock": (clock, alone),
    "pooler": (pooled, with_pooler),
    "full-tables": (full, with_full_tables),
    "full-disk": (full, with_full_disk),
    "behind": (behind, alone),
}
