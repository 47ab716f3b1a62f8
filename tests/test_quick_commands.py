"""Commands that run without typer: they read what typer reads, and load little."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from typer.main import get_command

from command_line import mailslot
from mailslot.cli.app import app
from mailslot.cli.command_table import BUILT_IN, COMMAND_GROUP, plugin_command_names, summary
from mailslot.cli.overview import overview
from mailslot.cli.quick import OPTIONS, parse
from mailslot.entry_points import installed_entry_points

if TYPE_CHECKING:
    from pathlib import Path

TOP: Any = get_command(app)
WORDS = [
    "--home",
    "--home=/tmp/x",
    "/tmp/x",
    "",
    "-h",
    "--help",
    "--version",
    "--",
    "--json",
    "--json=1",
    "--long",
    "serve",
    "slots",
    "--listen",
    "--listen=8025",
    "--listen=",
    "--backend",
    "trio",
    "--backend=asyncio",
    "--backend=twisted",
    "--log",
    "json",
    "--log=plain",
    "jobs",
]


def read_by_typer(words: list[str]) -> tuple[str | None, str, dict[str, Any]] | None:
    """What typer makes of a command line; None where it is wrong, or only asks for help."""
    try:
        context = TOP.make_context("mailslot", list(words))
        name, command, rest = TOP.resolve_command(context, context._protected_args + context.args)
        home = context.params["home"]
        values = command.make_context(name, list(rest), parent=context).params
    except Exception:  # noqa: BLE001 - typer keeps its classes to itself
        return None
    given_values = {f"--{'json' if key == 'as_json' else key}": value for key, value in values.items()}
    return None if home is None else str(home), name, given_values


@given(st.lists(st.sampled_from(WORDS), max_size=6))
@example(["slots"])
@example(["slots", "--json"])
@example(["--home", "/tmp/x", "slots", "--json"])
@example(["serve", "--listen", "8025", "--backend", "trio", "--log=plain"])
@example(["--home=/tmp/x", "--home", "/tmp", "serve"])
def test_typer_reads_the_same(words: list[str]) -> None:
    quick = parse(words)
    if quick is None or quick[1] not in OPTIONS:
        return
    slow = read_by_typer(words)
    assert slow is not None
    assert slow[:2] == quick[:2]
    defaults = {"--json": False, "--long": False, "--backend": "asyncio", "--listen": None, "--log": None}
    assert slow[2] == {name: quick[2].get(name, defaults[name]) for name in OPTIONS[quick[1]]}


def test_the_usual_forms_are_read_quickly() -> None:
    for words in (["slots"], ["slots", "--json"], ["--home", "/tmp", "serve"], ["serve", "--listen", "8025"], ["-h"]):
        assert parse(words) is not None


def test_typer_knows_no_other_options() -> None:
    """An option that is added must be added to the table, or it is only read slowly."""
    context = TOP.make_context("mailslot", [], resilient_parsing=True)
    for name, options in OPTIONS.items():
        command = TOP.get_command(context, name)
        assert {option for each in command.params for option in each.opts} == set(options)


def test_the_summary_of_each_command_is_that_of_its_help() -> None:
    context = TOP.make_context("mailslot", [], resilient_parsing=True)
    places = {name: f"mailslot.cli.{place}" for name, place in BUILT_IN.items()}
    places |= {
        each.name: each.value
        for each in installed_entry_points()
        if each.group == COMMAND_GROUP and each.name in plugin_command_names()
    }
    for name, place in places.items():
        told = " ".join(TOP.get_command(context, name).help.partition("\n\n")[0].split())
        assert summary(place) == told, name


def test_help_is_the_same_with_typer() -> None:
    assert mailslot("--help").stdout == mailslot("-h").stdout
    context = TOP.make_context("mailslot", [], resilient_parsing=True)
    assert TOP.get_help(context) == overview().rstrip("\n")


def loaded(tmp_path: Path, *arguments: str) -> set[str]:
    """The modules that a command has loaded when it ends."""
    code = (
        "import atexit, json, sys\n"
        "atexit.register(lambda: open(sys.argv.pop(), 'w').write(json.dumps(sorted(sys.modules))))\n"
        "at = sys.argv.pop(1); sys.argv[0] = 'mailslot'\n"
        "from mailslot.cli import main\n"
        "try:\n    main()\nfinally:\n    sys.argv.append(at)\n"
    )
    file = tmp_path / "modules"
    subprocess.run(
        [sys.executable, "-c", code, str(file), "--home", str(tmp_path / "home"), *arguments],
        check=True,
        timeout=900,
        capture_output=True,
    )
    return set(json.loads(file.read_text()))


HEAVY = {"typer", "pydantic", "cryptography", "authlib", "joserfc", "httpx2", "starlette", "hypercorn", "jinja2", "PIL"}


@pytest.mark.parametrize(
    ("arguments", "forbidden", "most"),
    [
        (["--version"], HEAVY | {"asyncio", "rich", "sqlite3", "ssl", "anyio"}, 170),
        (["--help"], HEAVY | {"asyncio", "rich", "sqlite3", "ssl", "anyio"}, 180),
        (["slots", "--json"], HEAVY | {"rich", "tomlkit"}, 430),
        (["slots"], HEAVY | {"tomlkit"}, 490),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_a_command_loads(arguments: list[str], forbidden: set[str], most: int, tmp_path: Path) -> None:
    """Processor time is not counted, which differs from machine to machine, but what takes it."""
    modules = loaded(tmp_path, *arguments)
    assert not {each.partition(".")[0] for each in modules} & forbidden
    assert len(modules) <= most
