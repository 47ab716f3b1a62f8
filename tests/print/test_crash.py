"""A printing device, killed at every step and at random times."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab import printer
from lab.fixtures import need

HERE = Path(__file__).parent


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("proof", ["killed_at_each_step", "killed_at_random_times"])
def test_each_document_comes_out_once(proof: str, backend: str, tmp_path: Path) -> None:
    need("ippeveprinter", printer.present(), "comes with script/setup on Debian")
    command = [sys.executable, str(HERE / "crash.py"), proof, str(tmp_path), backend]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    ran = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False, env=environment)
    print(ran.stdout)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "killed" in ran.stdout
