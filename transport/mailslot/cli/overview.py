"""The help of `mailslot` itself: its options, and each command with one sentence.

It is written without typer, and without loading the commands: that takes half a second. The sentences of our own
commands are read from their source instead. Commands of others are loaded, so that one that cannot be used says why.
"""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING, Final

from mailslot.cli.command_table import BUILT_IN, COMMAND_GROUP, plugin_command_names, summary
from mailslot.entry_points import OWN_DISTRIBUTION, installed_entry_points, origin_of
from mailslot.errors import MailError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DESCRIPTION: Final = "The mail side of a scanner, fax machine or printer, with OAuth 2.0 done right."
HOME_HELP: Final = "The folder with settings and tokens; else MAILSLOT_HOME, else the usual one."
VERSION_HELP: Final = "Print the version and exit."

_OPTIONS: Final = (
    ("--home PATH", HOME_HELP),
    ("--version", VERSION_HELP),
    ("--install-completion", "Install completion for the current shell."),
    ("--show-completion", "Show completion for the current shell."),
    ("-h, --help", "Show this message and exit."),
)
_MAX_WIDTH: Final = 100
_MIN_TEXT: Final = 20


def overview() -> str:
    """Return the help, as wide as the terminal."""
    width = min(shutil.get_terminal_size().columns, _MAX_WIDTH)
    usage = "Usage: mailslot [OPTIONS] COMMAND [ARGS]..."
    return "\n".join(
        [
            *(usage, "", *textwrap.wrap(DESCRIPTION, width), ""),
            *("Options:", *_columns(_OPTIONS, width), ""),
            *("Commands:", *_columns(list(_commands()), width), ""),
        ]
    )


def _columns(rows: Iterable[tuple[str, str]], width: int) -> Iterator[str]:
    rows = list(rows)
    indent = max(len(left) for left, _ in rows) + 4
    for left, text in rows:
        lines = textwrap.wrap(text, max(width - indent, _MIN_TEXT)) or [""]
        yield f"  {left}".ljust(indent) + lines[0]
        yield from (" " * indent + line for line in lines[1:])


def _commands() -> Iterator[tuple[str, str]]:
    for name, place in BUILT_IN.items():
        yield name, summary(f"mailslot.cli.{place}")
    entries = {entry.name: entry for entry in reversed(installed_entry_points()) if entry.group == COMMAND_GROUP}
    for name in plugin_command_names():
        own = origin_of(entries[name]).name == OWN_DISTRIBUTION
        yield name, (own and summary(entries[name].value)) or _loaded_summary(name)


def _loaded_summary(name: str) -> str:
    from mailslot.cli.commands import COMMANDS, make_command  # noqa: PLC0415 - it takes typer

    try:
        command = make_command(name, COMMANDS.find(name))
    except MailError as error:
        return str(error)
    return " ".join((command.help or "").partition("\n\n")[0].split())
