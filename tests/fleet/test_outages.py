"""While the database is away, whoever must not wait is told so at once, and no thread waits for long."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
from anyio.to_thread import run_sync
from psycopg import OperationalError, connect

from fleet.running_panel import BOSS, run_fleet_panel
from lab.postgres import Fleet
from lab.process import free_ports
from mailslot.fleet.postgres import database as database_module
from mailslot.fleet.postgres.database import FleetDatabase
from mailslot.fleet.postgres.patience import OF_PAGES, Outage, Patience
from panel.browser_client import words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

    from lab.provider import Provider

# What is waited for in vain is short; libpq takes two seconds for a connection at least.
SHORT = Patience(connect=2, wait=0.5, unacknowledged=5_000, pause=3.0)

# Where connections are refused, nothing else is waited for than a slow machine.
REFUSED = replace(OF_PAGES, connect=60, wait=60.0)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_after_a_failure_one_asks() -> None:
    clock = Clock()
    outage = Outage(3.0, clock)
    assert outage.ask() == 0.0
    outage.failed(0.0)
    clock.now = 2.9
    assert outage.ask() is None
    clock.now = 3.0
    # One asks, and the others wait for how that goes; if it takes too long, another one does.
    assert [outage.ask() for _ in range(3)] == [3.0, None, None]
    clock.now = 6.0
    assert [outage.ask() for _ in range(2)] == [6.0, None]
    clock.now = 6.5
    outage.worked()
    # The one before has failed at last, of which nothing follows any more.
    outage.failed(3.0)
    assert [outage.ask() for _ in range(2)] == [6.5, 6.5]
    outage.failed(6.5)
    assert outage.ask() is None


def test_workers_all_ask() -> None:
    outage = Outage(0.0, Clock())
    outage.failed(0.0)
    assert outage.ask() is not None


def ask(database: FleetDatabase) -> bool:
    try:
        with database.connection() as connection:
            connection.execute("SELECT")
    except OperationalError:
        return False
    return True


@contextmanager
def silent_server() -> Iterator[int]:
    """A server whose system accepts connections, and that says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield listener.getsockname()[1]


def test_a_server_that_says_nothing_holds_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a hundred at once, few wait for the server, and the others fail without it."""
    tried: list[str] = []

    def connect_and_note(url: str, **options: Any) -> Any:
        tried.append(url)
        return connect(url, **options)

    monkeypatch.setattr(database_module, "connect", connect_and_note)
    with silent_server() as port:
        database = FleetDatabase(f"postgresql://x@127.0.0.1:{port}/x?sslmode=disable&gssencmode=disable", 8, SHORT)
        database._outage = Outage(SHORT.pause, Clock())
        with ThreadPoolExecutor(100) as threads:
            assert not any(threads.map(ask, [database] * 100))
        # Once it has failed, nobody asks as long as the clock stands still.
        assert 0 < (count := len(tried)) < 10
        assert not any(ask(database) for _ in range(1000))
        assert len(tried) == count
        database.close()


def test_a_refused_connection_is_no_reason_to_wait(fleet: Fleet) -> None:
    """Also if the pool finds it out, which does not tell why it has no connection."""
    [port] = free_ports(1)
    database = FleetDatabase(fleet.url, 2, REFUSED)
    clock = Clock()
    database._outage = Outage(OF_PAGES.pause, clock)
    assert ask(database)
    # Its connections break, and there will be no new ones.
    database._pool.conninfo = f"postgresql://x@127.0.0.1:{port}/x"
    with database.connection() as connection:
        process = connection.info.backend_pid
    with fleet.database.connection() as connection:
        connection.execute("SELECT pg_terminate_backend(%s, 60000)", (process,))
    assert not ask(database)
    assert database._not_connected > 0
    asked = database._pool.get_stats()["requests_num"]
    assert not ask(database)
    assert database._pool.get_stats()["requests_num"] == asked
    database._pool.conninfo = fleet.url
    assert not ask(database)
    clock.now += OF_PAGES.pause
    assert ask(database)
    assert ask(database)
    database.close()


async def test_the_panel_says_that_the_database_is_away(postgres: Any, provider: Provider, tmp_path: Path) -> None:
    fleet = Fleet(postgres.create_database(), tmp_path)
    name = fleet.url.rpartition("/")[2]

    def let_in(answer: str) -> None:
        other = FleetDatabase(postgres.url())
        with other.connection() as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {answer}".encode())
            if answer == "false":
                connection.execute(
                    "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = %s", (name,)
                )
        other.close()

    database, own = FleetDatabase(fleet.url, 16, REFUSED), fleet.database
    fleet.database = database
    async with run_fleet_panel(fleet, provider, tmp_path) as panel, panel.person(BOSS) as boss:
        assert (await boss.get("/")).status_code == 200
        with anyio.fail_after(120):
            # The pool may have been about to make another connection.
            while database._pool.get_stats()["pool_size"] > 0:
                await run_sync(let_in, "false")
                await boss.get("/healthz")
        answers: list[tuple[str, int, str]] = []

        async def get(path: str) -> None:
            answer = await boss.get(path)
            answers.append((path, answer.status_code, words(answer)))

        async with anyio.create_task_group() as group:
            for path in ("/", "/tenants", "/healthz") * 20:
                group.start_soon(get, path)
        assert {(path, status) for path, status, _ in answers} == {("/", 503), ("/tenants", 503), ("/healthz", 503)}
        assert {"database cannot be used" in said for path, _, said in answers if path == "/"} == {True}
        page = await boss.get("/", headers={"accept-language": "de"})
        assert "Die Datenbank der Flotte kann nicht verwendet werden: die Datenbank antwortet nicht." in page.text
        assert (await boss.get("/static/style.css")).status_code == 200
        await run_sync(let_in, "true")
        # Whoever was signed in still is.
        with anyio.fail_after(120):
            while (await boss.get("/")).status_code != 200:  # noqa: ASYNC110 - it is another process
                await anyio.sleep(0.1)
        assert (await boss.get("/healthz")).status_code == 200
    await run_sync(database.close)
    await run_sync(own.close)
