"""The standard streams, made safe to write to."""

from __future__ import annotations

import codecs
import errno
import json
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TextIO, cast

if TYPE_CHECKING:
    from rich.console import Console

_ERROR_HANDLER: Final = "mailslot.plainly"
_ASCII: Final = str.maketrans({"✓": "ok", "✗": "x", "–": "-", "…": "...", "•": "*", "→": "->", "’": "'"})


OUTPUT_ERRNOS: Final = frozenset({errno.ENOSPC, errno.EPIPE, errno.EIO, errno.EBADF, errno.EFBIG, errno.EDQUOT})
"""Error numbers that mean standard output cannot be written; the library's own I/O fails as a `MailError`."""


def make_console(*, soft_wrap: bool = False) -> Console:
    """Return a console on standard output without emoji codes: ``:a:`` may be part of an address."""
    from rich.console import Console  # noqa: PLC0415 - `--json` does without it

    # Some serial consoles set this to 0 for unknown. A table of width 0 would be empty.
    width = 80 if os.environ.get("COLUMNS") == "0" else None
    return Console(emoji=False, soft_wrap=soft_wrap, width=width)


def print_json(document: object) -> None:
    """Print one JSON document on standard output."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def confirm(question: str, *, yes: bool) -> None:
    """Ask a question on the terminal, unless `yes` answers it; end the command if the answer is no."""
    import typer  # noqa: PLC0415 - not every command has it loaded; see `mailslot.cli.quick`

    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("there is no terminal to ask on; add --yes", param_hint="--yes")
        typer.confirm(question, abort=True)


def prepare_streams() -> None:
    """Make sure that every stream exists, and replace characters that the terminal cannot encode."""
    codecs.register_error(_ERROR_HANDLER, _replace_unencodable)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        # The stream is None if its descriptor was closed when the program was started.
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - it stays open
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # a replacement in a test may have no such method
            stream.reconfigure(errors=_ERROR_HANDLER)  # type: ignore[union-attr] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] - as above


def flush_output() -> OSError | None:
    """Flush standard output; return the error where it could not be written, and discard the rest."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # Python flushes once more at exit, and would fail then.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return error
    return None


def print_error(sentence: str) -> None:
    """Print a sentence on standard error, if it can be written."""
    with suppress(OSError):
        cast("TextIO", sys.stderr).write(f"{sentence}\n")


def _replace_unencodable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_ASCII)
    return "".join(letter if letter.isascii() else "?" for letter in text), error.end
