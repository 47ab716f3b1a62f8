"""Each fax is delivered once, even if the device is killed at any step."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize(("what", "backend"), [("printed", "asyncio"), ("not printed", "trio")])
def test_killed_at_each_step(tmp_path: Path, what: str, backend: str) -> None:
    command = [sys.executable, "-W", "error", str(TESTS / "fax" / "crash.py"), what, str(tmp_path), backend]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    ran = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False, env=environment)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    assert "killed at" in ran.stdout
