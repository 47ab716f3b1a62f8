"""A printer that writes documents into a folder for each day."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync

from mailslot_plugins.printers.folder import FolderPrinter
from mailslot_plugins.printers.printer import PrinterError, PrintResult

if TYPE_CHECKING:
    from mailslot_plugins.printers.journal import Attempt
    from mailslot_plugins.printers.printer import Document, PrinterOptions, Readiness


class DatedFolder:
    """Writes each document into the folder of the day, with mailslot's own folder printer."""

    def __init__(self, folder: Path, options: PrinterOptions) -> None:
        self._folder = folder
        self._printer = partial(FolderPrinter, options=options)

    async def check(self) -> Readiness:
        """Check that the folder exists."""
        return await self._printer(self._folder).check()

    async def prepare(self, document: Document, folder: Path) -> list[Document]:
        """Return the document in a common file format."""
        return await self._printer(self._folder).prepare(document, folder)

    async def print(self, document: Document, attempt: Attempt) -> PrintResult:
        """Write the document into today's folder."""
        today = datetime.now().astimezone().date()  # by the local date, as people look for it
        day = self._folder / today.isoformat()
        try:
            await run_sync(partial(day.mkdir, exist_ok=True))
        except OSError as error:
            raise PrinterError(
                "The folder for printed documents cannot be written to.",
                stage="transaction",
                cause="printer_stopped",
                retryable=True,
                detail=str(error),
            ) from error
        return await self._printer(day).print(document, attempt)

    async def resume(self, attempt: Attempt) -> PrintResult | None:
        """Return the result of a document that was being printed when the device stopped, perhaps yesterday."""
        for day in await run_sync(lambda: sorted(self._folder.glob("????-??-??"))):
            printed = await self._printer(day).resume(attempt)
            if printed is not None:
                return printed
        return None


def printer(address: str, options: PrinterOptions) -> DatedFolder:
    """Return the printer for an address ``dated FOLDER``."""
    return DatedFolder(Path(address.partition(" ")[2].strip()), options)
