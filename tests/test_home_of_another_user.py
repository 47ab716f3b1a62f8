"""A home folder that belongs to another user: what an administrator meets who has another user than the service."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mailslot.cli import main
from vault.conftest import NOBODY, drop_privileges

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


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to give files away")
class TestAsRoot:
    """What root writes, the owner could not read."""

    @pytest.fixture
    def home(self, tmp_path: Path) -> Path:
        locks = tmp_path / "home" / "locks"
        locks.mkdir(parents=True)
        os.chown(locks, NOBODY, NOBODY)
        return locks.parent

    @pytest.mark.parametrize("command", ["slots", "slots --json", "set network.smtp sender_name=Scan", "serve"])
    def test_it_is_said_how_to_run_a_command(
        self, home: Path, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(monkeypatch, home, command) == 2
        name = pwd.getpwuid(NOBODY).pw_name
        assert capsys.readouterr().err == (
            f"In {home} mailslot runs as {name}, who could not read what root writes there. "
            f"Run the command as that user: sudo -u {name} mailslot --home {home} …\n"
        )
        assert [path.name for path in home.iterdir()] == ["locks"]

    def test_a_user_without_a_name(
        self, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        unused = max(user.pw_uid for user in pwd.getpwall() if user.pw_uid < NOBODY) + 1
        os.chown(home / "locks", unused, unused)
        assert run(monkeypatch, home, "slots") == 2
        assert f" sudo -u '#{unused}' mailslot" in capsys.readouterr().err

    def test_values_are_not_repeated(
        self, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(monkeypatch, home, "set network.smtp password=hunter2") == 2
        assert "hunter2" not in capsys.readouterr().err

    @pytest.mark.parametrize("command", ["set --help", "jobs retry -h", "--version"])
    def test_help_is_given(self, home: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
        assert run(monkeypatch, home, command) == 0

    def test_a_folder_of_another_user_that_root_uses(
        self, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Such as one of the host that is mounted in a container where everything runs as root."""
        os.chown(home, NOBODY, NOBODY)
        (home / "locks").rmdir()
        for _ in range(2):
            assert run(monkeypatch, home, "set network.smtp sender_name=Scan") == 0
        assert (home / "locks").stat().st_uid == 0
        assert not capsys.readouterr().err
