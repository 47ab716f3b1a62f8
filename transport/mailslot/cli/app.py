"""The command line, as parsed by typer."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Final

import typer

import mailslot
from mailslot.cli.commands import Commands
from mailslot.cli.home import check_user, find_home
from mailslot.cli.overview import DESCRIPTION, HOME_HELP, VERSION_HELP, overview

_HELP_OPTIONS: Final = ["-h", "--help"]


class _Main(Commands):
    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401, ARG002 - typer keeps their types to itself
        """Write the overview of all commands, which does not need typer."""
        formatter.write(overview())


app = typer.Typer(
    name="mailslot",
    cls=_Main,
    help=DESCRIPTION,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": _HELP_OPTIONS},
)


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it
    if wanted:
        typer.echo(f"mailslot {mailslot.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    *,
    home: Annotated[str | None, typer.Option(help=HOME_HELP)] = None,
    _version_wanted: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help=VERSION_HELP)
    ] = False,
) -> None:
    """Take the options before the command."""
    # The commands of a fleet do not use a home.
    if context.invoked_subcommand != "fleet":
        context.obj = find_home(home)
        if not any(option in sys.argv for option in _HELP_OPTIONS):
            check_user(context.obj)
