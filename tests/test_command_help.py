"""The help of commands, and what they say of wrong arguments."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any, get_args

import pytest
from typer.main import get_command

from command_line import mailslot
from mailslot.cli.app import app
from mailslot.cli.command_table import BUILT_IN, GROUPS
from mailslot.cli.flow_choice import FLOW_TITLES
from mailslot.cli.overview import FIRST_STEPS
from mailslot.cli.token import FlowName

TOP: Any = get_command(app)


def test_every_built_in_command_is_in_one_group() -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(BUILT_IN)


def test_the_help_fits_80_columns() -> None:
    printed = mailslot("--help", COLUMNS="80").stdout
    assert max(map(len, printed.splitlines())) <= 80
    assert max(map(len, FIRST_STEPS)) <= 78
    # One line a command.
    listed = printed[printed.index("Set up:") : printed.index("Options, before")]
    assert [line for line in listed.splitlines() if line.startswith("   ")] == []


def test_types_are_named_for_people_and_examples_are_shown() -> None:
    printed = mailslot("token", "get", "--help", COLUMNS="80").stdout
    assert printed.startswith("Usage: mailslot token get SLOT [OPTIONS]\n")
    assert "--flow FLOW" in printed
    assert "One of: browser, device, paste, app." in " ".join(printed.split())
    assert "Examples:\n  mailslot token get network.smtp\n" in printed
    printed = " ".join(mailslot("scan", "--help", COLUMNS="80").stdout.split())
    assert "--resolution NUMBER Dots per inch. From 25 to 9,600." in printed
    assert "Default: pdf." in printed
    assert "<" not in printed


def test_a_flow_has_the_name_that_it_has_on_the_panel() -> None:
    words = tomllib.loads(files("mailslot_plugins.panel.token").joinpath("words.toml").read_text("utf-8"))
    assert {name: words[f"way_{name}"]["en"] for name in get_args(FlowName)} == FLOW_TITLES
    printed = " ".join(mailslot("token", "get", "--help", COLUMNS="80").stdout.split())
    assert "device: enter a code on another device." in printed


def test_a_group_shows_an_example_of_each_of_its_commands() -> None:
    printed = mailslot("token", "--help").stdout
    assert printed.endswith("  mailslot token rotate-key\n  mailslot token status\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["jobs", "show", "x"], "Error: Invalid value for 'ID': it must be a whole number.\n"),
        (["jobs", "--most", "0"], "Error: Invalid value for '--most': it must be 1 or more.\n"),
        (["token", "get", "x", "--flow", "y"], "'y' is not one of 'browser', 'device', 'paste', 'app'.\n"),
        (
            ["token", "get"],
            "Usage: mailslot token get SLOT [OPTIONS]\nHelp: mailslot token get --help\n\nError: Missing argument",
        ),
    ],
)
def test_wrong_arguments(arguments: list[str], says: str) -> None:
    ran = mailslot(*arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert says in ran.stderr
