"""Lists in a terminal: a table where it fits, a block for each thing where it does not."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from command_line import mailslot
from mailslot.cli.listing import print_listing
from mailslot.slots.slot import SLOTS

HEADINGS = ("Name", "State", "Sentence", "Never")
ROWS = [["one", "[green]good[/green]", "A sentence that is longer than twenty characters.", ""], ["two", "bad", "", ""]]


def printed(width: int, wrapped: set[str]) -> list[str]:
    file = StringIO()
    print_listing(Console(file=file, width=width), HEADINGS, ROWS, wrapped=wrapped)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_a_table_where_it_fits() -> None:
    assert printed(80, set())[:2] == [
        "Name  State  Sentence",
        "one   good   A sentence that is longer than twenty characters.",
    ]
    # A column may be wrapped to some width.
    assert printed(40, {"Sentence"})[0] == "Name  State  Sentence"


@pytest.mark.parametrize(("width", "wrapped"), [(40, set[str]()), (20, {"Sentence"})])
def test_a_block_for_each_thing_where_it_does_not(width: int, wrapped: set[str]) -> None:
    lines = printed(width, wrapped)
    assert max(map(len, lines)) <= width
    assert lines[:2] == ["one", "  State     good"]
    # What is empty is left out.
    assert lines[-2:] == ["two", "  State     bad"]


@pytest.mark.parametrize("command", [("slots",), ("token", "status"), ("plugins",), ("show", "network.smtp")])
def test_lists_fit_80_columns(command: tuple[str, ...], tmp_path: object) -> None:
    environment = {"MAILSLOT_HOME": str(tmp_path), "COLUMNS": "80"}
    mailslot("set", "network.smtp", "provider=microsoft365", "account=scanner@example.com", **environment)
    lines = mailslot(*command, **environment).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    if "slots" in command:
        # One line a slot; where it is on the panel, with --long only.
        assert [line.split()[0] for line in lines[1:8]] == [slot.id for slot in SLOTS]
        assert "→" not in "".join(lines)
        assert "→" in mailslot("slots", "--long", **environment).stdout
