"""The commands as a newcomer types them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def mailslot(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; sys.argv[0] = 'mailslot'; from mailslot.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_demo(backend: str) -> None:
    ran = mailslot("demo", "--once", "--json", "--backend", backend)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    steps = json.loads(ran.stdout)
    assert {step["service"] for step in steps} == {"Dovecot and Postfix", "Gmail", "Exchange Online"}
    assert all(step["ok"] for step in steps)
    assert len(steps) == 18


def test_demo_shows_a_table() -> None:
    ran = mailslot("demo", "--once")
    assert ran.returncode == 0
    assert "every octet is the same" in ran.stdout
    assert ran.stdout.count("token_refused") == 3


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


def test_version() -> None:
    assert mailslot("--version").stdout.startswith("mailslot 0.")


def test_library_is_light() -> None:
    """An import of mailslot alone loads nothing that comes with an extra."""
    heavy = {"authlib", "httpx2", "starlette", "typer", "PIL", "cryptography", "rich", "hypercorn", "tomlkit", "trio"}
    code = f"import sys, mailslot; print(sorted({heavy!r} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "[]"
