"""A server killed at any step of a POP3 session: a device's deletions are all made, or none; and none without QUIT."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import fetch_crash


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_killed_at_every_step(backend: str, tmp_path: Path) -> None:
    file = Path(fetch_crash.__file__)
    ended = subprocess.run(
        [sys.executable, str(file), str(tmp_path), backend],
        check=False,
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "PYTHONPATH": str(file.parents[1])},
    )
    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout + ended.stderr
