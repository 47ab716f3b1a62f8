"""The commands of plugins: each is loaded when it is called, or when the help of all is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from mailslot.cli.command_table import BUILT_IN, COMMAND_GROUP, plugin_command_names
from mailslot.errors import MailError
from mailslot.registry import PluginGroup

Command = typer.Typer | Callable[..., object]
"""A typer, or a function with typer's annotations."""


def _is_command(found: object) -> bool:
    """Whether typer can make a command of it; where that fails, it says why."""
    return (isinstance(found, typer.Typer) or (callable(found) and not isinstance(found, type))) and bool(
        make_command("command", found)
    )


COMMANDS: Final = PluginGroup[Command](COMMAND_GROUP, noun="command", check=_is_command)
"""The commands of plugins, by the words that call them."""


_ANY_WORDS: Final[Mapping[str, Any]] = {"allow_extra_args": True, "ignore_unknown_options": True}
"""So that typer does not refuse words that a command does not know, and repeats none of them."""

_REFUSES_ITSELF: Final = frozenset({"decode"})
"""The built-in commands that refuse unknown words themselves: what is passed to them by mistake may be a secret."""


class Commands(TyperGroup):
    """All commands: the built-in ones, and those of plugins. Each is loaded when it is called or its help is wanted."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - whatever typer hands over
        super().__init__(**settings)
        names = [*BUILT_IN, *plugin_command_names()]
        self._unloaded = set(names)
        for name in names:
            # So that they are listed, and suggested.
            self.commands[name] = TyperCommand(name)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - typer keeps the types of these to itself
        """Return a command by its name; None where there is none."""
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
        # Its name is bound to the block.
        reason = error

        def refuse() -> None:
            raise reason

        from rich.markup import escape  # noqa: PLC0415 - typer's help has it loaded

        refuse.__doc__ = escape(str(reason))
        return make_command(name, refuse, context_settings=_ANY_WORDS)


def make_command(name: str, command: Command, context_settings: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 - as above
    """Return typer's command of a name."""
    holder = typer.Typer()
    if isinstance(command, typer.Typer):
        holder.add_typer(command, name=name)
    else:
        holder.command(name, context_settings=dict(context_settings or {}))(command)
    return get_group(holder).commands[name]
