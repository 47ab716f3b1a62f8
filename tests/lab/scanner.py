"""SANE's test scanner, which now and then stops for good; then the scan is begun again.

Run as a program, it is given a command, and what it prints is that of the run that ended.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

PROGRAM = shutil.which("scanimage")

PATIENCE = (5.0, 30.0, 180.0)
"""Seconds after which it is taken for dead: first soon, which is the usual case, and then later and later, since it may
be the machine."""


def install(folder: Path) -> None:
    """Put a scanimage that begins again into a folder."""
    program = folder / "scanimage"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {Path(__file__).resolve()} {PROGRAM} "$@"\n')
    program.chmod(0o755)


def main(command: list[str]) -> int:
    """Run the command until it ends by itself; return its exit code."""
    for seconds in PATIENCE:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
            code = run(command, seconds, out.fileno(), errors.fileno())
            if code is None:
                continue
            for file, stream in ((out, sys.stdout.buffer), (errors, sys.stderr.buffer)):
                file.seek(0)
                shutil.copyfileobj(file, stream)
            return code
    print("The scanner stopped for good each time.", file=sys.stderr)
    return 1


def run(command: list[str], seconds: float, out: int, errors: int) -> int | None:
    """Run the command; None if it did not end within so many seconds. Its children end with it."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, start_new_session=True)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main(sys.argv[1:]))
