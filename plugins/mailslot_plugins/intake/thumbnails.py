"""Small pictures of what came in: the first page of a fax, or of a mail that was printed, for a list to show.

A mail's own file goes once it is done, so the picture is made while it is handled, and the newest are kept.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from anyio.to_thread import run_sync

from mailslot.vault import durable
from mailslot_plugins.intake.process import IntakeError, run_task

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.spool.incoming import Incoming

MOST: Final = 200
"""Pictures that are kept."""

LARGEST: Final = 200_000
"""Octets of one; a page of snow takes about half."""

logger = logging.getLogger(__name__)


class Thumbnails:
    """The pictures of one device, each found by its mail's digest: numbers begin anew where the ledger was lost.

    Args:
        home: the home folder.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home / "thumbnails"

    def path(self, mail: Incoming) -> Path | None:
        """Return a mail's picture, a PNG file; None where there is none. Blocks."""
        path = self._path(mail)
        return path if path.is_file() else None

    async def make(self, mail: Incoming, document: Path, kind: str, folder: Path) -> None:
        """Make and keep a picture of a document's first page; where that fails, there is none, and the log says so.

        Args:
            mail: what brought it.
            document: its file.
            kind: what it is, as `mailslot_plugins.intake.kinds` says.
            folder: where the picture is made; it has to be there.
        """
        into = folder / "thumbnail.png"
        try:
            await run_task("thumbnail", {"path": str(document), "kind": kind, "into": str(into)}, folder)
        except (IntakeError, OSError) as error:
            logger.info("There is no picture of mail %d: %s", mail.id, error)
        else:
            await self.keep(mail, into)

    async def keep(self, mail: Incoming, picture: Path) -> None:
        """Keep a picture, and let go of the oldest where there are too many; where that fails, the log says so.

        Args:
            mail: what brought it.
            picture: a PNG file; nothing is kept where there is none.
        """
        try:
            await run_sync(self._keep, self._path(mail), picture)
        except OSError as error:
            # A mail does not wait for its picture.
            logger.info("There is no picture of mail %d: %s", mail.id, error)

    def _keep(self, path: Path, picture: Path) -> None:
        octets = durable.read(picture, LARGEST)
        if octets is None:
            return
        durable.make_private_folder(self._folder)
        durable.replace(path, octets)
        kept = sorted(self._folder.glob("*.png"), key=lambda each: each.stat().st_mtime_ns)
        for each in kept[:-MOST]:
            durable.remove(each)

    def _path(self, mail: Incoming) -> Path:
        return self._folder / f"{mail.digest}.png"
