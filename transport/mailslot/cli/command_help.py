"""The help of each command: usage, arguments and options with types named for people, examples.

Examples are at the end of a command's docstring, under ``Examples:``.
"""

from __future__ import annotations

import textwrap
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin

from mailslot.cli.help_text import columns, paragraphs

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADING: Final = "Examples:\n"
_VALUES: Final = {int: "NUMBER", float: "NUMBER"}


def set_up_help(command: Any) -> None:  # noqa: ANN401 - typer does not export these types
    """Give a command, and those below it, this help; its examples become its `epilog`."""
    text, _, examples = (command.help or "").partition(_HEADING)
    command.help = text.strip()
    command.epilog = textwrap.dedent(examples).strip() or command.epilog
    command.format_help = partial(_write_help, command)
    command.get_usage = partial(_usage_line, command)
    for child in getattr(command, "commands", {}).values():
        set_up_help(child)


def usage(words: str, command: Any) -> str:  # noqa: ANN401 - as above
    """Return the usage of a command.

    Args:
        words: the words that call it, without ``mailslot``.
        command: the command.
    """
    arguments = [_argument(each) for each in command.params if each.param_type_name == "argument"]
    if getattr(command, "commands", None):
        arguments.append("[COMMAND]" if command.invoke_without_command else "COMMAND")
    return " ".join(["mailslot", *words.split(), *arguments, "[OPTIONS]"])


def parameter_rows(command: Any, context: Any, kind: str) -> list[tuple[str, str]]:  # noqa: ANN401 - as above
    """Return the parameters of a command, each with its meaning.

    Args:
        command: the command.
        context: its context.
        kind: ``argument`` or ``option``.
    """
    found = [each for each in command.get_params(context) if each.param_type_name == kind and not each.hidden]
    return [(_argument(each) if kind == "argument" else _option(each), _meaning(each)) for each in found]


def _usage_line(command: Any, context: Any) -> str:  # noqa: ANN401 - as above
    return f"Usage: {usage(context.command_path.partition(' ')[2], command)}"


def _write_help(command: Any, context: Any, formatter: Any) -> None:  # noqa: ANN401 - as above
    formatter.write("\n".join(_help_lines(command, context)) + "\n")


def _help_lines(command: Any, context: Any) -> Iterator[str]:  # noqa: ANN401 - as above
    yield _usage_line(command, context)
    yield ""
    yield from paragraphs(command.help)
    rows = {
        "Arguments": parameter_rows(command, context, "argument"),
        "Options": parameter_rows(command, context, "option"),
    }
    commands = getattr(command, "commands", {})
    width = max(map(len, commands), default=0)
    for name, child in commands.items():
        text = " ".join((child.help or "").partition("\n\n")[0].split())
        rows.setdefault(child.rich_help_panel or "Commands", []).append((name.ljust(width), text))
    for heading, found in rows.items():
        if found:
            yield from ("", f"{heading}:", *columns(found))
    if examples := _examples(command):
        yield from ("", "Examples:", *(f"  {line}" for line in examples))


def _examples(command: Any) -> list[str]:  # noqa: ANN401 - as above
    """Return the examples of a command; for a group of commands, the first example of each."""
    if command.epilog:
        return str(command.epilog).splitlines()
    return [line for child in getattr(command, "commands", {}).values() for line in _examples(child)[:1]]


def _argument(parameter: Any) -> str:  # noqa: ANN401 - as above
    name: str = parameter.metavar or parameter.name.upper()
    return name if parameter.required or name.startswith("[") else f"[{name}]"


def _option(parameter: Any) -> str:  # noqa: ANN401 - as above
    names = ", ".join(sorted(parameter.opts, key=len))
    if parameter.is_flag:
        return " / ".join([names, *parameter.secondary_opts])
    name = parameter.name.rstrip("_").upper().replace("_", "-")
    return f"{names} {parameter.metavar or _VALUES.get(_plain_type(parameter), name)}"


def _meaning(parameter: Any) -> str:  # noqa: ANN401 - as above
    sentences = [parameter.help or ""]
    if values := _allowed_values(_plain_type(parameter)):
        sentences.append(f"One of: {', '.join(values)}.")
    least, most = getattr(parameter, "min", None), getattr(parameter, "max", None)
    if least is not None and most is not None:
        sentences.append(f"From {least} to {most:,}.")
    default = parameter.default
    if default not in (None, "", False, [], ()) and not getattr(parameter, "is_flag", True):
        sentences.append(f"Default: {default.value if isinstance(default, Enum) else default}.")
    return " ".join(filter(None, sentences))


def _plain_type(parameter: Any) -> Any:  # noqa: ANN401 - as above
    """Return a parameter's type; for a list, the type of its items."""
    found = parameter.type_descriptor.annotation
    return get_args(found)[0] if get_origin(found) is list else found


def _allowed_values(kind: Any) -> list[str]:  # noqa: ANN401 - as above
    if get_origin(kind) is Literal:
        return [str(each) for each in get_args(kind)]
    return [str(each.value) for each in kind] if isinstance(kind, type) and issubclass(kind, Enum) else []
