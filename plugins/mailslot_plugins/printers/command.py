"""A command as a printer, for example ``command lp -d office``: it is run with the document's path appended."""

from __future__ import annotations

import os
import shlex
import shutil
from subprocess import DEVNULL, STDOUT
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.plugin import InputError
from mailslot_plugins.printers.formats import PDF
from mailslot_plugins.printers.prepare import PrinterProfile, prepare
from mailslot_plugins.printers.printer import PrinterError, PrintResult, Readiness

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot_plugins.printers.journal import Attempt
    from mailslot_plugins.printers.printer import Document, PrinterOptions

EX_TEMPFAIL: Final = 75
"""The exit status that asks to print the document later (sysexits.h)."""


class CommandPrinter:
    """Runs a program for each document, without a shell.

    Its environment describes the document: ``MAILSLOT_TITLE``, ``MAILSLOT_OWNER``, ``MAILSLOT_COPIES``,
    ``MAILSLOT_SIDES``, ``MAILSLOT_MEDIA``, ``MAILSLOT_COLOR``, ``MAILSLOT_TYPE`` and ``MAILSLOT_TOKEN``.
    """

    def __init__(self, arguments: list[str], options: PrinterOptions) -> None:
        self._command = arguments
        self._options = options

    async def check(self) -> Readiness:
        """Check that the program exists."""
        if shutil.which(self._command[0]):
            return Readiness(ready=True, state="idle", formats=(PDF,))
        return Readiness(ready=False, state="stopped", reasons=(f"The program {self._command[0]} is not there.",))

    async def prepare(self, document: Document, folder: Path) -> list[Document]:
        """Return the document as PDF, unless it is an image or in a printer language."""
        return await prepare(document, folder, PrinterProfile(formats=(), limits=self._options.limits))

    async def print(self, document: Document, attempt: Attempt) -> PrintResult:
        """Run the program: exit status 0 means printed, 75 later, any other refused."""
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
        command = [*self._command, str(document.path)]
        try:
            result = await anyio.run_process(command, stdin=DEVNULL, stderr=STDOUT, check=False, env=environment)
        except OSError as error:
            await attempt.reach("new")
            raise _error("The program that prints cannot be run.", str(error), retryable=True) from error
        output = result.stdout.decode("utf-8", "replace").strip()[-500:]
        if result.returncode == EX_TEMPFAIL:
            await attempt.reach("new")
            raise _error("The program that prints says that it cannot print now.", output, retryable=True)
        if result.returncode != 0:
            raise _error(f"The program that prints ended with status {result.returncode}.", output, retryable=False)
        return PrintResult()

    async def resume(self, attempt: Attempt) -> PrintResult | None:
        """Raise an error: a program cannot be asked whether it printed a document."""
        raise _error(
            "The device stopped while the document was being printed; it may or may not have been printed.",
            attempt.token,
            retryable=False,
        )


def printer(address: str, options: PrinterOptions) -> CommandPrinter:
    """Return the printer for an address ``command PROGRAM [ARGUMENT …]``.

    Raises:
        InputError: the quotation marks in it do not match.
    """
    try:
        arguments = shlex.split(address.partition(" ")[2])
    except ValueError as error:
        raise InputError("The command that prints cannot be understood.", stage="resolve", detail=str(error)) from None
    return CommandPrinter(arguments, options)


def _error(sentence: str, detail: str, *, retryable: bool) -> PrinterError:
    cause = "printer_stopped" if retryable else "printer_refused"
    return PrinterError(sentence, cause=cause, retryable=retryable, detail=detail)
