"""The help of `mailslot` itself: its options, and each command with one sentence.

It is written without typer, and without loading the commands: that takes half a second. The sentences of our own
commands are read from their source instead. Commands of others are loaded, so that one that cannot be used says why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.cli.command_table import BUILT_IN, COMMAND_GROUP, GROUPS, plugin_command_names, summary
from mailslot.cli.help_text import columns, paragraphs
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
FIRST_STEPS: Final = (
    "mailslot demo                    try everything; nothing in it is real",
    "mailslot slots                   see what can be set up",
    "mailslot set network.smtp provider=microsoft365 account=scanner@example.com",
    "mailslot token get network.smtp  sign in once",
    "mailslot test network.smtp       see whether it works, or why not",
    "mailslot serve                   send and fetch until stopped",
    "mailslot COMMAND --help          more about a command, with examples",
)
"""The first commands to type; at most 78 characters a line."""


def overview() -> str:
    """Return the help, as wide as the terminal."""
    groups = ((f"{title}:", list(_built_in(names))) for title, names in GROUPS.items())
    own, others = list[tuple[str, str]](), list[tuple[str, str]]()
    for name, text, is_own in _of_plugins():
        (own if is_own else others).append((name, text))
    lists = [
        *groups,
        ("What the device does:", own),
        ("Commands of plugins:", others),
        ("Options, before the command:", _OPTIONS),
    ]
    width = max(len(name) for _, rows in lists[:-1] for name, _ in rows)
    lines = ["Usage: mailslot [OPTIONS] COMMAND [ARGS]...", "", *paragraphs(DESCRIPTION)]
    for title, rows in lists:
        if rows:
            lines += ["", title, *columns((name.ljust(width), text) for name, text in rows)]
    lines += ["", "First steps:", *(f"  {step}" for step in FIRST_STEPS)]
    return "\n".join([*lines, ""])


def _built_in(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        yield name, summary(f"mailslot.cli.{BUILT_IN[name]}")


def _of_plugins() -> Iterator[tuple[str, str, bool]]:
    """Yield the commands of plugins, each with its sentence, and whether it is installed with mailslot."""
    entries = {entry.name: entry for entry in reversed(installed_entry_points()) if entry.group == COMMAND_GROUP}
    for name in plugin_command_names():
        own = origin_of(entries[name]).name == OWN_DISTRIBUTION
        yield name, (own and summary(entries[name].value)) or _loaded_summary(name), own


def _loaded_summary(name: str) -> str:
    from mailslot.cli.commands import COMMANDS, make_command  # noqa: PLC0415 - it takes typer

    try:
        command = make_command(name, COMMANDS.find(name))
    except MailError as error:
        return str(error)
    return " ".join((command.help or "").partition("\n\n")[0].split())
