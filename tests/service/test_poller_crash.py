"""A poll killed at any step: no mail is lost, and none is handled twice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service import poll_crash


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("proof", [proof.__name__ for proof in poll_crash.PROOFS])
def test_proof(proof: str, backend: str, tmp_path: Path) -> None:
    file = Path(poll_crash.__file__)
    ended = subprocess.run(
        [sys.executable, str(file), proof, str(tmp_path), backend],
        check=False,
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "PYTHONPATH": str(file.parents[1])},
    )
    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout + ended.stderr
