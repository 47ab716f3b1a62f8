"""Mistakes in settings, keys and files: reported at once, corrected with `set`, without refusing everything else."""

from __future__ import annotations

import json
import os
import zipfile
from typing import TYPE_CHECKING

import pytest

from command_line import mailslot
from test_settings_commands import Shell

if TYPE_CHECKING:
    from pathlib import Path


def failed(shell: Shell, *arguments: str) -> str:
    """Run what fails with something on both streams, and return all that was said."""
    ran = mailslot(*arguments, MAILSLOT_HOME=str(shell.home))
    assert ran.returncode == 1, ran.stderr
    assert "Traceback" not in ran.stderr
    return ran.stdout + ran.stderr


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "home")


def test_an_unreadable_ca_file(shell: Shell, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "empty.pem").write_text("nothing")
    for name, says in {
        "fifo": "is not a file",
        ".": "folder",
        "nowhere.pem": "there is no such file",
        "empty.pem": "no certificate",
    }.items():
        output = shell.run("set", "network.smtp", f"ca_file={tmp_path / name}", code=2)
        assert str(tmp_path / name) in output
        assert says in output
    assert not shell.home.exists()


def test_a_named_pipe_as_ca_file(shell: Shell, tmp_path: Path) -> None:
    """The test ends, although nobody writes into the pipe."""
    os.mkfifo(tmp_path / "fifo")
    shell.run("set", "network.smtp", "server=localhost", "port=1", "sender_address=a@b.example", "security=tls")
    with shell.settings.open("a") as file:
        file.write(f"ca_file = '{tmp_path / 'fifo'}'\n")
    assert "cannot be used" in failed(shell, "test", "network.smtp")


@pytest.mark.parametrize("damage", ["open", "garbage"])
def test_an_unusable_private_key(shell: Shell, tmp_path: Path, damage: str) -> None:
    usual = ("server=localhost", "port=1", "account=a@b.example", "sender_address=a@b.example")
    shell.run("set", "network.smtp", *usual, "authentication=password", "password=geheim-geheim", "security=tls")
    key = shell.home / "key"
    if damage == "open":
        key.chmod(0o644)
    else:
        key.write_bytes(b"garbage\n")
        key.chmod(0o600)
    says = "open to other users" if damage == "open" else "damaged"
    assert "network.smtp" in shell.run("slots")
    assert shell.json("show", "network.smtp")["secrets"]["password"] is True
    shell.run("set", "network.smtp", "timeout=7")
    assert "timeout = 7" in shell.run("export")
    assert says in shell.run("set", "network.smtp", "password=anders-anders", code=1)
    [found] = json.loads(failed(shell, "test", "network.smtp", "--json"))
    assert found["cause"] == "token_store_unreadable"
    report = tmp_path / "r.zip"
    shell.run("report", str(report))
    with zipfile.ZipFile(report) as bundle:
        notes = bundle.read("mailslot-report/notes.txt").decode()
        assert "localhost" in bundle.read("mailslot-report/settings.json").decode()
    assert notes.count(says) == 1


@pytest.mark.parametrize(
    "table", ["authentication = 'oauth2'\nsecurity = 'none'", "authentication = 'pop_before_smtp'"]
)
def test_a_contradiction_in_the_file_can_be_corrected(shell: Shell, table: str) -> None:
    shell.home.mkdir()
    shell.settings.write_text(f"# mine\n[records.smtp]\n{table}  # why\n")
    shell.run("set", "network.smtp", "timeout=5", code=2)
    shell.run("set", "alert.smtp", "timeout=5", code=1)
    shell.run("set", "device", "name=x", code=1)
    assert "timeout" not in shell.settings.read_text()
    cure = "security=starttls" if "oauth2" in table else "pop_slot=fax.pop"
    shell.run("set", "network.smtp", cure)
    assert shell.json("show", "network.smtp")["settings"]["authentication"] in table
    assert "# mine" in shell.settings.read_text()


def test_empty_input_removes_nothing(shell: Shell) -> None:
    shell.run("set", "network.smtp", "password=geheim-geheim")
    for empty in ("", "\n", "\r\n"):
        assert "password=" in shell.run("set", "network.smtp", "password=-", typed=empty, code=2)
        assert "client_secret=" in shell.run("set", "network.smtp", "client_secret=-", typed=empty, code=2)
    assert shell.json("show", "network.smtp")["secrets"]["password"] is True
    shell.run("set", "network.smtp", "password=")
    assert shell.json("show", "network.smtp")["secrets"]["password"] is False


@pytest.mark.parametrize("typed", ["geheim\0geheim", "geheim\ngeheim\n", "geheim\rgeheim"])
def test_characters_not_allowed_in_a_password(shell: Shell, typed: str) -> None:
    output = shell.run("set", "network.smtp", "password=-", typed=typed, code=2)
    assert "password" in output
    assert "geheim" not in output
    assert not shell.home.exists()


def test_a_secret_with_a_foreign_line_end(shell: Shell) -> None:
    shell.run("set", "network.smtp", "password=-", typed="geheim-geheim\r\n")


def test_import_corrects_microsoft_too(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "e.toml"
    file.write_text("[mailslot]\nexport = 1\n[records.smtp]\nprovider = 'microsoft365'\nport = 465\nsecurity = 'tls'\n")
    assert "Microsoft's servers take mail with STARTTLS on port 587" in shell.run("import", str(file), "--yes")
    settings = shell.json("show", "network.smtp")["settings"]
    assert (settings["port"], settings["security"]) == (587, "starttls")
    assert "Nothing to change" in shell.run("import", str(file))


def test_a_failing_token_source(shell: Shell, tmp_path: Path) -> None:
    """Nobody can sign in for it, so nobody is told to."""
    usual = ("server=localhost", "port=1", "account=a@b.example", "authentication=oauth2")
    shell.run("set", "fax.pop", *usual, f"token_source=file {tmp_path / 'nowhere'}")
    output = shell.run("token", "get", "fax.pop", code=1)
    assert "nowhere" in output


def test_show_on_a_narrow_terminal(shell: Shell) -> None:
    server = "a-long-name-of-a-server.mail.example.com"
    shell.run("set", "network.smtp", f"server={server}", "provider=google", "account=scan@example.com")
    shown = shell.run("show", "network.smtp", columns=80)
    assert server in shown
    assert "Allowed" not in shown
    assert max(map(len, shown.splitlines()[1:])) <= 80
    assert "Allowed" in shell.run("show", "network.smtp", "--long")
