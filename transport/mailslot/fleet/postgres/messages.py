"""The messages of jobs and mails in PostgreSQL, in pieces.

A message is received into an unnamed file on this machine, and written in the transaction that registers it. So the
message and its row are stored together or not at all, and a process that dies leaves nothing behind.
"""

from __future__ import annotations

import os
import secrets
import tempfile
import threading
from typing import TYPE_CHECKING, Final

from mailslot.fleet.postgres.rows import DeviceRows
from mailslot.spool.errors import writing

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import IO

    from mailslot.fleet.postgres.local_messages import LocalMessages

PIECE_SIZE: Final = 262_144
"""Octets of a piece."""


class CollectedMessage:
    """A message that is being received; see `mailslot.spool.storage.MessageFile`.

    Args:
        folder: the folder for its file.
        suffix: the end of its name.
    """

    def __init__(self, folder: LocalMessages, suffix: str) -> None:
        self._folder = folder
        self._mutex = threading.Lock()
        self._file: IO[bytes] | None = None
        self.name: Final = f"{secrets.token_hex(16)}{suffix}"
        self.size = 0
        self.closed = False

    def write(self, data: bytes) -> None:
        """Append octets.

        Raises:
            SpoolError: they cannot be written.
        """
        with self._mutex, writing(self._folder.path):
            file = self._open()
            file.seek(0, os.SEEK_END)
            file.write(data)
            self.size += len(data)

    def write_at_start(self, data: bytes) -> None:
        """Overwrite octets at the start of the message.

        Raises:
            SpoolError: they cannot be written.
        """
        with self._mutex, writing(self._folder.path):
            file = self._open()
            file.seek(0)
            file.write(data)

    def pieces(self) -> Generator[bytes]:
        """Yield all octets, in pieces; no other method can be used until the iterator is closed.

        Raises:
            SpoolError: they cannot be read.
        """
        with self._mutex, writing(self._folder.path):
            file = self._open()
            file.seek(0)
            while piece := file.read(PIECE_SIZE):
                yield piece

    def discard(self) -> None:
        """Remove it; waits for a `pieces` in another thread."""
        with self._mutex:
            self.closed = True
            if self._file is not None:
                self._file.close()
                self._file = None

    def _open(self) -> IO[bytes]:
        if self.closed:
            raise RuntimeError("the file is closed")
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder.provide())  # noqa: SIM115 - `discard` closes it
        return self._file


class PostgresMessages(DeviceRows):
    """The messages of a device, in a transaction."""

    def insert(self, file: str, pieces: Iterator[bytes]) -> None:
        """Insert a message."""
        for number, octets in enumerate(pieces):
            self.execute(
                "INSERT INTO messages (tenant, device, file, piece, octets) VALUES (%(tenant)s, %(device)s, %(file)s, "
                "%(piece)s, %(octets)s)",
                file=file,
                piece=number,
                octets=octets,
            )

    def piece(self, file: str, number: int) -> bytes | None:
        """Return a piece; None if there is none."""
        return self.octets(
            "SELECT octets FROM messages WHERE device = %(device)s AND file = %(file)s AND piece = %(piece)s",
            file=file,
            piece=number,
        )

    def exists(self, file: str) -> bool:
        """Tell whether there is a message of this name."""
        query = "SELECT 1 FROM messages WHERE device = %(device)s AND file = %(file)s LIMIT 1"
        return self.one(query, file=file) is not None

    def delete(self, file: str) -> None:
        """Delete a message."""
        self.execute("DELETE FROM messages WHERE device = %(device)s AND file = %(file)s", file=file)
