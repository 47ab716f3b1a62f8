"""Recovery after a crash: requeue interrupted jobs, fail those without a message, and remove unregistered files.

It needs the delivery lock. Files that were registered in another database, such as before an older copy was restored,
are adopted rather than removed.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from mailslot.spool import transitions
from mailslot.spool.errors import writing
from mailslot.spool.folder.adoption import DAMAGED, adopt_file
from mailslot.spool.folder.copied_spool import fail_copied_jobs
from mailslot.spool.folder.files import (
    is_marked_registered,
    list_files,
    mark_registered,
    remove_abandoned,
    status_of,
)
from mailslot.spool.job import UNFINISHED
from mailslot.spool.recovery import Recovery
from mailslot.spool.transaction import SpoolTransaction, run_transaction

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from pathlib import Path

    from mailslot.oauth.location import Location
    from mailslot.spool.incoming import MailState
    from mailslot.spool.storage import Storage

_SUFFIXES: Final = (".job", ".mail", ".new", f".job{DAMAGED}")

_GONE: Final = transitions.AttemptFailure(
    "spool_unreadable", "The message is missing or incomplete in the spool, so it cannot be sent."
)
_MAIL_GONE: Final = "The mail is missing or incomplete in the spool, so it cannot be handled."


def recover(storage: Storage, folder: Path, clock: Callable[[], float], here: Location) -> Recovery:
    """Recover the spool, which is at `here`. Blocks.

    Raises:
        SpoolError: it could not be read or written.
    """
    with writing(folder):
        # List the files before reading the rows, so that files written meanwhile are in neither list.
        sizes, marked = _list_files(folder)
    result = run_transaction(storage, clock(), partial(_put_in_order, sizes, folder, here))
    known = storage.read_blocking(lambda repositories: repositories.files())
    for name in (known & sizes.keys()) - marked:
        # Its writer died before it marked the file.
        mark_registered(folder / name)
    found: list[Path] = []

    def adopt(path: Path, state: os.stat_result) -> bool:
        adopted = storage.write_blocking(lambda repositories: adopt_file(repositories, path, state, clock()))
        found.extend([path] if adopted else [])
        return adopted

    removed = [_remove_unregistered(storage, folder / name, adopt) for name in sizes if name not in known]
    octets = [size for size in removed if size is not None]
    return replace(result, found=len(found), files=len(octets), octets=sum(octets))


def _list_files(folder: Path) -> tuple[dict[str, int], set[str]]:
    """Return the sizes of all files of messages, and the names of those that are marked as registered."""
    sizes: dict[str, int] = {}
    marked: set[str] = set()
    for path, state in list_files(folder, _SUFFIXES):
        sizes[path.name] = state.st_size
        if is_marked_registered(state):
            marked.add(path.name)
    return sizes, marked


def _put_in_order(sizes: dict[str, int], folder: Path, here: Location, transaction: SpoolTransaction) -> Recovery:
    def is_whole(file: str, size: int) -> bool:
        # A file that is not listed may be newer than the list.
        return (sizes[file] if file in sizes else _size(folder / file)) == size

    requeued = transaction.reclaim_jobs()
    copied = fail_copied_jobs(transaction, here)
    failed: list[int] = []
    # There may be thousands; those that are not whole are few.
    for place in [each for each in transaction.jobs.with_files() if not is_whole(each.file, each.start + each.size)]:
        job = transaction.jobs.load(place.job)
        if job.state in UNFINISHED - {"in_doubt"}:
            transaction.store(transitions.fail(job, transaction.now, _GONE))
        if not _keep_damaged_file(transaction, folder / place.file, job.id):
            transaction.release_message(job.id)
        failed.append(job.id)
    lost: list[int] = []
    for mail_id in [mail for mail, file, size in transaction.mails.with_files() if not is_whole(file, size)]:
        _lose_mail(transaction, mail_id)
        lost.append(mail_id)
    requeued = [job for job in requeued if job not in copied]
    return Recovery(tuple(requeued), tuple(failed), copied, tuple(lost))


def _keep_damaged_file(transaction: SpoolTransaction, path: Path, job_id: int) -> bool:
    """Rename a damaged file, to be kept as long as those of failed jobs; return False if there is no file."""
    kept = path if path.suffix == DAMAGED else path.with_name(f"{path.name}{DAMAGED}")
    with suppress(FileNotFoundError):
        path.rename(kept)
    if (size := _size(kept)) is None:
        return False
    transaction.jobs.set_file(job_id, kept.name, size=size)
    return True


def _lose_mail(transaction: SpoolTransaction, mail_id: int) -> None:
    """Have a mail fetched again if possible; otherwise set it aside."""
    transaction.release_mail(mail_id)
    mail = transaction.mails.load(mail_id)
    if mail.state == "fetched" and mail.tries == 0 and transaction.mails.is_fetchable(mail_id):
        transaction.mails.delete(mail_id)
    else:
        state: MailState = "done" if mail.state == "done" else "set_aside"
        transaction.mails.update(mail_id, transaction.now, state=state, reason=_MAIL_GONE, tries=mail.tries)


def _remove_unregistered(storage: Storage, path: Path, adopt: Callable[[Path, os.stat_result], bool]) -> int | None:
    def is_known(name: str) -> bool:
        return storage.read_blocking(lambda repositories: repositories.refers_to(name))

    with writing(path):
        return remove_abandoned(path, is_known, adopt)


def _size(path: Path) -> int | None:
    state = status_of(path)
    return None if state is None else state.st_size
