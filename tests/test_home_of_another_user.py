"""A home folder that belongs to another user: what an administrator meets who has another user than the service."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mailslot.cli import main
from vault.conftest import drop_privileges

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def private_folder() -> Iterator[Path]:
    """A folder that this user may not read once he has dropped his privileges, in one that everybody may read."""
    above = Path(tempfile.mkdtemp(prefix="mailslot-"))
    above.chmod(0o755)
    folder = above / "private"
    folder.mkdir()
    folder.chmod(0o700 if os.geteuid() == 0 else 0)
    yield folder
    folder.chmod(0o700)
    shutil.rmtree(above)


def run(monkeypatch: pytest.MonkeyPatch, home: Path, command: str) -> object:
    """Run a command in this process; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["mailslot", "--home", str(home), *command.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


@pytest.mark.parametrize("command", ["slots", "show network.smtp", "jobs"])
@pytest.mark.parametrize("below", ["", "home"])
def test_it_is_said_who_may_use_it(
    private_folder: Path,
    below: str,
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # All modules are loaded now: the other user need not be able to read them.
    assert run(monkeypatch, tmp_path, command) == 0
    capsys.readouterr()
    home = private_folder / below
    with drop_privileges():
        assert run(monkeypatch, home, command) == 1
    pattern = rf"{home}\S* cannot be (used|written): this user has no right to it, so run mailslot as its owner\.\n"
    assert re.fullmatch(pattern, capsys.readouterr().err)
