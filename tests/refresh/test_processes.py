"""Several processes: one refresh at a time, and no crash can lose a grant."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from refresh import crash

if TYPE_CHECKING:
    from pathlib import Path


def prove(*arguments: str | Path) -> str:
    """Run a proof; what it told, tokens by fingerprint only, its log included."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, crash.__file__, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=900,
        env=environment,
    )
    print(ended.stdout)
    told = ended.stdout + ended.stderr
    assert ended.returncode == 0, told[-20000:]
    assert "connect_tcp" in told
    assert "at-" not in told
    assert "rt-" not in told
    return told


@pytest.mark.parametrize("proof", [proof.__name__ for proof in crash.PROOFS])
def test_proof(proof: str, tmp_path: Path) -> None:
    prove(proof, tmp_path)
