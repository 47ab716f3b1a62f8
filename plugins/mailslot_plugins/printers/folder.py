"""A folder as a printer: each document becomes a file in it.

Only the owner can read the files, whatever the folder's permissions; in a folder with the set-group-ID bit
(``chmod g+s``) its group can, too.
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

from mailslot.plugin import InputError
from mailslot.vault import durable
from mailslot_plugins.intake.one_line import cut_to_octets
from mailslot_plugins.printers.formats import SUFFIXES
from mailslot_plugins.printers.prepare import PrinterProfile, prepare
from mailslot_plugins.printers.printer import PrinterError, PrintResult, Readiness

if TYPE_CHECKING:
    from mailslot_plugins.printers.journal import Attempt
    from mailslot_plugins.printers.printer import Document, PrinterOptions

_SAFE_CHARACTERS: Final = frozenset("_.() -")
_MAX_TITLE: Final = 200
"""Octets: with token and suffix, the name stays within the limits of all file systems."""

_OWNER_MODE: Final = 0o600
_GROUP_MODE: Final = 0o640
_CREATE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


class FolderPrinter:
    """Writes documents into a folder, each atomically and once: the file name begins with the attempt's token."""

    def __init__(self, folder: Path, options: PrinterOptions) -> None:
        self._folder = folder
        self._options = options

    async def check(self) -> Readiness:
        """Check that the folder exists."""
        if await run_sync(self._folder.is_dir):
            return Readiness(ready=True, state="idle")
        return Readiness(ready=False, state="stopped", reasons=("The folder for printed documents is not there.",))

    async def prepare(self, document: Document, folder: Path) -> list[Document]:
        """Return the document in a common file format."""
        return await prepare(document, folder, PrinterProfile(formats=(), limits=self._options.limits))

    async def print(self, document: Document, attempt: Attempt) -> PrintResult:
        """Write the document into the folder."""
        await attempt.reach("begun")
        try:
            name = await run_sync(_write_file, self._folder, document, attempt.token)
        except OSError as error:
            raise PrinterError(
                "The folder for printed documents cannot be written to.",
                cause="printer_stopped",
                retryable=True,
                detail=str(error),
            ) from error
        return PrintResult(job=name)

    async def resume(self, attempt: Attempt) -> PrintResult | None:
        """Return the file with the attempt's token, if it exists."""
        found = await run_sync(lambda: sorted(self._folder.glob(f"{attempt.token}*")))
        return PrintResult(job=found[0].name) if found else None


def printer(address: str, options: PrinterOptions) -> FolderPrinter:
    """Return the printer for an address ``folder PATH``.

    Raises:
        InputError: the path is relative, and `PrinterOptions.home` is None.
    """
    folder = Path(address.partition(" ")[2].strip())
    if options.home is None and not folder.is_absolute():
        raise InputError(
            f"The folder {folder} is on one machine only, and any worker of the fleet may print: set a printer of the "
            "network, or the whole path of a folder that all machines have.",
            stage="resolve",
        )
    return FolderPrinter(folder if options.home is None else options.home / folder, options)


def _safe_title(title: str) -> str:
    """Return a title of letters, digits and a few signs; other characters become underscores."""
    # In many scripts a letter consists of several characters: combining marks belong to the letters.
    composed = unicodedata.normalize("NFC", title)
    runs = groupby(composed, lambda c: c.isalnum() or c in _SAFE_CHARACTERS or unicodedata.category(c).startswith("M"))
    return "".join("".join(run) if is_safe else "_" for is_safe, run in runs)


def _write_file(folder: Path, document: Document, token: str) -> str:
    suffix = SUFFIXES[document.media_type]
    title = document.title
    # Many kinds have several suffixes: «.jpeg» must not become «.jpeg.jpg».
    if title.lower().endswith(f".{suffix}") or mimetypes.guess_type(title)[0] == document.media_type:
        title = title.rpartition(".")[0]
    title = cut_to_octets(_safe_title(title).strip(" ."), _MAX_TITLE)
    name = f"{token} {title}.{suffix}" if title else f"{token}.{suffix}"
    partial = folder / f".{token}.partial"
    mode = _GROUP_MODE if folder.stat().st_mode & stat.S_ISGID else _OWNER_MODE
    partial.unlink(missing_ok=True)
    with (
        document.path.open("rb") as source,
        os.fdopen(os.open(partial, _CREATE_FLAGS, mode & _OWNER_MODE), "wb") as target,
    ):
        # Set explicitly, because the umask may exclude the group.
        os.fchmod(target.fileno(), mode)
        shutil.copyfileobj(source, target)
        target.flush()
        os.fsync(target.fileno())
    partial.replace(folder / name)
    durable.sync_folder(folder)
    return name
