"""A scan that stops for good is begun again, and costs seconds."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lab import scanner

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

ENDLESS = "import time; print('page', flush=True); time.sleep(1_000_000)"


def test_begins_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(scanner, "PATIENCE", (0.0, 0.0, 900.0))
    mark = tmp_path / "mark"
    # Whether a run that is given no time gets to its end is left open.
    code = f"import sys; open({str(mark)!r}, 'w'); print('page'); print(1, file=sys.stderr); sys.exit(7)"
    assert scanner.main([sys.executable, "-c", code]) == 7
    assert mark.exists()
    assert capfd.readouterr() == ("page\n", "1\n")


def test_gives_up(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(scanner, "PATIENCE", (0.0, 0.1))
    assert scanner.main([sys.executable, "-c", ENDLESS]) == 1
    assert capfd.readouterr() == ("", "The scanner stopped for good each time.\n")
