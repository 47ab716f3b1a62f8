"""Group commit: what several threads want on the disk at the same time gets there by one sync.

A call that comes while others are being served waits, and is then served together with all that have come meanwhile. So
the disk sets the size of a group, and a call that comes alone never waits for another one.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    Work: TypeAlias = Callable[[sqlite3.Connection], Any]

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
        self._is_serving = False
        self._waiting: list[_Call[Request, Result]] = []

    @property
    def waiting(self) -> int:
        """The number of calls that wait for the next group."""
        return len(self._waiting)

    def __call__(self, request: Request) -> Result:
        """Return the result of a request. Blocks."""
        call: _Call[Request, Result] = _Call(request)
        with self._mutex:
            self._waiting.append(call)
            leads, self._is_serving = not self._is_serving, True
        if not leads:
            call.turn.acquire()
        if not call.future.done():
            self._serve_waiting()
        return call.future.result()

    def _serve_waiting(self) -> None:
        with self._mutex:
            group, self._waiting = self._waiting, []
        try:
            self._serve([(call.request, call.future) for call in group])
        except BaseException as error:
            for call in group:
                if not call.future.done():
                    call.future.set_exception(error)
            if not isinstance(error, Exception):
                raise
        finally:
            with self._mutex:
                following = self._waiting[:1]
                self._is_serving = bool(following)
            # First of all the one that serves the next group, since the disk waits for it.
            for call in [*following, *group]:
                call.turn.release()


class _Call(Generic[Request, Result]):
    """A call that waits.

    Attributes:
        request: what is asked for.
        future: what came of it.
        turn: released once it was served, or is to serve the next group.
    """

    __slots__ = ("future", "request", "turn")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.future: Future[Result] = Future()
        self.turn = threading.Lock()
        self.turn.acquire()


class Write(NamedTuple):
    """Something to be written.

    Attributes:
        work: what is done in the transaction.
        name_file: gives a file its name in the folder before that, which must be on the disk first; None for none.
        durable: whether it must be on the disk when it is done.
    """

    work: Work
    name_file: Callable[[], None] | None = None
    durable: bool = True


def write_together(
    sync_folder: Callable[[], None],
    transact: Callable[[Work, bool], Any],
    group: Sequence[tuple[Write, Future[Any]]],
) -> None:
    """Write a group by one sync of the folder and one transaction; what fails harms no other.

    If something raises in the transaction, each gets one of its own.

    Args:
        sync_folder: syncs the names of the files in the folder.
        transact: runs a function in a transaction, which it syncs if told so.
        group: what is written, and where the results go.
    """
    named = [(write, future) for write, future in group if _name_file(write, future)]
    if any(write.name_file is not None for write, _ in group):
        sync_folder()
    if len(named) > 1:
        with suppress(_WorkError):
            durable = any(write.durable for write, _ in named)
            results = transact(partial(_run_all, [write.work for write, _ in named]), durable)
            for (_, future), result in zip(named, results, strict=True):
                future.set_result(result)
            return
    for write, future in named:
        try:
            future.set_result(transact(write.work, write.durable))
        except Exception as error:  # noqa: BLE001 - it is raised where this was asked for
            future.set_exception(error)


def _name_file(write: Write, future: Future[Any]) -> bool:
    if write.name_file is None:
        return True
    try:
        write.name_file()
    except Exception as error:  # noqa: BLE001 - as above
        future.set_exception(error)
        return False
    return True


class _WorkError(Exception):
    """One of several that share a transaction has raised."""


def _run_all(works: Sequence[Work], connection: sqlite3.Connection) -> list[Any]:
    try:
        return [work(connection) for work in works]
    except Exception as error:
        raise _WorkError from error
