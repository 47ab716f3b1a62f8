"""The commands of plugins: each is loaded when it is called, or when the help of all is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import typer
from rich.markup import escape
from typer.core import TyperGroup
from typer.main import get_group

from mailslot.entry_points import display_name
from mailslot.errors import MailError
from mailslot.registry import PluginGroup

Command = typer.Typer | Callable[..., object]
"""A typer, or a function with typer's annotations."""


def _is_command(found: object) -> bool:
    """Whether typer can make a command of it; where that fails, it says why."""
    return (isinstance(found, typer.Typer) or (callable(found) and not isinstance(found, type))) and bool(
        _make_command("command", found)
    )


COMMANDS: Final = PluginGroup[Command]("mailslot.commands", noun="command", check=_is_command)
"""The commands of plugins, by the words that call them."""


class Commands(TyperGroup):
    """All commands: the built-in ones, and those of plugins.

    Attributes:
        built_in: the names of the built-in commands, which no plugin may take.
    """

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - whatever typer hands over
        super().__init__(**settings)
        self.built_in = frozenset(self.commands)
        self._unloaded = {name for name in COMMANDS.names() if display_name(name) == name} - self.built_in
        for name in sorted(self._unloaded):
            # So that they are listed, and suggested.
            self.commands[name] = _make_command(name, _placeholder)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - typer keeps the types of these to itself
        """Return a command by its name; None where there is none."""
        if cmd_name in self._unloaded:
            self._unloaded.remove(cmd_name)
            self.commands[cmd_name] = _load_command(cmd_name)
        return super().get_command(ctx, cmd_name)


def _load_command(name: str) -> Any:  # noqa: ANN401 - as above
    try:
        return _make_command(name, COMMANDS.find(name))
    except MailError as error:
        # Its name is bound to the block.
        reason = error

        def refuse() -> None:
            raise reason

        refuse.__doc__ = escape(str(reason))
        return _make_command(name, refuse, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})


def _make_command(name: str, command: Command, context_settings: dict[str, Any] | None = None) -> Any:  # noqa: ANN401 - as above
    holder = typer.Typer()
    if isinstance(command, typer.Typer):
        holder.add_typer(command, name=name)
    else:
        holder.command(name, context_settings=context_settings)(command)
    return get_group(holder).commands[name]


def _placeholder() -> None:
    """Stand for a command that is not loaded."""
