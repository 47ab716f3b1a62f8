"""Converts failures of the database to `OSError`, which the layers above handle as for files."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from psycopg import Error, InterfaceError, OperationalError, errors
from psycopg_pool import PoolClosed, PoolTimeout

from mailslot.errors import InputError
from mailslot.spool.errors import SpoolError, busy_error, full_error

if TYPE_CHECKING:
    from collections.abc import Generator

_FULL: Final = (errors.DiskFull, errors.OutOfMemory)
_BUSY: Final = (errors.LockNotAvailable, errors.QueryCanceled, errors.DeadlockDetected)
_ENDED: Final = (errors.IdleInTransactionSessionTimeout, errors.ReadOnlySqlTransaction)
"""The server has ended the connection, or is no longer the primary server."""
_TELLING: Final = (errors.InsufficientPrivilege, errors.UndefinedTable, errors.UndefinedFunction)
"""Errors whose text contains names of tables and roles, but no values."""
_UNREACHABLE: Final = "the database does not answer"


class DatabaseError(OSError):
    """The database cannot be reached, or refuses; `strerror` has the reason, as the end of a sentence."""


def is_unreachable(error: Exception) -> bool:
    """Return whether an error means that there is no connection to the database."""
    if isinstance(error, (InterfaceError, *_ENDED)):
        return True
    return isinstance(error, OperationalError) and not isinstance(error, (*_FULL, *_BUSY))


def is_busy(error: Exception) -> bool:
    """Return whether an error means that another transaction has not ended in time."""
    return isinstance(error, _BUSY)


@contextmanager
def as_os_error() -> Generator[None]:
    """Convert errors of the database to `DatabaseError`."""
    try:
        yield
    except Error as error:
        if isinstance(error, _FULL):
            number, reason = errno.ENOSPC, "the database's disk is full"
        elif isinstance(error, _BUSY):
            number, reason = errno.EBUSY, "another process does not finish"
        elif is_unreachable(error):
            number, reason = errno.EHOSTUNREACH, _UNREACHABLE
        else:
            number, reason = errno.EPROTO, "the database refuses it"
        # The text of an error may quote values of a row, so only its class is kept.
        raise DatabaseError(number, reason, type(error).__name__) from error


@contextmanager
def as_spool_error(device: str) -> Generator[None]:
    """Convert errors of the database to `SpoolError`, for the queue of a device."""
    try:
        with as_os_error():
            yield
    except DatabaseError as error:
        sentence, detail = f"The queue of {device} cannot be used: {error.strerror}.", str(error.filename)
        if error.errno == errno.ENOSPC:
            raise full_error(sentence, detail) from error
        if error.errno == errno.EBUSY:
            raise busy_error(sentence, detail) from error
        retryable = error.errno == errno.EHOSTUNREACH
        raise SpoolError(sentence, cause="spool_unwritable", retryable=retryable, detail=detail) from error


@contextmanager
def as_input_error() -> Generator[None]:
    """Convert errors of the database to `InputError`, for commands about the fleet."""
    try:
        with as_os_error():
            yield
    except DatabaseError as error:
        cause = error.__cause__
        reason = _connection_failure(cause) or error.strerror
        if isinstance(cause, _TELLING):
            reason = f"{reason}, {cause.diag.message_primary}"
        sentence = f"The fleet's database cannot be used: {reason}."
        raise InputError(sentence, stage="resolve", detail=str(error.filename)) from error


def _connection_failure(error: BaseException | None) -> str | None:
    """Return libpq's reason for a missing connection, which never contains the password."""
    if not isinstance(error, OperationalError) or isinstance(error, (PoolTimeout, PoolClosed)) or error.sqlstate:
        return None
    first, *_ = str(error).splitlines() or [""]
    return first.rpartition("failed: ")[2].removeprefix("FATAL:").strip() or None
