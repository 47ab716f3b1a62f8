"""Killed at any step: an acknowledged message is one job, and one that was not leaves nothing but itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from gateway import crash


def test_killed_at_every_step(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(crash.__file__)), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(crash.__file__).parents[1])}
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=900, env=environment)
    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout + ended.stderr
