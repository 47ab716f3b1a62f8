"""Time that passes only while nothing happens, on asyncio and trio.

A module whose servers run in the loop of its tests says ``pytestmark = pytest.mark.virtual_time``. Its seconds are
then the same on every machine: while a task works, or octets or a thread's result are on their way, the
loop's clock stands still; where all wait, it jumps to what is due next. So a timeout passes by silence alone, however
long the machine takes for the rest, and costs nothing.

It knows nothing of other processes, nor of threads that the loop did not start: for what waits for those,
time would fly. Nor does it know that the system keeps octets back: for up to 200 ms where the receiver's buffer is so
small that its window closes. Who waits for such octets says so by `standing_still`.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import socket
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final

import sniffio
import trio
import trio.testing

from costs import threads_counted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

TURNS: Final = 5
"""How often in a row nothing may have come. What sends has its turns as we have ours, on a machine however busy."""

TURN: Final = 0.004
"""Seconds that each of them takes."""

STEP: Final = 0.01
"""Virtual seconds that the clock jumps at least: what is due within them comes together, as on any real clock."""

_held = 0


def backend(name: str) -> tuple[str, dict[str, Any]]:
    """Return what anyio runs, with virtual time, for the backend of this name."""
    if name == "trio":
        return name, {"clock": trio.testing.MockClock()}
    return name, {"loop_factory": JumpingLoop}


@asynccontextmanager
async def passing(clock: trio.testing.MockClock | None) -> AsyncIterator[None]:
    """Let time pass in a loop of `backend`.

    Args:
        clock: trio's; None on asyncio.
    """
    with threads_counted() as threads:

        def at_work() -> int:
            return threads.running + _held

        if clock is None:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, JumpingLoop)
            loop.at_work = at_work
            yield
            loop.at_work = lambda: 0
            return
        steps, scope = _Steps(), trio.CancelScope()
        trio.lowlevel.add_instrument(steps)
        trio.lowlevel.spawn_system_task(_jump, clock, steps, scope, at_work)
        yield
        scope.cancel()
        trio.lowlevel.remove_instrument(steps)


@contextmanager
def standing_still() -> Iterator[None]:
    """Let no time pass, for what the loop cannot see and that is sure to come."""
    global _held  # noqa: PLW0603 - one loop runs at a time
    _held += 1
    try:
        yield
    finally:
        _held -= 1


def clock() -> Callable[[], float]:
    """Return this loop's clock, to be read in any thread; outside of a loop, the machine's."""
    try:
        library = sniffio.current_async_library()
    except sniffio.AsyncLibraryNotFoundError:
        return time.monotonic
    return trio.lowlevel.current_clock().current_time if library == "trio" else asyncio.get_running_loop().time


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop of asyncio with virtual time.

    Attributes:
        at_work: tells how many of anyio's threads work for it.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._in_threads = 0
        self.at_work: Callable[[], int] = lambda: 0
        super().__init__(_PatientSelector(self))

    def time(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        self._now += seconds

    def _make_socket_transport(self, sock: socket.socket, *arguments: Any, **options: Any) -> Any:
        # asyncio leaves Nagle's algorithm on where a socket does not name its protocol, as those of a listener do not:
        # octets then wait for an acknowledgement, which the system may keep for 40 ms while all is quiet.
        if sock.family in {socket.AF_INET, socket.AF_INET6}:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return super()._make_socket_transport(sock, *arguments, **options)  # type: ignore[misc]  # not in typeshed

    @property
    def idle(self) -> bool:
        return not self._in_threads and not self.at_work()

    def run_in_executor(self, *arguments: Any) -> Any:
        future = super().run_in_executor(*arguments)
        self._in_threads += 1
        future.add_done_callback(self._returned)
        return future

    def _returned(self, _: object) -> None:
        self._in_threads -= 1


class _PatientSelector(selectors.DefaultSelector):
    """Waits for what a loop waits for, and lets its clock jump where nothing comes."""

    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        quiet = 0
        while quiet < TURNS:
            if events := super().select(TURN):
                return events
            quiet = quiet + 1 if self._loop.idle else 0
        self._loop.jump(max(timeout, STEP))
        return []


class _Steps(trio.abc.Instrument):
    """Counts what tasks do.

    Attributes:
        taken: how many steps.
        ours: the task that does not count.
    """

    taken = 0
    ours: trio.lowlevel.Task | None = None

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.taken += task is not self.ours


async def _jump(
    clock: trio.testing.MockClock, steps: _Steps, scope: trio.CancelScope, at_work: Callable[[], int]
) -> None:
    steps.ours = trio.lowlevel.current_task()
    names = trio.to_thread.current_default_thread_limiter()
    with scope:
        while True:
            quiet, taken = 0, steps.taken
            while quiet < TURNS:
                await trio.testing.wait_all_tasks_blocked(TURN)
                idle = steps.taken == taken and not at_work() and not names.borrowed_tokens
                quiet, taken = quiet + 1 if idle else 0, steps.taken
            due = trio.lowlevel.current_statistics().seconds_to_next_deadline
            if 0 < due < math.inf:
                clock.jump(max(due, STEP))
