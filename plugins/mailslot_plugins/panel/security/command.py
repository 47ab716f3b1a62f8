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

    The password is asked for on the terminal, or is the first line of standard input.

    Examples:
        mailslot panel password
        mailslot panel password < file
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
        try:
            return Secret(sys.stdin.readline().removesuffix("\n").removesuffix("\r"))
        except UnicodeDecodeError:  # its text is not used, since it quotes what was entered
            raise InputError("What was entered is not text in the terminal's encoding.", stage="resolve") from None
    entered = Secret(getpass("new password: "))
    if entered != getpass("once more: "):
        raise InputError("The two passwords do not match. Nothing has changed.", stage="resolve")
    return entered
