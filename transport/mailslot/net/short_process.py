"""Runs a task in a short-lived process, so that its memory is returned to the system."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

_TIMEOUT: Final = 60.0
"""Seconds that the process may take."""


def run_module(module: str, *arguments: str) -> bytes:
    """Run a module of ours as a program, and return what it prints. It blocks.

    Raises:
        OSError: it cannot be started.
        subprocess.SubprocessError: it has failed, or takes too long.
    """
    return subprocess.run(  # noqa: S603 - it is this program itself
        [sys.executable, "-P", "-m", module, *arguments],
        cwd="/",
        env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
        timeout=_TIMEOUT,
    ).stdout
