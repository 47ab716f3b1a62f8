"""A document printed once: in as many pieces as the printer wants, and from where it was left."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mailslot_plugins.intake.process import IntakeError
from mailslot_plugins.printers.journal import ENDED
from mailslot_plugins.printers.printer import Printed, PrinterError

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot_plugins.printers.journal import Attempt, Journal
    from mailslot_plugins.printers.printer import Document, Printer


async def print_document(printer: Printer, document: Document, folder: Path, journal: Journal, name: str) -> Printed:
    """Print a document that may have been printed, in whole or in part, before.

    Args:
        printer: the printer.
        document: the document.
        folder: where converted files go.
        journal: what is remembered of its mail.
        name: the document's name in the journal, such as ``"0"``.

    Raises:
        PrinterError: it is to be printed later, or never; in that case the journal says so too, and asking again
            raises the same.
    """
    whole = journal.attempt(name)
    if whole.step == "printed":
        return Printed(note=whole.said)
    if whole.step == "failed":
        raise _unprintable(whole.said)
    try:
        printed = await _print(printer, document, folder, journal, name)
    except IntakeError as error:
        await whole.reach("failed", said=str(error))
        raise _unprintable(str(error)) from error
    except PrinterError as error:
        if not error.retryable:
            await whole.reach("failed", said=str(error))
        raise
    await whole.reach("printed", said=printed.note)
    return printed


async def _print(printer: Printer, document: Document, folder: Path, journal: Journal, name: str) -> Printed:
    pieces: list[Document] | None = None
    count: int | None = journal.get(f"pieces:{name}")
    notes: list[str] = []
    number = 0
    while count is None or number < count:
        attempt = journal.attempt(f"{name}.{number}")
        if attempt.step not in ENDED:
            printed = await printer.resume(attempt) if attempt.step != "new" else None
            if printed is None:
                pieces = pieces or await printer.prepare(document, folder)
                if count is None:
                    count = len(pieces)
                    await journal.note(f"pieces:{name}", count)
                printed = await _print_piece(printer, pieces, number, attempt)
            await attempt.reach("printed", said=printed.note)
        if attempt.said:
            notes.append(attempt.said)
        number += 1
    return Printed(note=" ".join(dict.fromkeys(notes)))


async def _print_piece(printer: Printer, pieces: list[Document], number: int, attempt: Attempt) -> Printed:
    if number >= len(pieces):
        # The printer takes other formats than when the first pieces were printed, and needs fewer of them now.
        raise PrinterError(
            "The printer takes other formats now than when the document's first pages were printed.",
            stage="transaction",
            cause="document_unprintable",
        )
    piece = pieces[number]
    title = piece.title if len(pieces) == 1 else f"{piece.title} ({number + 1} of {len(pieces)})"
    return await printer.print(replace(piece, title=title), attempt)


def _unprintable(sentence: str) -> PrinterError:
    return PrinterError(sentence, stage="transaction", cause="document_unprintable")
