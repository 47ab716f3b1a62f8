"""The errors of a spool in a folder: of SQLite, and of a database or folder that is not there any more."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mailslot.spool.errors import DatabaseLostError, SpoolError, busy_error, full_error

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

# https://www.sqlite.org/rescode.html
_DATABASE_REASONS: Final = {
    sqlite3.SQLITE_READONLY: "the file system is read-only, or this user has no right to it",
    sqlite3.SQLITE_PERM: "this user has no right to it, so run mailslot as its owner",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_IOERR: "the disk reports a fault, or is full",
}
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


@contextmanager
def accessing_database(path: Path) -> Generator[None]:
    """Convert an error of the database at `path` to a `SpoolError`."""
    try:
        yield
    except sqlite3.Error as error:
        raise _database_error(path, error) from error


def is_damage(error: sqlite3.Error) -> bool:
    """Tell whether the database file is damaged."""
    return _code(error) in _DAMAGED


def is_full(error: sqlite3.Error) -> bool:
    """Tell whether the disk is full."""
    return _code(error) == sqlite3.SQLITE_FULL


def damaged_error(path: Path, detail: str) -> DatabaseLostError:
    """Return the error for a damaged database that cannot be replaced now."""
    return DatabaseLostError(
        f"The list of jobs in {path} is damaged. Stop every mailslot on this device and start it again: "
        "it then makes a new list from the messages, which are all kept.",
        cause="spool_unreadable",
        detail=detail,
    )


def folder_lost_error(folder: Path) -> DatabaseLostError:
    """Return the error for a spool whose folder was removed or renamed, or is on a disk that was unmounted."""
    return DatabaseLostError(
        f"The folder {folder} is not there any more: it was removed, renamed or unmounted. Bring it back, and then "
        "start mailslot again.",
        cause="spool_unreadable",
        detail="its path leads to another inode now, or to none",
    )


def log_lost_error(path: Path) -> DatabaseLostError:
    """Return the error for an open database whose log, a part of it, is another one or none now."""
    return DatabaseLostError(
        f"{path}, a part of the list of jobs, was removed or replaced while it was in use. Stop every mailslot on "
        "this device and start it again: the messages are all kept.",
        cause="spool_unreadable",
        detail="SQLite's log has another inode now, or none",
    )


def _database_error(path: Path, error: sqlite3.Error) -> SpoolError:
    code, detail = _code(error), f"{getattr(error, 'sqlite_errorname', type(error).__name__)}: {error}"
    if code in _DAMAGED:
        return damaged_error(path, detail)
    if code in _BUSY:
        return busy_error(f"{path} is in use by another process of mailslot, which does not finish.", detail)
    if code == sqlite3.SQLITE_FULL:
        return full_error(f"{path} cannot be written: the disk is full.", detail)
    reason = _DATABASE_REASONS.get(code, "the database refuses it")
    return SpoolError(f"{path} cannot be written: {reason}.", cause="spool_unwritable", detail=detail)


def _code(error: sqlite3.Error) -> int:
    # The low octet is the primary code, the rest the extended one.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
