"""A printer that is a folder: each document becomes a file in it.

Only the owner can read the files, whatever the folder is open to; in a folder that hands its group on (set-group-ID,
``chmod g+s``) that group can, too.
"""

from __future__ import annotations

import mimetypes
import os
import shutil
import stat
import unicodedata
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final

from anyio.to_thread import run_sync

from mailslot_plugins.intake.one_line import cut
from mailslot_plugins.printers.formats import SUFFIXES
from mailslot_plugins.printers.prepare import Wanted, prepare
from mailslot_plugins.printers.printer import Printed, PrinterError, Readiness

if TYPE_CHECKING:
    from mailslot_plugins.printers.journal import Attempt
    from mailslot_plugins.printers.printer import Document, Options

_KEPT: Final = frozenset("_.() -")
_MAX_TITLE: Final = 200
"""Octets: with the token and the suffix, they make a name that all file systems take."""

_OWN: Final = 0o600
_SHARED: Final = 0o640
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


class FolderPrinter:
    """Puts documents into a folder, each whole or not at all, and once: the token is in the file's name."""

    def __init__(self, folder: Path, options: Options) -> None:
        self._folder = folder
        self._options = options

    async def check(self) -> Readiness:
        """Tell whether the folder is there."""
        if await run_sync(self._folder.is_dir):
            return Readiness(ready=True, state="idle")
        return Readiness(ready=False, state="stopped", reasons=("The folder for printed documents is not there.",))

    async def prepare(self, document: Document, folder: Path) -> list[Document]:
        """Return the document as a file that programs can open."""
        return await prepare(document, folder, Wanted(formats=(), limits=self._options.limits))

    async def print(self, document: Document, attempt: Attempt) -> Printed:
        """Put the document into the folder."""
        await attempt.reach("begun")
        try:
            name = await run_sync(_put, self._folder, document, attempt.token)
        except OSError as error:
            raise PrinterError(
                "The folder for printed documents cannot be written to.",
                stage="transaction",
                cause="printer_stopped",
                retryable=True,
                detail=str(error),
            ) from error
        return Printed(job=name)

    async def resume(self, attempt: Attempt) -> Printed | None:
        """Return the file that is there."""
        found = await run_sync(lambda: sorted(self._folder.glob(f"{attempt.token}*")))
        return Printed(job=found[0].name) if found else None


def printer(address: str, options: Options) -> FolderPrinter:
    """Return the printer that is called ``folder PATH``."""
    return FolderPrinter(Path(address.partition(" ")[2].strip()), options)


def _harmless(title: str) -> str:
    """Return a title with nothing in it but letters, digits and a few signs; an underscore stands for all others."""
    # A letter may come as several characters, and in many scripts it always does: marks belong to the letters.
    composed = unicodedata.normalize("NFC", title)
    runs = groupby(composed, lambda c: c.isalnum() or c in _KEPT or unicodedata.category(c).startswith("M"))
    return "".join("".join(run) if kept else "_" for kept, run in runs)


def _put(folder: Path, document: Document, token: str) -> str:
    suffix = SUFFIXES[document.media_type]
    title = document.title
    # Many kinds have several suffixes: a «.jpeg» is not to become a «.jpeg.jpg».
    if title.lower().endswith(f".{suffix}") or mimetypes.guess_type(title)[0] == document.media_type:
        title = title.rpartition(".")[0]
    title = cut(_harmless(title).strip(" ."), _MAX_TITLE)
    name = f"{token} {title}.{suffix}" if title else f"{token}.{suffix}"
    partial = folder / f".{token}.partial"
    mode = _SHARED if folder.stat().st_mode & stat.S_ISGID else _OWN
    partial.unlink(missing_ok=True)
    with document.path.open("rb") as source, os.fdopen(os.open(partial, _NEW, mode & _OWN), "wb") as target:
        # Whatever the umask is, which would keep the group out.
        os.fchmod(target.fileno(), mode)
        shutil.copyfileobj(source, target)
        target.flush()
        os.fsync(target.fileno())
    partial.replace(folder / name)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return name
