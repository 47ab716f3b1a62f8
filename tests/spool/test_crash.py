"""Killed at any instruction: nothing accepted is lost, nothing is delivered or handled twice, nothing is left over."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spool import crash


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("proof", [proof.__name__ for proof in crash.PROOFS])
def test_proof(proof: str, backend: str, tmp_path: Path) -> None:
    command = [sys.executable, str(Path(crash.__file__)), proof, str(tmp_path), backend]
    environment = {**os.environ, "PYTHONPATH": str(Path(crash.__file__).parents[1])}
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=900, env=environment)
    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout + ended.stderr
