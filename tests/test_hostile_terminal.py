"""Terminals that cannot be written to, that only support ASCII, or that do not exist: never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = "import sys; sys.argv[0] = 'mailslot'; from mailslot.cli import main; main()"
USUAL = ("server=localhost", "port=1", "sender_address=a@b.example")
COMMAND = [sys.executable, "-c", CODE]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "MAILSLOT_HOME": str(tmp_path / "home"), "COLUMNS": "100"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full device is Linux's")
@pytest.mark.parametrize("arguments", [["slots"], ["show", "network.smtp"], ["export"], ["slots", "--json"]])
def test_a_full_disk(environment: dict[str, str], arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment
        )
    assert ran.returncode == 1
    assert ran.stderr.splitlines() == ["The output cannot be written: No space left on device."]


@pytest.mark.parametrize("arguments", [["slots"], ["show", "network.smtp", "--json"], ["export"]])
def test_a_closed_pipe(environment: dict[str, str], arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ran = subprocess.run(
        [*COMMAND, *arguments], stdout=writing, stderr=subprocess.PIPE, text=True, check=False, env=environment
    )
    os.close(writing)
    assert ran.returncode == 1
    assert ran.stderr == ""


@pytest.mark.parametrize(
    ("closing", "arguments", "code"),
    [
        *((closing, "slots", 0) for closing in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-")),
        *(
            ("<&-", arguments, code)
            for arguments, code in (("import -", 1), ("token delete fax.pop", 2), ("decode", 2))
        ),
        (">&-", "set device name=x", 0),
        ("2>&-", "show nonsense", 2),
        ("<&- >&- 2>&-", "import -", 1),
    ],
)
def test_missing_standard_streams(environment: dict[str, str], closing: str, arguments: str, code: int) -> None:
    line = f'exec "$0" -c "$1" {arguments} {closing}'
    ran = subprocess.run(
        ["sh", "-c", line, sys.executable, CODE],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert ran.returncode == code, ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_ascii_terminal(environment: dict[str, str], encoding: str) -> None:
    environment |= {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    for arguments, says, code in (
        (
            [
                "set",
                "network.smtp",
                "sender_name=Büro 日本",
                "server=localhost",
                "port=1",
                "sender_address=a@b.example",
            ],
            "",
            0,
        ),
        (["slots"], "network.smtp", 0),
        (["show", "network.smtp"], "B", 0),
        (["test", "network.smtp", "--language", "ja"], "network.smtp", 1),
        (["export"], "sender_name", 0),
    ):
        ran = subprocess.run([*COMMAND, *arguments], capture_output=True, check=False, env=environment)
        assert ran.returncode == code, ran.stderr
        assert says in ran.stdout.decode(encoding)
        assert b"Traceback" not in ran.stderr
        # A pass and a failure still differ.
        assert arguments[0] != "test" or b" x " in ran.stdout


def test_typed_input_that_is_not_utf_8(environment: dict[str, str]) -> None:
    ran = subprocess.run(
        [*COMMAND, "set", "fax.pop", "password=-"],
        input=b"\xff\xfe\n",
        capture_output=True,
        check=False,
        env=environment,
    )
    assert ran.returncode == 2
    assert b"Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("module", "command"),
    [("mailslot.cli.run", "slots"), ("rich.table", "slots"), ("typer", "jobs"), ("mailslot.cli.jobs", "jobs")],
)
def test_ctrl_c_during_the_start(environment: dict[str, str], module: str, command: str) -> None:
    interrupting = (
        "import os, signal, sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", interrupting + CODE, command],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")
