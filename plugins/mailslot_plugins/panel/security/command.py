"""``mailslot panel``: commands of the panel that need a login on the device."""

from __future__ import annotations

import sys
from getpass import getpass

import typer

from mailslot.errors import InputError
from mailslot.wire.secret import Secret

app = typer.Typer(help="The panel's password.", no_args_is_help=True)


@app.callback()
def _panel() -> None:
    """The panel's password."""


@app.command()
def password(context: typer.Context) -> None:
    """Set the administrator's password, for example after it was forgotten. All sessions are signed out.

    The password is asked for on the terminal, or read from standard input: mailslot panel password < file

    Examples:
        mailslot panel password
    """
    try:
        from mailslot_plugins.panel.security.password import Password  # noqa: PLC0415 - argon2 comes with an extra
    except ModuleNotFoundError as error:
        raise InputError(
            f"mailslot panel needs {error.name}: pip install 'mailslot[panel]'.",
            stage="resolve",
            cause="not_configured",
        ) from error
    Password(context.obj).set(_entered())
    typer.echo("The panel's password is set.")


def _entered() -> Secret:
    if not sys.stdin.isatty():
        return Secret(sys.stdin.read().removesuffix("\n").removesuffix("\r"))
    entered = Secret(getpass("new password: "))
    if entered != getpass("once more: "):
        raise InputError("The two passwords do not match. Nothing has changed.", stage="resolve")
    return entered
