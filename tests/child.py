"""Children of a test that forks, so that they can be killed."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def fork(work: Callable[[], object]) -> int:
    """Run something in a child; 0 is its status if it ends by itself."""
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


def status(child: int) -> int:
    """Wait for a child; return how it ended, less than 0 for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
