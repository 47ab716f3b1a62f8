"""``mailslot export`` and ``mailslot import``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from mailslot.cli.console import make_console
from mailslot.cli.home import open_records
from mailslot.cli.output import write_output
from mailslot.errors import MailError

_LARGEST = 1024 * 1024

Force = Annotated[bool, typer.Option("--force", help="Write over a file that is there.")]


def export(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Where to; standard output without it.")] = None,
    *,
    without: Annotated[
        str, typer.Option(metavar="KEY,…", help="Keys and tables to leave out, such as account,sender_address,device.")
    ] = "",
    force: Force = False,
) -> None:
    """Write the settings down, without passwords, secrets and tokens, for other devices to import."""
    from mailslot.slots.transfer import export_settings  # noqa: PLC0415 - cryptography takes a while to import

    home: Path = context.obj
    names = [name for name in without.replace(",", " ").split() if name]
    text = export_settings(open_records(home).settings.current(), names)
    if file is None:
        sys.stdout.write(text)
        return
    write_output(file, text.encode(), force=force)
    make_console().print(
        f"The settings are in {escape(str(file))}; passwords, secrets and tokens are not.", soft_wrap=True
    )


def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What export wrote; - reads standard input.")],
    *,
    allow_commands: Annotated[
        bool, typer.Option("--allow-commands", help="Take over programs that this device is to run, too.")
    ] = False,
) -> None:
    """Take over settings that another device has exported: all of them, or none where anything is wrong.

    A table in the file replaces the device's; one that is not there stays as it is, as do passwords and tokens.
    """
    from mailslot.slots.transfer import import_settings  # noqa: PLC0415 - as above

    home: Path = context.obj
    changes = import_settings(open_records(home).settings, _read(file), str(file), allow_commands=allow_commands)
    console = make_console()
    for line in changes:
        console.print(escape(line), highlight=False, soft_wrap=True)
    changed = sum(line.startswith("[") for line in changes)
    console.print(f"{changed} settings changed." if changes else "Nothing to change: all of it is set so already.")


def _read(file: Path) -> str:
    try:
        if str(file) == "-":
            octets = sys.stdin.buffer.read(_LARGEST + 1)
        else:
            with file.open("rb") as source:
                octets = source.read(_LARGEST + 1)
    except OSError as error:
        raise _unusable(file, error.strerror or type(error).__name__) from error
    if len(octets) > _LARGEST:
        raise _unusable(file, f"it is larger than {_LARGEST} octets")
    try:
        return octets.decode()
    except UnicodeDecodeError as error:
        raise _unusable(file, "it is not UTF-8") from error


def _unusable(file: Path, reason: str) -> MailError:
    return MailError(f"{file} cannot be read: {reason}.", stage="resolve", cause="not_configured")
