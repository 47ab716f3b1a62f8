"""Damaged faxes, mails and documents: a fixed set, and random ones for a given time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
SECONDS = float(os.environ.get("MAILSLOT_FUZZ_SECONDS", "0"))


@pytest.mark.parametrize(("what", "count"), [("tiff", 300), ("mime", 300), ("pdf", 10), ("picture", 10)])
def test_damaged_input(what: str, count: int, tmp_path: Path) -> None:
    # A run that anybody may start must not fail by chance; a run that was asked for looks for what is new.
    seed = os.urandom(4).hex() if "MAILSLOT_FUZZ_SECONDS" in os.environ else "20261124"
    command = [sys.executable, str(TESTS / "intake" / "fuzz.py"), what, str(SECONDS), str(count), str(int(seed, 16))]
    last = tmp_path / "last"
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    # libtiff writes a line for every damaged one.
    ran = subprocess.run(
        [*command, str(last)],
        capture_output=True,
        text=True,
        timeout=SECONDS + 900,
        check=False,
        env=environment,
        cwd=tmp_path,
    )
    result = (
        f"ended with {ran.returncode}, seed {int(seed, 16)}, the last file is {last}\n{ran.stdout}{ran.stderr[-3000:]}"
    )
    assert ran.returncode == 0, result
    assert int(ran.stdout.split()[0]) >= count, result
