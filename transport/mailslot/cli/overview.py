"""The help of `mailslot` itself: its options, and each command with one sentence.

It is written without typer, and without loading the commands: that takes half a second. The sentences of our own
commands are read from their source instead. Commands of others are loaded, so that one that cannot be used says why.
"""

from __future__ import annotations

import ast
import shutil
import textwrap
from importlib.abc import InspectLoader
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Final

from mailslot.entry_points import OWN_DISTRIBUTION, display_name, installed_entry_points, origin_of
from mailslot.errors import MailError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

DESCRIPTION: Final = "The mail side of a scanner, fax machine or printer, with OAuth 2.0 done right."
HOME_HELP: Final = "The folder with settings and tokens; else MAILSLOT_HOME, else the usual one."
VERSION_HELP: Final = "Print the version and exit."

COMMAND_GROUP: Final = "mailslot.commands"
"""The group of the entry points of plugins' commands."""

BUILT_IN: Final[Mapping[str, str]] = {
    "slots": "slots:slots",
    "show": "settings:show",
    "set": "settings:set_values",
    "test": "test:run_test",
    "export": "transfer:export",
    "import": "transfer:import_",
    "report": "report:report",
    "explain": "explain:explain",
    "decode": "decode:decode",
    "plugins": "plugins:plugins",
    "poll": "poll:poll",
    "received": "received:received",
    "serve": "serve:serve",
    "metrics": "serve:print_metrics",
    "token": "token:app",
    "jobs": "jobs:app",
}
"""The built-in commands, which no plugin may take: the module in this package, and the name in it."""

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


def plugin_command_names() -> list[str]:
    """Return the words that call commands of plugins, sorted; without those that nobody could type."""
    names = {entry.name for entry in installed_entry_points() if entry.group == COMMAND_GROUP}
    return sorted({name for name in names if display_name(name) == name} - BUILT_IN.keys())


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


def summary(place: str) -> str:
    """Return what a command does, in one sentence, without importing its module.

    Args:
        place: a function with a docstring, or a typer with `help`, as ``module:name``.

    Returns:
        the sentence; empty where the source cannot be read or does not say.
    """
    module, _, name = place.partition(":")
    try:
        tree = ast.parse(_source(module))
    except (ImportError, SyntaxError):
        return ""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(each, ast.Name) and each.id == name for each in targets):
                found = [each.value for each in node.value.keywords if each.arg == "help"]
                return str(ast.literal_eval(found[0])) if found and isinstance(found[0], ast.Constant) else ""
    return ""


def _source(module: str) -> str:
    """Return the source of a module without importing the packages it is in; empty if it is not found."""
    spec, path = None, None
    names = module.split(".")
    for depth in range(len(names)):
        spec = PathFinder.find_spec(".".join(names[: depth + 1]), path)
        if spec is None:
            return ""
        path = spec.submodule_search_locations
    loader = spec.loader if spec is not None else None
    return (loader.get_source(module) if isinstance(loader, InspectLoader) else None) or ""


def _loaded_summary(name: str) -> str:
    from mailslot.cli.commands import COMMANDS, make_command  # noqa: PLC0415 - it takes typer

    try:
        command = make_command(name, COMMANDS.find(name))
    except MailError as error:
        return str(error)
    return " ".join((command.help or "").partition("\n\n")[0].split())
