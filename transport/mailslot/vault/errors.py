"""The errors of the vault, each with one sentence that says what to do."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mailslot.errors import MailError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

_REASONS: Final = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than allowed",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "this user has no right to it, so run mailslot as its owner",
    errno.EPERM: "this user has no right to it, so run mailslot as its owner",
    errno.EIO: "the disk reports a fault",
}

_FOR_A_WHILE: Final = {
    errno.EHOSTUNREACH: "token_store_unreachable",
    errno.EBUSY: "token_store_busy",
    errno.EMFILE: "token_store_busy",
    errno.ENFILE: "token_store_busy",
    errno.ENOMEM: "token_store_busy",
}
"""What passes: what the database of a fleet says (`mailslot.fleet.postgres.errors`), and what a machine is short of."""


class VaultError(MailError):
    """The vault could not be read, written or locked; its contents are unharmed.

    Its cause is `token_store_unreadable`, `token_store_unreachable`, `token_store_unwritable` or `token_store_busy`.
    """

    def __init__(self, message: str, *, cause: str, retryable: bool = False, detail: str = "") -> None:
        super().__init__(message, stage="token", cause=cause, retryable=retryable, detail=detail)


class LostHomeError(VaultError):
    """Nothing can be written to the home any more: another process has taken it over, or it was removed."""


def unreadable_error(message: str, detail: str) -> VaultError:
    """Return the error for a key or a record that exists and cannot be used."""
    return VaultError(message, cause="token_store_unreadable", detail=detail)


def unwritable_error(message: str, detail: str = "") -> VaultError:
    """Return the error for a change that could not be written."""
    return VaultError(message, cause="token_store_unwritable", detail=detail)


def read_error(name: object, error: OSError) -> VaultError:
    """Return the error for what cannot be read: for good, or, where it is in a database, at the moment."""
    cause = _FOR_A_WHILE.get(error.errno or 0, "token_store_unreadable")
    sentence = f"{name} cannot be read: {reason_of(error)}."
    return VaultError(sentence, cause=cause, retryable=cause != "token_store_unreadable", detail=str(error))


@contextmanager
def reading(path: Path) -> Generator[None]:
    """Convert an `OSError` while reading `path`; see `read_error`."""
    try:
        yield
    except OSError as error:
        raise read_error(path, error) from error


@contextmanager
def writing(path: Path) -> Generator[None]:
    """Convert an `OSError` while writing `path` to `token_store_unwritable`."""
    try:
        yield
    except OSError as error:
        raise unwritable_error(f"{path} cannot be written: {reason_of(error)}.", str(error)) from error


def reason_of(error: OSError) -> str:
    """Return why a file could not be read or written, as the end of a sentence."""
    return _REASONS.get(error.errno or 0) or error.strerror or type(error).__name__
