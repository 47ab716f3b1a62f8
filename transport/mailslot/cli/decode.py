"""``mailslot decode``."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.markup import escape

from mailslot.cli.console import make_console, print_error
from mailslot.cli.home import open_records
from mailslot.cli.language import chosen_language
from mailslot.cli.settings import AsJson

if TYPE_CHECKING:
    from mailslot.home.home import Home

_HOW: Final = "Give the token or the sign-in message on standard input, such as: mailslot decode < FILE"


def decode(
    context: typer.Context,
    *,
    language: Annotated[str | None, typer.Option(help="The language to answer in; else the device's.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what is in a token or SASL message, without its secrets.

    It is read from standard input.

    Examples:
        mailslot decode < token.txt
        mailslot decode --json < dialogue.log
    """
    from mailslot.diagnosis.decoding.transcript import MAX_INPUT, decode_pasted  # noqa: PLC0415 - only when called

    if context.args:
        # The words are not repeated, since they may be the secret.
        raise _misuse(f"Nothing is taken from the command line, where it would stay in the shell's history. {_HOW}")
    home: Home = context.obj
    spoken = chosen_language(open_records(home), language)
    if sys.stdin.isatty():
        # A terminal would show the secret, and truncates a line after some 4,000 characters.
        raise _misuse(_HOW)
    octets = sys.stdin.buffer.read(MAX_INPUT + 1)
    if not octets.strip():
        raise _misuse(f"Standard input is empty. {_HOW}")
    pieces = decode_pasted(_text(octets[:MAX_INPUT]), time.time())
    if as_json:
        document = [
            [
                {"finding": each.id, "fault": each.is_fault, "message": each.sentence(spoken), "facts": each.facts}
                for each in piece
            ]
            for piece in pieces
        ]
        sys.stdout.write(json.dumps({"pieces": document}, indent=2) + "\n")
    elif not pieces:
        print_error("This is neither a token nor a sign-in message that is known here.")
    if len(octets) > MAX_INPUT:
        print_error(f"Only the first {MAX_INPUT:,} octets were looked at.")
    if not pieces:
        raise typer.Exit(1)
    if not as_json:
        console = make_console()
        for number, piece in enumerate(pieces):
            lines = [f"{'[bold red]✗[/bold red] ' if f.is_fault else '  '}{escape(f.sentence(spoken))}" for f in piece]
            console.print("\n".join(["", *lines] if number else lines), soft_wrap=True, highlight=False)


def _misuse(sentence: str) -> typer.Exit:
    print_error(sentence)
    return typer.Exit(2)


def _text(octets: bytes) -> str:
    """Return the text in octets. PowerShell writes files in UTF-16."""
    if octets.startswith((b"\xff\xfe", b"\xfe\xff")):
        return octets.decode("utf-16", "replace")
    return octets.decode("utf-8", "replace")
