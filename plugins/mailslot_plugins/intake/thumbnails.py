"""Stores thumbnails of received faxes and printed mails, for lists in the panel.

A mail's file is deleted once it is done, so the thumbnail is made while it is handled. The newest ones are kept.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from anyio.to_thread import run_sync

from mailslot.spool.errors import SpoolError, reading
from mailslot.vault import durable
from mailslot_plugins.intake.process import IntakeError, run_task

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.spool.incoming import Incoming

MAX_THUMBNAILS: Final = 200
"""The most thumbnails that are kept."""

MAX_SIZE: Final = 200_000
"""The most octets of a thumbnail; a page of noise takes about half."""

logger = logging.getLogger(__name__)


class Thumbnails:
    """The thumbnails of one device, stored by the mail's digest, because mail numbers restart if the ledger is lost."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "thumbnails"

    def has(self, mail: Incoming) -> bool:
        """Whether there is a thumbnail of a mail. Blocks."""
        return self._path(mail).is_file()

    def read(self, mail: Incoming) -> bytes | None:
        """Return a mail's thumbnail, as PNG; None if there is none. Blocks.

        Raises:
            SpoolError: it cannot be read.
        """
        path = self._path(mail)
        with reading(path):
            return durable.read(path, MAX_SIZE)

    async def make(self, mail: Incoming, document: Path, kind: str, folder: Path) -> None:
        """Make and store a thumbnail of a document's first page; a failure is only logged."""
        into = folder / "thumbnail.png"
        try:
            await run_task("thumbnail", {"path": str(document), "kind": kind, "into": str(into)}, folder)
        except (IntakeError, SpoolError, OSError) as error:
            logger.info("There is no picture of mail %d: %s", mail.id, error)
        else:
            await self.keep(mail, into)

    async def keep(self, mail: Incoming, image: Path) -> None:
        """Store a thumbnail and delete the oldest if there are too many; a failure is only logged.

        Args:
            mail: the mail.
            image: a PNG file; nothing is stored if it does not exist.
        """
        try:
            await run_sync(self._store, self._path(mail), image)
        except OSError as error:
            # A mail must not fail because of its thumbnail.
            logger.info("There is no picture of mail %d: %s", mail.id, error)

    def _store(self, path: Path, image: Path) -> None:
        octets = durable.read(image, MAX_SIZE)
        if octets is None:
            return
        durable.make_private_folder(self._folder)
        durable.replace(path, octets)
        kept = sorted(self._folder.glob("*.png"), key=lambda each: each.stat().st_mtime_ns)
        for each in kept[:-MAX_THUMBNAILS]:
            durable.remove(each)

    def _path(self, mail: Incoming) -> Path:
        return self._folder / f"{mail.digest}.png"
