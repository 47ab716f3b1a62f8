"""After a crash: what died on the way is put in order, and what nobody knows any more is removed.

`recover` is for whoever holds the delivery lock. `adopt` is for a database that had to be made anew: it makes rows of
the files, which for a job may be of one that was sent already.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from mailslot.spool import envelope, mail_rows, rows
from mailslot.spool.change import Change, change
from mailslot.spool.digest import MailDigest
from mailslot.spool.errors import writing
from mailslot.spool.files import PIECE, remove_abandoned
from mailslot.spool.job import UNFINISHED

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

    from mailslot.spool.database import Database
    from mailslot.spool.incoming import MailState

_SUFFIXES: Final = (".job", ".mail", ".new")

_FOUND_AGAIN: Final = (
    "The list of jobs was lost, and this one was found again by its message: it may have been sent already. "
    "Have it sent again if it has not arrived."
)
_MAIL_FOUND_AGAIN: Final = "The list of mails was lost, and this one was found again: it may have been handled already."
_GONE: Final = "The message is missing or incomplete in the spool, so it cannot be sent."
_MAIL_GONE: Final = "The mail is missing or incomplete in the spool, so it cannot be handled."


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was put in order.

    Attributes:
        requeued: the jobs that were being sent and are queued again.
        failed: the jobs whose message is gone.
        lost_mails: the mails whose file is gone, so that they are fetched again or set aside.
        files: how many files were removed that nobody knew.
        octets: what they held.
    """

    requeued: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()
    lost_mails: tuple[int, ...] = ()
    files: int = 0
    octets: int = 0


def recover(database: Database, folder: Path, clock: Callable[[], float]) -> Recovery:
    """Put the spool in order. Blocks.

    Raises:
        SpoolError: it could not be read or written.
    """
    with writing(folder):
        # Before the rows: what is written in the meantime is then in neither list.
        listed = {path.name: _size(path) for path in folder.iterdir() if path.name.endswith(_SUFFIXES)}
    sizes = {name: size for name, size in listed.items() if size is not None}
    done = change(database, folder, clock(), partial(_put_in_order, sizes, folder))
    known = database.examine(_known_files)
    removed = [_remove(database, folder / name) for name in sizes if name not in known]
    octets = [size for size in removed if size is not None]
    return replace(done, files=len(octets), octets=sum(octets))


def _put_in_order(sizes: dict[str, int], folder: Path, change: Change) -> Recovery:
    connection = change.connection

    def is_whole(file: str, size: int) -> bool:
        # A file that was not listed may be newer than the list.
        return (sizes[file] if file in sizes else _size(folder / file)) == size

    requeued: list[int] = []
    for row in connection.execute("SELECT * FROM jobs WHERE state = 'sending'").fetchall():
        job = rows.job_of(row)
        change.move("requeue", job, job)
        requeued.append(job.id)
    failed: list[int] = []
    for row in connection.execute("SELECT * FROM jobs WHERE file IS NOT NULL ORDER BY id").fetchall():
        if is_whole(row["file"], row["start"] + row["size"]):
            continue
        job = rows.job_of(row)
        if job.state in UNFINISHED - {"in_doubt"}:
            change.move("fail", job, replace(job, cause="spool_unreadable", sentence=_GONE, next_attempt=None))
        change.give_up_file(job.id)
        failed.append(job.id)
    lost: list[int] = []
    for row in connection.execute("SELECT id, file, size FROM mails WHERE file IS NOT NULL ORDER BY id").fetchall():
        if not is_whole(row["file"], row["size"]):
            _lose_mail(change, row["id"], folder)
            lost.append(row["id"])
    return Recovery(tuple(requeued), tuple(failed), tuple(lost))


def _lose_mail(change: Change, mail_id: int, folder: Path) -> None:
    """Have a mail fetched again where that can be, and set it aside elsewhere."""
    connection = change.connection
    mail_rows.give_up_file(change, mail_id)
    mail = mail_rows.load(connection, folder, mail_id)
    links = connection.execute("SELECT deleted FROM uids WHERE mail = ?", (mail_id,)).fetchall()
    if mail.state == "fetched" and mail.tries == 0 and any(not row["deleted"] for row in links):
        connection.execute("UPDATE uids SET mail = NULL WHERE mail = ?", (mail_id,))
        connection.execute("DELETE FROM mails WHERE id = ?", (mail_id,))
    else:
        state: MailState = "done" if mail.state == "done" else "set_aside"
        mail_rows.update(connection, mail_id, change.now, state=state, reason=_MAIL_GONE, tries=mail.tries)


def _known_files(connection: sqlite3.Connection) -> set[str]:
    query = "SELECT file FROM jobs WHERE file IS NOT NULL UNION SELECT file FROM mails WHERE file IS NOT NULL"
    return {row["file"] for row in connection.execute(query)}


def _remove(database: Database, path: Path) -> int | None:
    def is_known(name: str) -> bool:
        query = "SELECT 1 FROM jobs WHERE file = ? UNION ALL SELECT 1 FROM mails WHERE file = ?"
        return database.examine(lambda c: c.execute(query, (name, name)).fetchone()) is not None

    with writing(path):
        return remove_abandoned(path, is_known)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def adopt(folder: Path, clock: Callable[[], float], connection: sqlite3.Connection) -> int:
    """Make rows of all files, none of which anybody is writing; return how many. Blocks.

    A file that cannot be understood gets another name, so that nothing removes it.

    Raises:
        OSError: a file could not be read.
    """
    found = 0
    for path in sorted(folder.iterdir(), key=lambda path: (path.stat().st_mtime, path.name)):
        try:
            if path.suffix == ".job":
                _adopt_job(connection, path, clock())
            elif path.suffix == ".mail":
                _adopt_mail(connection, path, clock())
            else:
                continue
        except ValueError:
            path.rename(path.with_name(f"{path.name}.damaged"))
        else:
            found += 1
    return found


def _adopt_job(connection: sqlite3.Connection, path: Path, now: float) -> None:
    with path.open("rb") as file:
        found = envelope.parse(file.readline(envelope.LONGEST))
    if path.stat().st_size != found.length + found.size:
        raise ValueError("the message is incomplete")
    job = rows.load(connection, rows.insert(connection, found, file=path.name, now=now))
    rows.store(connection, replace(job, state="in_doubt", cause="spool_unreadable", sentence=_FOUND_AGAIN))


def _adopt_mail(connection: sqlite3.Connection, path: Path, now: float) -> None:
    digest = MailDigest()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    _, record, _ = path.name.split(".")
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
