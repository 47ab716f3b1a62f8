"""Calls of several threads that are served together; and transactions, of which one that fails harms no other."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from mailslot.spool.errors import SpoolError
from mailslot.spool.folder.database import Database
from mailslot.spool.folder.group_commit import GroupCommit
from mailslot.spool.folder.storage import FolderStorage
from mailslot.spool.storage import AdoptionResult
from spool.test_costs import wait_until

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from mailslot.spool.folder.storage import SqliteRepositories


@pytest.fixture
def database(home: Path) -> Iterator[Database]:
    opened = Database(home / "spool", lambda _: AdoptionResult())
    opened.open()
    yield opened
    opened.close()


def put(key: str) -> Callable[[sqlite3.Connection], str]:
    def work(connection: sqlite3.Connection) -> str:
        connection.execute("INSERT INTO memory (store, key, value) VALUES ('x', ?, '1')", (key,))
        return key

    return work


def keys(database: Database) -> list[str]:
    return database.read_blocking(lambda c: [row["key"] for row in c.execute("SELECT key FROM memory ORDER BY key")])


def write_together(database: Database, works: Sequence[Callable[[sqlite3.Connection], Any]]) -> list[Future[Any]]:
    """Let all of these wait while another transaction is written."""
    return together(database, [partial(database.write_blocking, work) for work in works])


def together(database: Database, calls: Sequence[Callable[[], Any]]) -> list[Future[Any]]:
    """Let all of these calls wait, in this order, while another transaction is written."""
    begun = threading.Event()

    def first(_connection: sqlite3.Connection) -> None:
        begun.set()
        wait_until(lambda: database._write_grouped.waiting == len(calls))

    futures: list[Future[Any]] = []
    with ThreadPoolExecutor(len(calls) + 1) as threads:
        threads.submit(database.write_blocking, first)
        begun.wait()
        for call in calls:
            wait_until(lambda: database._write_grouped.waiting == len(futures))
            futures.append(threads.submit(call))
    return futures


def test_what_comes_while_others_are_served_is_served_together() -> None:
    groups: list[list[int]] = []

    def serve(group: Sequence[tuple[int, Future[int]]]) -> None:
        groups.append([request for request, _ in group])
        if len(groups) == 1:
            wait_until(lambda: calls.waiting == 5)
        for request, future in group:
            future.set_result(request * 2)

    calls: GroupCommit[int, int] = GroupCommit(serve)
    with ThreadPoolExecutor(6) as threads:
        assert sorted(threads.map(calls, range(6))) == [0, 2, 4, 6, 8, 10]
    assert [len(group) for group in groups] == [1, 5]
    assert calls(7) == 14, "it waits for nobody"


def test_every_call_is_served_once() -> None:
    served: list[int] = []

    def serve(group: Sequence[tuple[int, Future[int]]]) -> None:
        for request, future in group:
            served.append(request)
            future.set_result(-request)

    calls: GroupCommit[int, int] = GroupCommit(serve)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(calls, range(2_000))) == [-each for each in range(2_000)]
    assert sorted(served) == list(range(2_000))
    assert calls.waiting == 0


def test_an_error_reaches_every_call_without_a_result() -> None:
    def serve(group: Sequence[tuple[int, Future[int]]]) -> None:
        raise OSError("the disk is gone")

    calls: GroupCommit[int, int] = GroupCommit(serve)
    for _ in range(2):
        with pytest.raises(OSError, match="gone"):
            calls(1)


def test_transactions_share_a_commit(database: Database) -> None:
    statements: list[str] = []
    assert database._connection is not None
    database._connection.set_trace_callback(statements.append)
    assert [each.result() for each in write_together(database, [put("a"), put("b"), put("c")])] == ["a", "b", "c"]
    assert keys(database) == ["a", "b", "c"]
    assert statements.count("BEGIN IMMEDIATE") == 2


def test_one_that_fails_harms_no_other(database: Database) -> None:
    def failing(connection: sqlite3.Connection) -> None:
        put("gone")(connection)
        raise LookupError("not this one")

    first, second, twice, last = write_together(database, [put("a"), failing, put("a"), put("b")])
    assert (first.result(), last.result()) == ("a", "b")
    assert isinstance(second.exception(), LookupError)
    assert isinstance(twice.exception(), SpoolError)
    assert keys(database) == ["a", "b"]
    assert database.write_blocking(put("c")) == "c"


def test_a_file_without_a_name_harms_no_other(database: Database) -> None:
    def refuse() -> None:
        raise SpoolError("There is no room for a name.", cause="spool_full")

    with pytest.raises(SpoolError, match="no room"):
        database.write_blocking(put("a"), refuse)
    named = database.path.parent / "named"
    assert database.write_blocking(put("b"), named.touch) == "b"
    assert named.exists()
    assert keys(database) == ["b"]


def test_a_file_is_removed_only_if_it_was_released_at_last(home: Path) -> None:
    """Between a transaction that was rolled back and the next one, another process may have changed the rows."""
    storage = FolderStorage(home / "spool", lambda: 0.0)
    storage.open()
    files = [home / "spool" / f"{name}.job" for name in ("done", "retried")]
    for file in files:
        file.touch()
    runs: list[int] = []

    def releasing(repositories: SqliteRepositories) -> None:
        runs.append(len(runs))
        for file in files[: 2 - len(runs[1:])]:
            repositories.remove_file(file.name)

    def failing(_connection: sqlite3.Connection) -> None:
        raise LookupError("not this one")

    calls = [partial(storage.write_blocking, releasing), partial(storage.database.write_blocking, failing)]
    first, second = together(storage.database, calls)
    assert (first.result(), isinstance(second.exception(), LookupError)) == (None, True)
    assert runs == [0, 1]
    assert [file.exists() for file in files] == [False, True]
    storage.close()


def test_a_commit_that_fails_fails_for_all(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> None:
        raise SpoolError("The disk is full.", cause="spool_full")

    monkeypatch.setattr(database._highest_ids, "save", broken)
    for each in write_together(database, [put("a"), put("b")]):
        assert isinstance(each.exception(), SpoolError)
