"""The table of all commands, each with a one-sentence summary; reading it loads none of them."""

from __future__ import annotations

import ast
from importlib.abc import InspectLoader
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Final

from mailslot.entry_points import display_name, installed_entry_points

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMAND_GROUP: Final = "mailslot.commands"
"""The group of the entry points of plugins' commands."""

BUILT_IN: Final[Mapping[str, str]] = {
    "slots": "slots:slots",
    "show": "settings:show",
    "set": "settings:set_values",
    "test": "test:run_test",
    "export": "transfer:export",
    "import": "transfer:import_",
    "doctor": "doctor:doctor",
    "report": "report:report",
    "explain": "explain:explain",
    "decode": "decode:decode",
    "plugins": "plugins:plugins",
    "poll": "poll:poll",
    "serve": "serve:serve",
    "metrics": "serve:print_metrics",
    "token": "token:app",
    "account": "account:app",
    "listener": "listener:app",
    "device": "device:app",
    "jobs": "jobs:app",
    "fleet": "fleet:app",
}
"""The built-in commands, whose names plugins cannot take: module of this package, and name in it."""


GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "Set up": ("slots", "show", "set", "token", "test"),
    "Run": ("serve", "doctor", "jobs", "poll", "metrics"),
    "Accounts, and devices that do not know OAuth 2.0": ("account", "listener", "device"),
    "Faults, and support": ("explain", "decode", "report", "plugins"),
    "Several devices": ("export", "import", "fleet"),
}
"""The built-in commands by group, as the help lists them."""


def plugin_command_names() -> list[str]:
    """Return the names of plugins' commands, sorted, without names that cannot be typed."""
    names = {entry.name for entry in installed_entry_points() if entry.group == COMMAND_GROUP}
    return sorted({name for name in names if display_name(name) == name} - BUILT_IN.keys())


def summary(place: str) -> str:
    """Return the one-sentence summary of a command, without importing its module.

    Args:
        place: a function with a docstring, or a typer with `help`, as ``module:name``.

    Returns:
        the sentence; empty if the source cannot be read or has none.
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
