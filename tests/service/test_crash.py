"""Killed at any instruction, a deliverer loses no mail, and sends none twice but one that was in doubt and says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from service import crash

if TYPE_CHECKING:
    from lab.dovecot import Dovecot
    from lab.postfix import Postfix

TESTS = Path(__file__).parents[1]


def prove(proof: str, *arguments: object) -> None:
    command = [sys.executable, str(Path(crash.__file__)), proof, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=900, env=environment)
    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("proof", [proof.__name__ for proof in crash.PROOFS + crash.IN_THE_SANDBOX])
def test_proof(proof: str, tmp_path: Path) -> None:
    prove(proof, tmp_path)


def test_proof_with_postfix(postfix: Postfix, dovecot: Dovecot, tmp_path: Path) -> None:
    dovecot.empty("alice@example.test")
    prove("killed_at_random_times", tmp_path, postfix.plain.port, dovecot.maildir("alice@example.test"))
