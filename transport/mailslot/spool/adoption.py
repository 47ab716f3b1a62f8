"""Rows of the database made of files: where the database is lost, or another one knew the files.

A job may then have been sent already, so that it is in doubt; one whose file is damaged has failed, and what is left of
it is kept under another name.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mailslot.spool import envelope, mail_rows, rows
from mailslot.spool.database import Adopted
from mailslot.spool.digest import MailDigest
from mailslot.spool.files import PIECE, is_marked_known, mark_known
from mailslot.spool.job import NewJob

if TYPE_CHECKING:
    import os
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

DAMAGED: Final = ".damaged"
"""What is added to the name of a file that cannot be used any more."""

UNKNOWN: Final = "unknown"
"""The pipeline of a job of whose envelope too little is left."""

_FOUND_AGAIN: Final = (
    "The list of jobs was lost, and this one was found again by its message: it may have been sent already. "
    "Have it sent again if it has not arrived."
)
_DAMAGED: Final = (
    "The list of jobs was lost, and the message of this one is damaged, so that it cannot be sent. What is left of it "
    "is {path}."
)
_MAIL_FOUND_AGAIN: Final = "The list of mails was lost, and this one was found again: it may have been handled already."


class Loss(NamedTuple):
    """A list of jobs that was lost.

    Attributes:
        at: when a new one was made.
        found: how many jobs and mails were found again by their files.
        damaged: how many jobs are damaged, each of which has failed.
    """

    at: float
    found: int
    damaged: int


def losses(connection: sqlite3.Connection) -> list[Loss]:
    """Return when the list of jobs was lost, oldest first."""
    return [Loss(*row) for row in connection.execute("SELECT at, found, damaged FROM losses ORDER BY at")]


def adopt_all(folder: Path, clock: Callable[[], float], connection: sqlite3.Connection) -> Adopted:
    """Make rows of all files of jobs and mails, none of which anybody is writing. Blocks.

    Raises:
        OSError: a file could not be read.
    """
    found = damaged = 0
    for path in sorted(folder.iterdir(), key=lambda path: (path.stat().st_mtime, path.name)):
        kind = path.name.removesuffix(DAMAGED).rpartition(".")[2]
        if kind == "job":
            if _adopt_job(connection, path, clock()):
                found += 1
            else:
                damaged += 1
        elif path.suffix == ".mail":
            found += _adopt_mail(connection, path, clock())
    return Adopted(found, damaged)


def adopt_file(connection: sqlite3.Connection, path: Path, state: os.stat_result, now: float) -> bool:
    """Make a row of a file that another database has known; return whether there is one now. Blocks.

    Args:
        connection: the database, which does not know the file, in a transaction.
        path: the file, which nobody is writing.
        state: its state.
        now: the time.

    Raises:
        OSError: the file could not be read.
    """
    if not is_marked_known(state) and path.suffix != DAMAGED:
        return False
    if path.suffix in {".job", DAMAGED}:
        _adopt_job(connection, path, now)
        return True
    return path.suffix == ".mail" and _adopt_mail(connection, path, now)


def _adopt_job(connection: sqlite3.Connection, path: Path, now: float) -> bool:
    """Make a job of a file; return whether it is whole."""
    try:
        found = _read(path)
    except ValueError:
        _adopt_damaged(connection, path, now)
        return False
    job = rows.load(connection, rows.insert(connection, found, file=path.name, now=now))
    rows.store(connection, replace(job, state="in_doubt", cause="spool_unreadable", sentence=_FOUND_AGAIN))
    mark_known(path)
    return True


def _read(path: Path) -> envelope.Envelope:
    if path.suffix == DAMAGED or not path.exists():
        raise ValueError("it was damaged when it was found before")
    with path.open("rb") as file:
        found = envelope.parse(file.readline(envelope.LONGEST))
    if path.stat().st_size != found.length + found.size:
        raise ValueError("the message is incomplete")
    return found


def _adopt_damaged(connection: sqlite3.Connection, path: Path, now: float) -> None:
    """Make a job that has failed of what is left of a file."""
    kept = path if path.suffix == DAMAGED else path.with_name(f"{path.name}{DAMAGED}")
    # First of all: wherever this breaks off, the file is found again by that name.
    if path.exists():
        path.rename(kept)
    state = kept.stat()
    with kept.open("rb") as file:
        new = _salvaged(file.readline(envelope.LONGEST))
    # Without its key: whoever accepts the same once more must not be told that it is there.
    found = envelope.Envelope(
        new, state.st_size, eight_bit=False, smtputf8=False, created_at=state.st_mtime, lifetime=1
    )
    job = rows.load(connection, rows.insert(connection, found, file=kept.name, now=now))
    sentence = _DAMAGED.format(path=kept)
    rows.store(connection, replace(job, state="failed", cause="spool_unreadable", sentence=sentence, expires_at=None))


def _salvaged(line: bytes) -> NewJob:
    """Return what can be read of an envelope that may be cut short, or be none."""
    text = line.decode("ascii", "replace")
    found: dict[str, Any] = {}
    for name, kind in (("pipeline", str), ("via", str), ("sender", str), ("subject", str), ("recipients", list)):
        begin, middle, rest = text.partition(f'"{name}": ')
        with suppress(ValueError, RecursionError):
            value, _ = json.JSONDecoder().raw_decode(rest) if middle and begin else (None, 0)
            if isinstance(value, kind):
                found[name] = value
    recipients = [each for each in found.get("recipients", []) if isinstance(each, str)]
    return NewJob(
        found.get("pipeline") or UNKNOWN,
        found.get("via", ""),
        found.get("sender", ""),
        recipients,
        found.get("subject", ""),
    )


def _adopt_mail(connection: sqlite3.Connection, path: Path, now: float) -> bool:
    """Make a mail of a file, for a person; return whether there is one now, and was none of its octets before."""
    try:
        _, record, _ = path.name.split(".")
    except ValueError:
        # It has no name that mailslot gives. By another one, nothing removes it.
        path.rename(path.with_name(f"{path.name}{DAMAGED}"))
        return False
    digest = MailDigest()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    if mail_rows.by_digest(connection, record, digest.hexdigest()) is not None:
        return False
    mail_rows.insert(
        connection,
        record,
        "",
        file=path.name,
        size=path.stat().st_size,
        digest=digest.hexdigest(),
        state="set_aside",
        reason=_MAIL_FOUND_AGAIN,
        now=now,
    )
    mark_known(path)
    return True
