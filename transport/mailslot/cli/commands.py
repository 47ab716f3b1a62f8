"""The built-in commands and those of plugins; each is loaded when it is called or its help is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from mailslot.cli.command_help import set_up_help
from mailslot.cli.command_table import BUILT_IN, COMMAND_GROUP, plugin_command_names
from mailslot.errors import MailError
from mailslot.registry import PluginGroup

Command = typer.Typer | Callable[..., object]
"""A `typer.Typer`, or a function with typer's annotations."""


def _is_command(found: object) -> bool:
    """Return whether typer can turn an object into a command; its exception says why not."""
    return (isinstance(found, typer.Typer) or (callable(found) and not isinstance(found, type))) and bool(
        make_command("command", found)
    )


COMMANDS: Final = PluginGroup[Command](COMMAND_GROUP, noun="command", check=_is_command)
"""The commands of plugins by name."""

_ANY_WORDS: Final[Mapping[str, Any]] = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Settings with which typer accepts unknown words, since its own error would repeat them."""

_REFUSES_ITSELF: Final = frozenset({"decode"})
"""The built-in commands that refuse unknown words themselves, since such a word may be a secret."""


class Commands(TyperGroup):
    """The group of all commands."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - typer's arguments
        super().__init__(**settings)
        names = [*BUILT_IN, *plugin_command_names()]
        self._unloaded = set(names)
        for name in names:
            # A placeholder, for the list of commands and for suggestions.
            self.commands[name] = TyperCommand(name)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - typer does not export these types
        """Return a command by its name; None if there is none."""
        if cmd_name in self._unloaded:
            self._unloaded.remove(cmd_name)
            self.commands[cmd_name] = _load_command(cmd_name)
        return super().get_command(ctx, cmd_name)


def _load_command(name: str) -> Any:  # noqa: ANN401 - as above
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        command = getattr(import_module(f"mailslot.cli.{module}"), attribute)
        return make_command(name, command, context_settings=_ANY_WORDS if name in _REFUSES_ITSELF else None)
    try:
        return make_command(name, COMMANDS.find(name))
    except MailError as error:
        reason = error  # `error` is unbound after this block

        def refuse() -> None:
            raise reason

        refuse.__doc__ = str(reason)
        return make_command(name, refuse, context_settings=_ANY_WORDS)


def make_command(name: str, command: Command, context_settings: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 - as above
    """Return a command as typer's object."""
    holder = typer.Typer(rich_markup_mode=None)
    if isinstance(command, typer.Typer):
        holder.add_typer(command, name=name)
    else:
        holder.command(name, context_settings=dict(context_settings or {}))(command)
    found: Any = get_group(holder).commands[name]
    set_up_help(found)
    return found
