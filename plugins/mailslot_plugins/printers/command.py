"""A printer that is a command, such as ``command lp -d office``: it is run with the document's path behind it."""

from __future__ import annotations

import os
import shlex
import shutil
from subprocess import DEVNULL, STDOUT
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.errors import InputError
from mailslot_plugins.printers.formats import PDF
from mailslot_plugins.printers.prepare import Wanted, prepare
from mailslot_plugins.printers.printer import Printed, PrinterError, Readiness

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot_plugins.printers.journal import Attempt
    from mailslot_plugins.printers.printer import Document, Options

TEMPORARY: Final = 75
"""The exit status that means that the document is to be printed later (EX_TEMPFAIL of sysexits.h)."""


class CommandPrinter:
    """Runs a program for each document, without a shell.

    What is known of the document is in its environment: ``MAILSLOT_TITLE``, ``MAILSLOT_OWNER``, ``MAILSLOT_COPIES``,
    ``MAILSLOT_SIDES``, ``MAILSLOT_MEDIA``, ``MAILSLOT_COLOR``, ``MAILSLOT_TYPE`` and ``MAILSLOT_TOKEN``.
    """

    def __init__(self, words: list[str], options: Options) -> None:
        self._words = words
        self._options = options

    async def check(self) -> Readiness:
        """Tell whether the program is there."""
        if shutil.which(self._words[0]):
            return Readiness(ready=True, state="idle", formats=(PDF,))
        return Readiness(ready=False, state="stopped", reasons=(f"The program {self._words[0]} is not there.",))

    async def prepare(self, document: Document, folder: Path) -> list[Document]:
        """Return the document as PDF, unless it is an image or a printer's language."""
        return await prepare(document, folder, Wanted(formats=(), limits=self._options.limits))

    async def print(self, document: Document, attempt: Attempt) -> Printed:
        """Run the program: 0 is printed, 75 is later, anything else is refused."""
        await attempt.reach("begun")
        environment = {
            **os.environ,
            "MAILSLOT_TITLE": document.title,
            "MAILSLOT_OWNER": document.owner,
            "MAILSLOT_COPIES": str(document.copies),
            "MAILSLOT_SIDES": document.sides or "",
            "MAILSLOT_MEDIA": document.media or "",
            "MAILSLOT_COLOR": document.color or "",
            "MAILSLOT_TYPE": document.media_type,
            "MAILSLOT_TOKEN": attempt.token,
        }
        command = [*self._words, str(document.path)]
        try:
            ended = await anyio.run_process(command, stdin=DEVNULL, stderr=STDOUT, check=False, env=environment)
        except OSError as error:
            await attempt.reach("new")
            raise _error("The program that prints cannot be run.", str(error), retryable=True) from error
        said = ended.stdout.decode("utf-8", "replace").strip()[-500:]
        if ended.returncode == TEMPORARY:
            await attempt.reach("new")
            raise _error("The program that prints says that it cannot print now.", said, retryable=True)
        if ended.returncode != 0:
            raise _error(f"The program that prints ended with status {ended.returncode}.", said, retryable=False)
        return Printed()

    async def resume(self, attempt: Attempt) -> Printed | None:
        """Say that nobody knows: a program cannot be asked what it has done."""
        raise _error(
            "The device stopped while the document was being printed; nobody knows whether it was.",
            attempt.token,
            retryable=False,
        )


def printer(address: str, options: Options) -> CommandPrinter:
    """Return the printer that is called ``command PROGRAM [ARGUMENT …]``.

    Raises:
        InputError: the quotation marks in it do not match.
    """
    try:
        words = shlex.split(address.partition(" ")[2])
    except ValueError as error:
        raise InputError("The command that prints cannot be understood.", stage="resolve", detail=str(error)) from None
    return CommandPrinter(words, options)


def _error(sentence: str, detail: str, *, retryable: bool) -> PrinterError:
    cause = "printer_stopped" if retryable else "printer_refused"
    return PrinterError(sentence, stage="transaction", cause=cause, retryable=retryable, detail=detail)
