"""Commands that run without typer.

typer and pydantic, which it needs, take a quarter of a second of processor time and ten megabytes, which a service
would keep for as long as it runs. So the usual forms of a few commands are parsed here, by a table. Any other form,
including all errors, is left to typer; `tests/test_quick_commands.py` checks that both parse the same.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import mailslot
from mailslot.cli.home import check_user, find_home

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mailslot.home.home import Home

_Values = dict[str, Any]

_FLAG: Final[tuple[str, ...]] = ("true",)
_ANY: Final[tuple[str, ...]] = ()
OPTIONS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "serve": {"--listen": _ANY, "--backend": ("asyncio", "trio"), "--log": ("json", "plain")},
    "slots": {"--json": _FLAG, "--long": _FLAG},
}
"""The commands, and their options: a flag, the values that are allowed, or any value."""


def quick_command(arguments: Sequence[str]) -> Callable[[], None] | None:
    """Return the command that the arguments call; None to leave them to typer.

    Args:
        arguments: the arguments after ``mailslot``.
    """
    # A shell's completion sets these variables.
    if any(name.endswith("_COMPLETE") for name in os.environ):
        return None
    if (parsed := parse(arguments)) is None:
        return None
    home, command, values = parsed
    if command in {"--help", "-h"}:
        return _print_overview
    if command == "--version":
        return _print_version
    found = find_home(home)
    check_user(found)
    if command == "serve":
        return partial(_serve, found, values)
    return partial(_slots, found, values)


def parse(arguments: Sequence[str]) -> tuple[str | None, str, _Values] | None:
    """Return the given home folder, the command, and the values of its options; None for any other form."""
    words = list(arguments)
    above: _Values = {}
    if not _take_options(words, {"--home": _ANY}, above) or not words:
        return None
    home, command = above.get("--home"), words.pop(0)
    if command in {"--help", "-h", "--version"}:
        return (home, command, {}) if not words else None
    values: _Values = {}
    if command not in OPTIONS or not _take_options(words, OPTIONS[command], values) or words:
        return None
    return home, command, values


def _take_options(words: list[str], options: Mapping[str, tuple[str, ...]], values: _Values) -> bool:
    """Take options with their values from the beginning of `words`; return whether all of them were understood."""
    while words and (name := words[0].partition("=")[0]) in options:
        allowed = options[name]
        _, written, value = words.pop(0).partition("=")
        if allowed is _FLAG:
            if written:
                return False
            values[name] = True
            continue
        if not written:
            value = words.pop(0) if words else ""
        if not value or value.startswith("-") or (allowed and value not in allowed):
            return False
        values[name] = value
    return True


def _print_version() -> None:
    sys.stdout.write(f"mailslot {mailslot.__version__}\n")


def _print_overview() -> None:
    from mailslot.cli.overview import overview  # noqa: PLC0415 - only this command needs it

    sys.stdout.write(overview())


def _serve(home: Home, values: _Values) -> None:
    from mailslot.cli.serving import serve_home  # noqa: PLC0415 - likewise

    serve_home(home, values.get("--listen"), values.get("--backend", "asyncio"), values.get("--log"))


def _slots(home: Home, values: _Values) -> None:
    from mailslot.cli.slot_list import print_slots  # noqa: PLC0415 - likewise

    print_slots(home, as_json="--json" in values, long="--long" in values)
