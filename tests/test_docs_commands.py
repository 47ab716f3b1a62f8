"""The commands in the documentation are valid."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import typer
from typer.main import get_command

from generators.commands import commands as all_commands
from mailslot.cli.app import app
from mailslot.slots.gateway.table_groups import GROUPS
from mailslot.slots.keys import parse_value
from mailslot.slots.section import find_section
from mailslot.slots.settings import SECRETS, parse_setting
from mailslot.slots.slot import SLOTS, SlotDirectory
from pages import commands, pages

PAGES = pages()
TOP: Any = get_command(app)
OF_SLOTS = ("show", "set", "test", "poll", "token get", "token delete", "token status")
OF_THE_SAMPLE = {"journal"}
"""The sections that come with the plugin in docs/sample-plugin."""


def leaf(words: list[str]) -> tuple[str, Any, Any, list[str]]:
    """A command that words begin with: its name, itself, the context around it, and the words behind."""
    command, context, name = TOP, TOP.make_context("mailslot", [], resilient_parsing=True), ""
    while words and words[0] in getattr(command, "commands", {}):
        if name:
            context = command.make_context(name, [], parent=context, resilient_parsing=True)
        name = f"{name} {words[0]}".strip()
        command, words = command.get_command(context, words[0]), words[1:]
    return name, command, context, words


def complaint(line: str) -> str | None:
    """What is wrong with a line that calls mailslot; None where it is right."""
    words = shlex.split(line, comments=True)[1:]
    words = words[: next((at for at, word in enumerate(words) if word in {"|", "<", ">", "&&", "2>&1"}), None)]
    name, command, context, rest = leaf(words)
    if not name:
        return None if words == ["--version"] else f"{line}: there is no such command"
    try:
        command.make_context(name, list(rest), parent=context)
    except typer.Exit:
        return None
    except Exception as error:  # noqa: BLE001 - typer keeps its classes to itself
        return f"{line}: {getattr(error, 'message', error)!s}"
    given = [word for word in rest if not word.startswith("-")]
    try:
        if name in OF_SLOTS and given and given[0] not in OF_THE_SAMPLE | {"SLOT"}:
            sets = name == "set" and "--copy-from" not in rest
            check_settings(given[0], given[1:] if sets else [])
    except ValueError as error:
        return f"{line}: {error}"
    return None


def check_settings(place: str, assignments: list[str]) -> None:
    if (group := GROUPS.get(place.partition(".")[0])) is not None:
        for key, _, value in (assignment.partition("=") for assignment in assignments):
            parse_value(group.keys, key, value)
        return
    section = None if place in {slot.id for slot in SLOTS} else find_section(place)
    # The accounts of the pages.
    directory = SlotDirectory({"account.office": "SMTP", "account.faxes": "POP", "account.returned": "POP"})
    slot = directory.find(place) if section is None else None
    for assignment in assignments:
        key, _, value = assignment.partition("=")
        shown = None if value in {"", "-"} or "…" in value else value
        if slot is not None and key not in SECRETS:
            parse_setting(key, shown, slot.protocol)
        elif section is not None:
            parse_value(section.keys, key, shown)


def test_every_command_shown_is_valid() -> None:
    lines = [(page, line) for page, text in PAGES.items() for line in commands(text)]
    assert len(lines) > 100
    wrong = [f"{page}: {result}" for page, line in lines if (result := complaint(line)) is not None]
    assert not wrong


@pytest.mark.parametrize(
    "line",
    [
        "mailslot tset network.smtp",
        "mailslot test",
        "mailslot test network.smpt",
        "mailslot test network.smtp --sned",
        "mailslot token get network.smtp --flow nothing",
        "mailslot set network.smtp acount=scanner@example.com",
        "mailslot set fax.pop sender_name=Copier",
        "mailslot set fax.pop check_interval=often",
        "mailslot set print printer=nowhere",
    ],
)
def test_a_wrong_command_would_be_found(line: str) -> None:
    assert complaint(line) is not None


def test_every_command_named_exists() -> None:
    wrong: list[str] = []
    for page, text in PAGES.items():
        for named in re.findall(r"`mailslot ([^`\n]+)`", text):
            words = re.split(r"[\s,]+", named.replace("'", " "))
            name, command, _, rest = leaf(words)
            options = {option for each in command.params for option in (*each.opts, *each.secondary_opts)} | {"--help"}
            asked = {word.partition("=")[0] for word in rest if word.startswith("--")}
            if not name and words[0] not in {"COMMAND", "--home"} and not named.startswith("["):
                wrong.append(f"{page}: {named}")
            if name and not asked <= options:
                wrong.append(f"{page}: {named}: {asked - options}")
    assert not wrong


def test_every_command_has_an_example() -> None:
    assert [words for words, command, _ in all_commands() if not command.epilog] == []
