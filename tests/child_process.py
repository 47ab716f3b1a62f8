"""Children of a test that forks, so that they can be killed."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

KILL_ROUNDS: Final = int(os.environ.get("MAILSLOT_KILL_ROUNDS", "1"))
"""How many times as often as usual children are killed at random times."""


def fork_child(work: Callable[[], object]) -> int:
    """Run a function in a forked child, whose exit code is 0 if the function returns."""
    # What is still in the buffer would be written by both.
    sys.stdout.flush()
    if child := os.fork():
        return child
    ended = 1
    try:
        work()
        ended = 0
    except BaseException as error:  # noqa: BLE001 - a child must never run on in its parent's place
        print(f"in the child: {error!r} {getattr(error, 'detail', '')}", flush=True)
    os._exit(ended)


def wait_for_exit(child: int) -> int:
    """Wait for a child; return its exit code, or the negative number of the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_at(step: int, functions: Iterable[tuple[object, str]]) -> None:
    """Make this process kill itself at the `step`-th call, counted from 0, of any of `functions`.

    Args:
        step: which call.
        functions: the functions, each as its owner, a class or a module, and its name.
    """
    left = step

    def guard(function: Callable[..., object]) -> Callable[..., object]:
        def guarded(*arguments: object, **options: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return guarded

    for owner, name in functions:
        setattr(owner, name, guard(getattr(owner, name)))
