"""The first commands of a new user."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parents[1]
PAGE = str(ROOT / "fixtures" / "scan" / "page.pdf")


def mailslot(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; sys.argv[0] = 'mailslot'; from mailslot.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_demo(backend: str) -> None:
    ran = mailslot("demo", "--once", "--json", "--backend", backend)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    steps = json.loads(ran.stdout)
    assert {step["service"] for step in steps} == {"Dovecot and Postfix", "Gmail", "Exchange Online", "The gateway"}
    assert all(step["ok"] for step in steps)
    assert len(steps) == 24


def test_demo_ends_in_the_panel() -> None:
    """As the README says, also where the output is no terminal."""
    with subprocess.Popen(
        [ROOT / "script" / "demo"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stdout is not None
            printed = ""
            while (address := re.search(r"The panel is open at (http://127\.0\.0\.1:\d+/)", printed)) is None:
                line = running.stdout.readline()
                assert line, printed
                printed += line
            with urlopen(address[1], timeout=600) as page:
                assert page.status == 200
            running.send_signal(signal.SIGINT)
            printed += running.stdout.read()
            running.wait()
        finally:
            running.kill()
    assert running.returncode == 0, printed
    assert "every octet is the same" in printed
    assert printed.count("token_refused") == 3
    assert re.search(r"mailslot --home \S+ slots", printed)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["demo", "--json"], "--json goes with --once"),
        (["demo", "--backend", "twisted"], "twisted"),
        (["nonsense"], "nonsense"),
    ],
)
def test_wrong_usage(arguments: list[str], says: str) -> None:
    ran = mailslot(*arguments)
    assert ran.returncode == 2
    assert says in ran.stderr
    assert ran.stdout == ""
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["jobs"], 0),
        (["metrics"], 0),
        (["alert", "list"], 0),
        (["report", "report.zip"], 0),
        (["poll", "status.pop"], 1),
        (["scan", PAGE, "--to", "alice@example.com"], 3),
        (["fax", "send", PAGE, "--to", "alice@example.com"], 3),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_each_command_starts(arguments: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere commands are forked from a process in which whatever one of them forgets to load is there."""
    (tmp_path / "mailslot.toml").write_text('records.smtp = {server = "localhost", sender_address = "a@example.com"}')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILSLOT_HOME", str(tmp_path))
    ran = mailslot(*arguments)
    assert ran.returncode == code, ran.stderr
    assert "Traceback" not in ran.stderr


def test_version() -> None:
    assert mailslot("--version").stdout.startswith("mailslot 0.")


def test_importing_the_library_loads_little() -> None:
    """An import of mailslot alone loads nothing that comes with an extra."""
    heavy = {
        "authlib",
        "httpx2",
        "starlette",
        "typer",
        "PIL",
        "cryptography",
        "rich",
        "hypercorn",
        "tomlkit",
        "trio",
        "psycopg",
        "procrastinate",
    }
    code = f"import sys, mailslot; print(sorted({heavy!r} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=900, check=True)
    assert ran.stdout.strip() == "[]"


def modules_after(statement: str) -> int:
    code = f"import sys; {statement}; print(len(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=900, check=True)
    return int(ran.stdout)


def test_importing_the_library_loads_no_more_than_importing_aiosmtplib() -> None:
    theirs = modules_after("import aiosmtplib")
    assert modules_after("import mailslot") <= theirs / 2
    # The whole client, which has more to it than theirs, but for the event loop, which each program loads in any case.
    assert modules_after("import asyncio; from mailslot import connect_smtp") <= 1.3 * theirs
