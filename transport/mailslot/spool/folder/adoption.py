"""Adoption: inserting rows for existing files, after the database was lost or replaced by an older copy.

Such a job may have been sent already, so it becomes `in_doubt`. If its file is damaged it becomes `failed`, and what is
left of the file is kept under another name.
"""

from __future__ import annotations

import errno
import json
import re
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from mailslot.spool import job_envelope
from mailslot.spool.folder.files import PIECE_SIZE, is_marked_registered, list_files, mark_registered
from mailslot.spool.incoming import NewMail
from mailslot.spool.job import NewJob
from mailslot.spool.mail_digest import MailDigest
from mailslot.spool.storage import AdoptionResult

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from pathlib import Path

    from mailslot.spool.repositories import Repositories

DAMAGED: Final = ".damaged"
"""The suffix that is added to the name of a damaged file."""

_SUFFIXES: Final = (".job", f".job{DAMAGED}", ".mail")

UNKNOWN: Final = "unknown"
"""The pipeline of a job whose envelope cannot be read."""

_FOUND_AGAIN: Final = (
    "The list of jobs was lost, and this one was found again by its message: it may have been sent already. "
    "Have it sent again if it has not arrived."
)
_DAMAGED: Final = (
    "The list of jobs was lost, and the message of this one is damaged, so that it cannot be sent. What is left of it "
    "is {path}."
)
_MAIL_NAME: Final = re.compile(r"[^.]+\.((?:account\.)?[^.]+)\.mail")
"""The name of a mail's file: any word, the record, and the suffix."""

_MAIL_FOUND_AGAIN: Final = "The list of mails was lost, and this one was found again: it may have been handled already."


def adopt_all(folder: Path, clock: Callable[[], float], repositories: Repositories) -> AdoptionResult:
    """Insert rows for all files of jobs and mails; none may be being written. Blocks.

    Raises:
        OSError: a file could not be read.
    """
    found = damaged = 0
    for path, _ in sorted(list_files(folder, _SUFFIXES), key=lambda each: (each[1].st_mtime, each[0].name)):
        if path.suffix != ".mail":
            if _adopt_job(repositories, path, clock()):
                found += 1
            else:
                damaged += 1
        else:
            found += _adopt_mail(repositories, path, clock())
    return AdoptionResult(found, damaged)


def adopt_file(repositories: Repositories, path: Path, state: os.stat_result, now: float) -> bool:
    """Insert a row for a file that was registered in another database; return whether there is one now. Blocks.

    Args:
        repositories: the database, in a transaction; it has no row for the file.
        path: the file, which is not being written.
        state: its status.
        now: the current time.

    Raises:
        OSError: the file could not be read.
    """
    if not is_marked_registered(state) and path.suffix != DAMAGED:
        return False
    if path.suffix in {".job", DAMAGED}:
        _adopt_job(repositories, path, now)
        return True
    return path.suffix == ".mail" and _adopt_mail(repositories, path, now)


def _adopt_job(repositories: Repositories, path: Path, now: float) -> bool:
    """Insert a job for a file; return False if the file is damaged."""
    try:
        found = _read(path)
    except (ValueError, OSError) as error:
        if isinstance(error, OSError) and not _is_disk_fault(error):
            raise
        _adopt_damaged(repositories, path, now)
        return False
    job = repositories.jobs.insert(found, file=path.name, now=now)
    found_again = replace(job, state="in_doubt", cause="spool_unreadable", sentence=_FOUND_AGAIN, next_attempt=None)
    repositories.jobs.store(found_again)
    mark_registered(path)
    return True


def _is_disk_fault(error: OSError) -> bool:
    """Return whether the disk cannot read a file, which must not keep all others from being found.

    Other errors pass, such as a lack of rights or descriptors.
    """
    return error.errno in {errno.EIO, errno.EBADMSG, errno.EUCLEAN}


def _read(path: Path) -> job_envelope.JobEnvelope:
    if path.suffix == DAMAGED or not path.exists():
        raise ValueError("it was damaged when it was found before")
    with path.open("rb") as file:
        found = job_envelope.parse(file.readline(job_envelope.MAX_LINE))
    if path.stat().st_size != found.line_length + found.size:
        raise ValueError("the message is incomplete")
    return found


def _adopt_damaged(repositories: Repositories, path: Path, now: float) -> None:
    """Insert a failed job for a damaged file."""
    kept = path if path.suffix == DAMAGED else path.with_name(f"{path.name}{DAMAGED}")
    # First of all: after a crash the file is found by that name.
    if path.exists():
        path.rename(kept)
    state = kept.stat()
    try:
        with kept.open("rb") as file:
            line = file.readline(job_envelope.MAX_LINE)
    except OSError as error:
        if not _is_disk_fault(error):
            raise
        line = b""
    new = _salvage(line)
    # Without its key, so that the same message can be accepted again.
    found = job_envelope.JobEnvelope(
        new, state.st_size, eight_bit=False, smtputf8=False, created_at=state.st_mtime, lifetime=1
    )
    job = repositories.jobs.insert(found, file=kept.name, now=now)
    sentence = _DAMAGED.format(path=kept)
    repositories.jobs.store(replace(job, state="failed", cause="spool_unreadable", sentence=sentence, expires_at=None))


def _salvage(line: bytes) -> NewJob:
    """Return what can be read of an envelope that may be truncated or garbled."""
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


def _digest(path: Path) -> MailDigest:
    """Return the digest of a mail; that of its name where the disk cannot read it."""
    digest = MailDigest()
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE_SIZE):
                digest.update(piece)
    except OSError as error:
        if not _is_disk_fault(error):
            raise
        digest = MailDigest()
        digest.update(path.name.encode())
    return digest


def _adopt_mail(repositories: Repositories, path: Path, now: float) -> bool:
    """Insert a mail for a file, set aside for a person; return False for a duplicate or a file of an unknown name."""
    name = _MAIL_NAME.fullmatch(path.name)
    if name is None:
        # Not one of our file names. Under another suffix, nothing removes it.
        path.rename(path.with_name(f"{path.name}{DAMAGED}"))
        return False
    record = name[1]
    digest = _digest(path)
    if repositories.mails.find_by_digest(record, digest.hexdigest()) is not None:
        return False
    size = path.stat().st_size
    repositories.mails.insert(
        NewMail(record, "", path.name, size, digest.hexdigest(), state="set_aside", reason=_MAIL_FOUND_AGAIN), now
    )
    mark_registered(path)
    return True
