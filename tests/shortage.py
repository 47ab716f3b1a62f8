"""A process that has no file descriptors left."""

from __future__ import annotations

import os
import resource
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def no_descriptors(*, left: int = 0) -> Iterator[None]:
    """Leave this process no file descriptor while the block runs, or so many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        probe = os.open(os.devnull, os.O_RDONLY)
        stack.callback(os.close, probe)
        # Descriptors below the limit are free where others were closed before.
        resource.setrlimit(resource.RLIMIT_NOFILE, (probe + 1, hard))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        with suppress(OSError):
            while True:
                stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        # The limit is raised by as many as are to be left.
        resource.setrlimit(resource.RLIMIT_NOFILE, (probe + 1 + left, hard))
        yield
