"""Prints a document once, in as many parts as the printer needs, and resumes it after a crash."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mailslot_plugins.intake.process import IntakeError
from mailslot_plugins.printers.journal import FINAL_STEPS
from mailslot_plugins.printers.printer import PrinterError, PrintResult

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot_plugins.printers.journal import Attempt, Journal
    from mailslot_plugins.printers.printer import Document, Printer


async def print_document(
    printer: Printer, document: Document, folder: Path, journal: Journal, name: str
) -> PrintResult:
    """Print a document, of which all or some parts may have been printed before.

    Args:
        printer: the printer.
        document: the document.
        folder: where converted files are written.
        journal: the journal of its mail.
        name: the document's name in the journal, for example ``"0"``.

    Raises:
        PrinterError: it is to be printed later, or has failed; a failure is recorded, so that a second call raises it
            again.
    """
    document_attempt = journal.attempt(name)
    if document_attempt.step == "printed":
        return PrintResult(note=document_attempt.note)
    if document_attempt.step == "failed":
        raise _unprintable_error(document_attempt.note)
    try:
        printed = await _print(printer, document, folder, journal, name)
    except IntakeError as error:
        await document_attempt.reach("failed", note=str(error))
        raise _unprintable_error(str(error)) from error
    except PrinterError as error:
        if not error.retryable:
            await document_attempt.reach("failed", note=str(error))
        raise
    await document_attempt.reach("printed", note=printed.note)
    return printed


async def abandon_documents(printer: Printer, journal: Journal, beginning: str = "") -> None:
    """Cancel the jobs that interrupted attempts have left at a printer, which may print nothing else until then.

    What the printer has taken whole is not cancelled.

    Args:
        printer: the printer.
        journal: the journal of the mail.
        beginning: that of the names of the documents in the journal.

    Raises:
        PrinterError: the printer cannot be asked.
    """
    for attempt in journal.attempts(beginning):
        if attempt.step in {"begun", "created"} and (printed := await printer.resume(attempt)) is not None:
            await attempt.reach("printed", note=printed.note)


async def _print(printer: Printer, document: Document, folder: Path, journal: Journal, name: str) -> PrintResult:
    prepared: list[Document] | None = None
    count: int | None = journal.get(f"pieces:{name}")
    notes: list[str] = []
    number = 0
    while count is None or number < count:
        attempt = journal.attempt(f"{name}.{number}")
        if attempt.step not in FINAL_STEPS:
            printed = await printer.resume(attempt) if attempt.step != "new" else None
            if printed is None:
                prepared = prepared or await printer.prepare(document, folder)
                if count is None:
                    count = len(prepared)
                    await journal.record(f"pieces:{name}", count)
                printed = await _print_part(printer, prepared, number, attempt)
            await attempt.reach("printed", note=printed.note)
        if attempt.note:
            notes.append(attempt.note)
        number += 1
    return PrintResult(note=" ".join(dict.fromkeys(notes)))


async def _print_part(printer: Printer, prepared: list[Document], number: int, attempt: Attempt) -> PrintResult:
    if number >= len(prepared):
        # The printer's formats have changed since the first parts were printed, and it needs fewer parts now.
        raise PrinterError(
            "The printer's formats have changed since the document's first pages were printed.",
            cause="document_unprintable",
        )
    part = prepared[number]
    title = part.title if len(prepared) == 1 else f"{part.title} ({number + 1} of {len(prepared)})"
    return await printer.print(replace(part, title=title), attempt)


def _unprintable_error(sentence: str) -> PrinterError:
    return PrinterError(sentence, cause="document_unprintable")
