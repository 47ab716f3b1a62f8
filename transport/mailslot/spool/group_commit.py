"""Group commit: what several threads want on the disk at the same time gets there by one sync.

A call that comes while others are being served waits, and is then served together with all that have come meanwhile. So
the disk sets the size of a group, and a call that comes alone never waits for another one.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    Work = Callable[[sqlite3.Connection], Any]

Request = TypeVar("Request")
Result = TypeVar("Result")


class GroupCommit(Generic[Request, Result]):
    """Serves the calls of several threads in groups, one group at a time.

    Args:
        serve: called in the thread of one of the callers with each request of a group and its future, which it sets.
            What it raises is raised by the calls whose futures it has not set.
    """

    def __init__(self, serve: Callable[[Sequence[tuple[Request, Future[Result]]]], None]) -> None:
        self._serve = serve
        self._mutex = threading.Lock()
        self._serving = threading.Lock()
        self._waiting: list[tuple[Request, Future[Result]]] = []

    @property
    def waiting(self) -> int:
        """The number of calls that wait for the next group."""
        return len(self._waiting)

    def __call__(self, request: Request) -> Result:
        """Return the result of a request. Blocks."""
        future: Future[Result] = Future()
        with self._mutex:
            self._waiting.append((request, future))
        with self._serving:
            # Another thread may have served it meanwhile.
            if not future.done():
                self._serve_waiting()
        return future.result()

    def _serve_waiting(self) -> None:
        with self._mutex:
            group, self._waiting = self._waiting, []
        try:
            self._serve(group)
        except BaseException as error:
            for _, future in group:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise


def commit_together(transact: Callable[[Work], Any], group: Sequence[tuple[Work, Future[Any]]]) -> None:
    """Run a group in one transaction; but each by itself if one of them raises, so that it harms no other.

    Args:
        transact: runs a function in a transaction.
        group: what is run, and where its results go.
    """
    works = [work for work, _ in group]
    if len(group) > 1:
        with suppress(_WorkError):
            for (_, future), result in zip(group, transact(partial(_run_all, works)), strict=True):
                future.set_result(result)
            return
    for work, future in group:
        try:
            future.set_result(transact(work))
        except Exception as error:  # noqa: BLE001 - it is raised where this was asked for
            future.set_exception(error)


class _WorkError(Exception):
    """One of several that share a transaction has raised."""


def _run_all(works: Sequence[Work], connection: sqlite3.Connection) -> list[Any]:
    try:
        return [work(connection) for work in works]
    except Exception as error:
        raise _WorkError from error
