"""The commands, and how they end: 0 done, 1 failed with one sentence, 2 wrong usage."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import mailslot
from mailslot.cli import token
from mailslot.cli.home import home_folder
from mailslot.cli.settings import set_values, show
from mailslot.cli.slots import slots
from mailslot.errors import InputError, MailError

if TYPE_CHECKING:
    from collections.abc import Callable

COMMANDS = "mailslot.commands"
"""The entry points under which plugins bring commands of their own; each is a function with typer's annotations."""

app = typer.Typer(
    name="mailslot",
    help="The mail side of a scanner, fax machine or printer, with OAuth 2.0 done right.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it
    if wanted:
        typer.echo(f"mailslot {mailslot.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    *,
    home: Annotated[
        Path | None, typer.Option(help="The folder with settings and tokens; else MAILSLOT_HOME, else the usual one.")
    ] = None,
    _version_wanted: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Hold the options that belong to no command."""
    context.obj = home_folder(home)


app.command("slots")(slots)
app.command("show")(show)
app.command("set")(set_values)
app.add_typer(token.app, name="token")


def run() -> None:
    """Run the command that the arguments name."""
    for entry in entry_points(group=COMMANDS):
        try:
            app.command(entry.name)(entry.load())
        except ModuleNotFoundError as error:
            app.command(entry.name)(_missing(entry.name, error.name or "a package"))
    try:
        app()
    except MailError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2 if isinstance(error, InputError) and error.cause == "invalid_input" else 1)
    except KeyboardInterrupt:
        sys.exit(130)


def _missing(command: str, package: str) -> Callable[[], None]:
    def say() -> None:
        sys.exit(f"mailslot {command} needs {package}: pip install 'mailslot[all]'")

    say.__doc__ = f"Needs {package}: pip install 'mailslot[all]'"
    return say
