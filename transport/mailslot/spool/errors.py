"""The errors of the spool, each with one sentence that says what to do."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mailslot.errors import MailError
from mailslot.vault.errors import reason_of

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class SpoolError(MailError):
    """The spool could not be read, written or locked; what was accepted before is unharmed.

    Its cause is `spool_full`, `spool_unwritable`, `spool_unreadable` or `spool_busy`.
    """

    def __init__(self, message: str, *, cause: str, retryable: bool = False, detail: str = "") -> None:
        super().__init__(message, stage="spool", cause=cause, retryable=retryable, detail=detail)


class DatabaseLostError(SpoolError):
    """The open database was removed, replaced or damaged; reopening the spool recreates it from the message files."""


def full_error(message: str, detail: str = "") -> SpoolError:
    """Return the error for a full spool or disk."""
    return SpoolError(message, cause="spool_full", retryable=True, detail=detail)


def unreadable_error(message: str, detail: str = "") -> SpoolError:
    """Return the error for something that exists and cannot be read."""
    return SpoolError(message, cause="spool_unreadable", detail=detail)


def busy_error(message: str, detail: str = "") -> SpoolError:
    """Return the error for something that another process has locked."""
    return SpoolError(message, cause="spool_busy", retryable=True, detail=detail)


@contextmanager
def writing(path: Path) -> Generator[None]:
    """Convert an `OSError` while writing `path` to `spool_full` or `spool_unwritable`."""
    try:
        yield
    except OSError as error:
        sentence = f"{path} cannot be written: {reason_of(error)}."
        if error.errno in _FULL:
            raise full_error(sentence, str(error)) from error
        raise SpoolError(sentence, cause="spool_unwritable", detail=str(error)) from error


@contextmanager
def reading(path: Path) -> Generator[None]:
    """Convert an `OSError` while reading `path` to `spool_unreadable`."""
    try:
        yield
    except OSError as error:
        raise unreadable_error(f"{path} cannot be read: {reason_of(error)}.", str(error)) from error
