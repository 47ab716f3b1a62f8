"""``mailslot import``: changes are shown and confirmed, and refused if not permitted."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from typing import TYPE_CHECKING

import pytest

from command_line import mailslot
from test_hostile_terminal import COMMAND
from test_settings_commands import Shell

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "[mailslot]\nexport = 1\n"
EVIL = f"{HEAD}[records.fax-pop]\nserver = 'evil.example'\naccount = 'a@example.com'\nauthentication = 'password'\n"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A device that signs in with a password."""
    shell = Shell(tmp_path / "home")
    usual = ("server=mail.example.com", "account=a@example.com", "authentication=password", "password=-")
    shell.run("set", "fax.pop", *usual, typed="geheim-geheim")
    return shell


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "e.toml"
    file.write_text(EVIL)
    return file


def has_password(shell: Shell) -> bool:
    return bool(shell.json("show", "fax.pop")["secrets"]["password"])


def test_without_a_terminal_nothing_is_asked(shell: Shell, file: Path) -> None:
    before = shell.settings.read_bytes()
    for arguments, typed in (((str(file),), ""), (("-",), EVIL), ((str(file), "--json"), "")):
        output = shell.run("import", *arguments, typed=typed, code=2)
        assert "--yes" in output
        assert "--dry-run" in output
    assert shell.settings.read_bytes() == before
    assert has_password(shell)


def test_changes_are_shown_first(shell: Shell, file: Path) -> None:
    before = shell.settings.read_bytes()
    output = shell.run("import", str(file), "--dry-run")
    assert "[records.fax-pop] server: mail.example.com → evil.example" in output
    assert "[records.fax-pop] The password was entered for another server, so it is removed" in output
    assert output.endswith("Nothing was changed.\n")
    document = json.loads(shell.run("import", str(file), "--dry-run", "--json"))
    assert document == {
        "taken_over": False,
        "changes": [
            {
                "table": "records.fax-pop",
                "key": "server",
                "before": "mail.example.com",
                "after": "evil.example",
                "local": False,
            }
        ],
        "dropped": [{"record": "fax-pop", "secret": "password"}],
        "notes": [],
    }
    assert shell.settings.read_bytes() == before
    assert has_password(shell)
    assert json.loads(shell.run("import", str(file), "--json", "--yes")) == {**document, "taken_over": True}
    assert not has_password(shell)
    assert json.loads(shell.run("import", str(file), "--json", "--yes"))["taken_over"] is False
    assert "Nothing to change" in shell.run("import", str(file))


@pytest.mark.parametrize(("typed", "taken"), [("n", False), ("y", True), ("", False)])
def test_a_person_confirms(shell: Shell, file: Path, typed: str, taken: bool) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "r+b", buffering=0) as keyboard:
        command = [*COMMAND, "--home", str(shell.home), "import", str(file)]
        with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as ran:
            os.close(theirs)
            keyboard.write(f"{typed}\n".encode())
            assert ran.stdout is not None
            text = ran.stdout.read().decode()
    assert "evil.example" in text
    assert "Change these settings?" in text
    assert ran.returncode == (0 if taken else 1)
    assert has_password(shell) is not taken
    assert ("evil.example" in shell.settings.read_text()) is taken


@pytest.mark.parametrize(
    "table",
    [
        "[records.smtp]\ntoken_source = 'command /bin/evil'",
        "[print]\nprinter = 'command /bin/evil'",
        "[scan]\nfolder = '/root/bin/evil'\nto = ['evil@evil.example']",
    ],
)
def test_settings_that_need_a_login_are_not_imported_by_default(shell: Shell, tmp_path: Path, table: str) -> None:
    file = tmp_path / "local.toml"
    file.write_text(HEAD + table)
    before = shell.settings.read_bytes()
    for more in (("--yes",), ("--dry-run",), ("--json", "--yes"), ()):
        output = shell.run("import", str(file), *more, code=1)
        assert "bin/evil" in output
        assert "--allow-local" in output
    assert shell.settings.read_bytes() == before
    assert "bin/evil" in shell.run("import", str(file), "--allow-local", "--yes")
    # What this device does already is nothing new.
    shell.run("import", str(file))


def test_links_and_pipes_are_read_like_files(shell: Shell, file: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(file)
    assert "evil.example" in shell.run("import", str(tmp_path / "link"), "--dry-run")
    assert "cannot be read" in shell.run("import", str(tmp_path), "--dry-run", code=1)
    assert "cannot be read" in shell.run("import", "/dev/zero", "--dry-run", code=1)


def test_a_password_on_the_command_line_gives_a_warning(shell: Shell) -> None:
    def said(*assignments: str, typed: str = "") -> str:
        ran = mailslot("set", *assignments, typed=typed, MAILSLOT_HOME=str(shell.home))
        assert ran.returncode == 0
        return ran.stderr

    warned = said("fax.pop", "password=geheim-anders", "client_secret=geheim-drei", "timeout=5")
    assert warned.count("\n") == 1
    assert "the shell remembers" in warned
    assert "the list of processes" in warned
    assert "password=- client_secret=-" in warned
    assert "geheim" not in warned
    assert "webhook=-" in said("device", "webhook=https://hooks.example/geheim")
    for harmless in (("password=-",), ("password=",), ("timeout=6",)):
        assert said("fax.pop", *harmless, typed="geheim-vier\n") == ""
    assert said("device", "webhook=-", typed="https://hooks.example/geheim\n") == ""
