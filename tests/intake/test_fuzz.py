"""Damaged faxes, mails and documents, as many as there is time for: the same for ten seconds, others with more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
SECONDS = float(os.environ.get("MAILSLOT_FUZZ_SECONDS", "10"))


@pytest.mark.parametrize(("what", "each_second"), [("tiff", 10), ("mime", 10), ("pdf", 0.1), ("picture", 0.1)])
def test_damaged(what: str, each_second: float, tmp_path: Path) -> None:
    # A run that anybody may start must not fail by chance; a run that was asked for looks for what is new.
    seed = os.urandom(4).hex() if "MAILSLOT_FUZZ_SECONDS" in os.environ else "20261124"
    command = [sys.executable, str(TESTS / "intake" / "fuzz.py"), what, str(SECONDS), str(int(seed, 16))]
    last = tmp_path / "last"
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    # libtiff writes a line for every damaged one.
    ran = subprocess.run(
        [*command, str(last)],
        capture_output=True,
        text=True,
        timeout=SECONDS + 60,
        check=False,
        env=environment,
        cwd=tmp_path,
    )
    said = (
        f"ended with {ran.returncode}, seed {int(seed, 16)}, the last file is {last}\n{ran.stdout}{ran.stderr[-3000:]}"
    )
    assert ran.returncode == 0, said
    assert int(ran.stdout.split()[0]) > each_second * SECONDS, said
