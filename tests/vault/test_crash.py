"""A vault killed at any instruction is readable: with the old or the new values."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vault import crash


@pytest.mark.parametrize("proof", [proof.__name__ for proof in crash.PROOFS])
def test_proof(proof: str, tmp_path: Path) -> None:
    command = [sys.executable, str(Path(crash.__file__)), proof, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(crash.__file__).parents[1])}
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=900, env=environment)
    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout + ended.stderr
