"""The page of commands, from the same data as their help."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typer.main import get_command

from generators.tables import code, table
from mailslot.cli.app import app
from mailslot.cli.command_help import parameter_rows, usage

if TYPE_CHECKING:
    from collections.abc import Iterator


def commands() -> Iterator[tuple[str, Any, Any]]:
    """Yield every command: its words, the command and its context."""
    top: Any = get_command(app)
    context = top.make_context("mailslot", [], resilient_parsing=True)
    for name in sorted(top.list_commands(context)):
        yield from _below(name, top.get_command(context, name), context)


def _below(words: str, command: Any, parent: Any) -> Iterator[tuple[str, Any, Any]]:  # noqa: ANN401 - typer does not export their types
    context = command.make_context(words.rsplit(maxsplit=1)[-1], [], parent=parent, resilient_parsing=True)
    children = getattr(command, "commands", {})
    if not children or command.invoke_without_command:
        yield words, command, context
    for name, child in children.items():
        yield from _below(f"{words} {name}", child, context)


def all_commands() -> str:
    """Return the commands in Markdown, each with a heading."""
    return "\n".join(_section(*each) for each in commands())


def _section(words: str, command: Any, context: Any) -> str:  # noqa: ANN401 - as above
    rows = [(code(name.replace("|", "\\|")), _escaped(text)) for name, text in _parameters(command, context)]
    return "\n".join(
        [
            f"## `mailslot {words}`",
            "",
            command.help or "",
            "",
            f"```text\n{usage(words, command)}\n```",
            "",
            table(("", ""), rows),
            f"```sh\n{command.epilog}\n```" if command.epilog else "",
            "",
        ]
    )


def _parameters(command: Any, context: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - as above
    return parameter_rows(command, context, "argument") + parameter_rows(command, context, "option")


def _escaped(text: str) -> str:
    return text.replace("[", "(").replace("]", ")").replace("|", "\\|")
