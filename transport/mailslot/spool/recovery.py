"""Recovery after a crash: requeue interrupted jobs, fail those without a message, and remove unregistered files.

It needs the delivery lock. Files that were registered in another database, such as before an older copy was restored,
are adopted rather than removed.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from mailslot.spool import job_rows, mail_rows, transitions
from mailslot.spool.adoption import DAMAGED, adopt_file
from mailslot.spool.copied_spool import fail_copied_jobs
from mailslot.spool.errors import writing
from mailslot.spool.files import is_marked_registered, mark_registered, remove_abandoned
from mailslot.spool.job import UNFINISHED
from mailslot.spool.transaction import SpoolTransaction, run_transaction

if TYPE_CHECKING:
    import os
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

    from mailslot.oauth.location import Location
    from mailslot.spool.database import Database
    from mailslot.spool.incoming import MailState

_SUFFIXES: Final = (".job", ".mail", ".new", f".job{DAMAGED}")

_GONE: Final = transitions.AttemptFailure(
    "spool_unreadable", "The message is missing or incomplete in the spool, so it cannot be sent."
)
_MAIL_GONE: Final = "The mail is missing or incomplete in the spool, so it cannot be handled."


@dataclass(frozen=True, slots=True)
class Recovery:
    """The result of a recovery.

    Attributes:
        requeued: the jobs that were being sent and are queued again.
        failed: the jobs whose message is missing or incomplete.
        copied: the jobs that failed because the spool is a copy; they may be sent from the original.
        lost_mails: the mails whose file is missing or incomplete; they are fetched again or set aside.
        found: how many files were adopted that had been registered in another database.
        files: how many unregistered files were removed.
        octets: their total size.
    """

    requeued: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()
    copied: tuple[int, ...] = ()
    lost_mails: tuple[int, ...] = ()
    found: int = 0
    files: int = 0
    octets: int = 0


def recover(database: Database, folder: Path, clock: Callable[[], float], here: Location) -> Recovery:
    """Recover the spool, which is at `here`. Blocks.

    Raises:
        SpoolError: it could not be read or written.
    """
    with writing(folder):
        # List the files before reading the rows, so that files written meanwhile are in neither list.
        sizes, marked = _list_files(folder)
    result = run_transaction(database, folder, clock(), partial(_put_in_order, sizes, folder, here))
    known = database.read_blocking(_known_files)
    for name in (known & sizes.keys()) - marked:
        # Its writer died before it marked the file, or was an older version that did not mark files.
        mark_registered(folder / name)
    found: list[Path] = []

    def adopt(path: Path, state: os.stat_result) -> bool:
        adopted = database.write_blocking(lambda connection: adopt_file(connection, path, state, clock()))
        found.extend([path] if adopted else [])
        return adopted

    removed = [_remove_unregistered(database, folder / name, adopt) for name in sizes if name not in known]
    octets = [size for size in removed if size is not None]
    return replace(result, found=len(found), files=len(octets), octets=sum(octets))


def _list_files(folder: Path) -> tuple[dict[str, int], set[str]]:
    """Return the sizes of all files of messages, and the names of those that are marked as registered."""
    sizes: dict[str, int] = {}
    marked: set[str] = set()
    for path in folder.iterdir():
        if path.name.endswith(_SUFFIXES) and (state := _stat(path)) is not None:
            sizes[path.name] = state.st_size
            if is_marked_registered(state):
                marked.add(path.name)
    return sizes, marked


def _put_in_order(sizes: dict[str, int], folder: Path, here: Location, transaction: SpoolTransaction) -> Recovery:
    connection = transaction.connection

    def is_whole(file: str, size: int) -> bool:
        # A file that is not listed may be newer than the list.
        return (sizes[file] if file in sizes else _size(folder / file)) == size

    requeued: list[int] = []
    for row in connection.execute("SELECT id, state FROM jobs WHERE state = 'sending' OR delivering").fetchall():
        transaction.step(row["id"], transitions.reclaim)
        if row["state"] == "sending":
            requeued.append(row["id"])
    copied = fail_copied_jobs(transaction, here)
    failed: list[int] = []
    rows = connection.execute("SELECT id, file, start, size FROM jobs WHERE file IS NOT NULL ORDER BY id")
    # There may be thousands; those that are not whole are few.
    for row in [row for row in rows if not is_whole(row["file"], row["start"] + row["size"])]:
        job = job_rows.load(connection, row["id"])
        if job.state in UNFINISHED - {"in_doubt"}:
            transaction.store(transitions.fail(job, transaction.now, _GONE))
        if not _keep_damaged_file(transaction, folder / row["file"], job.id):
            transaction.release_file(job.id)
        failed.append(job.id)
    lost: list[int] = []
    rows = connection.execute("SELECT id, file, size FROM mails WHERE file IS NOT NULL ORDER BY id")
    for row in [row for row in rows if not is_whole(row["file"], row["size"])]:
        _lose_mail(transaction, row["id"], folder)
        lost.append(row["id"])
    requeued = [job for job in requeued if job not in copied]
    return Recovery(tuple(requeued), tuple(failed), copied, tuple(lost))


def _keep_damaged_file(transaction: SpoolTransaction, path: Path, job_id: int) -> bool:
    """Rename a damaged file, to be kept as long as those of failed jobs; return False if there is no file."""
    kept = path if path.suffix == DAMAGED else path.with_name(f"{path.name}{DAMAGED}")
    with suppress(FileNotFoundError):
        path.rename(kept)
    if (size := _size(kept)) is None:
        return False
    transaction.connection.execute(
        "UPDATE jobs SET file = ?, start = 0, size = ? WHERE id = ?", (kept.name, size, job_id)
    )
    return True


def _lose_mail(transaction: SpoolTransaction, mail_id: int, folder: Path) -> None:
    """Have a mail fetched again if possible; otherwise set it aside."""
    connection = transaction.connection
    mail_rows.release_file(transaction, mail_id)
    mail = mail_rows.load(connection, folder, mail_id)
    links = connection.execute("SELECT deleted FROM uids WHERE mail = ?", (mail_id,)).fetchall()
    if mail.state == "fetched" and mail.tries == 0 and any(not row["deleted"] for row in links):
        connection.execute("UPDATE uids SET mail = NULL WHERE mail = ?", (mail_id,))
        connection.execute("DELETE FROM mails WHERE id = ?", (mail_id,))
    else:
        state: MailState = "done" if mail.state == "done" else "set_aside"
        mail_rows.update(connection, mail_id, transaction.now, state=state, reason=_MAIL_GONE, tries=mail.tries)


def _known_files(connection: sqlite3.Connection) -> set[str]:
    query = "SELECT file FROM jobs WHERE file IS NOT NULL UNION SELECT file FROM mails WHERE file IS NOT NULL"
    return {row["file"] for row in connection.execute(query)}


def _remove_unregistered(database: Database, path: Path, adopt: Callable[[Path, os.stat_result], bool]) -> int | None:
    def is_known(name: str) -> bool:
        query = "SELECT 1 FROM jobs WHERE file = ? UNION ALL SELECT 1 FROM mails WHERE file = ?"
        return database.read_blocking(lambda c: c.execute(query, (name, name)).fetchone()) is not None

    with writing(path):
        return remove_abandoned(path, is_known, adopt)


def _size(path: Path) -> int | None:
    state = _stat(path)
    return None if state is None else state.st_size


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None
