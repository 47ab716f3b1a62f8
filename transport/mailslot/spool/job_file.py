"""A job whose message arrives as a stream, with a size that nobody knows before its end.

Its file begins with the job's envelope, in which the message's size stands. So where a part of the message is written
before its end has come, room is left for that line, which is written last; blanks fill the room that it does not need.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
from anyio.to_thread import run_sync

from mailslot.errors import InputError
from mailslot.spool.acceptance import DuplicateKeyError
from mailslot.spool.job_envelope import JobEnvelope, check_new_job

if TYPE_CHECKING:
    from mailslot.spool.acceptance import Acceptance, EarlierKey
    from mailslot.spool.job import Job, NewJob

_PIECE_SIZE: Final = 262_144
"""Octets of a message that are written at once while few messages are being received."""

_SMALL_PIECE_SIZE: Final = 16_384
_MAX_UNWRITTEN: Final = 2 * 1024 * 1024
"""Octets of all messages that may wait to be written before smaller pieces are written."""

_CHECK_INTERVAL: Final = 16 * 1024 * 1024
"""Octets after which the free space is checked again."""

_LARGEST: Final = 10**15
_KEY_LENGTH: Final = 100
_SPARE: Final = 32
"""Octets for a time that is longer when written."""


class JobFile:
    """The file of a job that is being received. Ends with `commit` or `discard`.

    The message must have CRLF line ends already. Whether there is room is checked when it is written; to refuse it
    before its first octet, call `Acceptance.check_room`.

    Args:
        acceptance: `mailslot.spool.spool.Spool.acceptance`.
        new: the job as far as it is known.

    Raises:
        InputError: the job is not valid.
    """

    def __init__(self, acceptance: Acceptance, new: NewJob) -> None:
        self._acceptance = acceptance
        self._new = check_new_job(new, acceptance.limits)
        self._file = acceptance.storage.new_file(".job")
        self._ascii = True
        self._room = 0
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._size = 0
        self._next_check = 0

    @property
    def size(self) -> int:
        """The octets of the message so far."""
        return self._size

    async def write(self, data: bytes) -> None:
        """Append octets of the message.

        Raises:
            InputError: `message_too_large`.
            SpoolError: they cannot be written.
        """
        self._pending.append(data)
        self._pending_size += len(data)
        self._acceptance.unwritten.octets += len(data)
        self._size += len(data)
        self._ascii = self._ascii and data.isascii()
        self._acceptance.check_size(self._size)
        many = self._acceptance.unwritten.octets > _MAX_UNWRITTEN
        if self._pending_size >= (_SMALL_PIECE_SIZE if many else _PIECE_SIZE):
            try:
                await run_sync(self._write, limiter=self._acceptance.unwritten.writers)
            finally:
                self._forget_written()

    async def commit(self, new: NewJob, *, smtputf8: bool, earlier: EarlierKey | None = None) -> Job:
        """Store the job durably, and return it; or the job that was accepted with the same key before.

        Args:
            new: the job. Where a part of the message is written already, its envelope may be shorter than at the
                beginning, but not longer, apart from a key of up to 100 characters.
            smtputf8: whether the message's header contains octets over 127.
            earlier: another key with which it may have been accepted before.

        Raises:
            InputError: the envelope is longer.
            SpoolError: it cannot be stored; nothing is kept.
        """
        new = check_new_job(new, self._acceptance.limits)
        envelope = self._envelope(new, self._size, smtputf8=smtputf8)
        line = envelope.encode()
        if self._room:
            if len(line) > self._room:
                raise InputError("The job's envelope has become too long.", stage="spool", detail=f"{len(line)} octets")
            line = line[:-1].ljust(self._room - 1) + b"\n"
        try:
            return await run_sync(self._commit, replace(envelope, line_length=len(line)), line, earlier)
        finally:
            self._forget_written()

    async def discard(self) -> None:
        """Remove the file unless it was committed."""
        self._forget_written()
        if not self._file.closed:
            with anyio.CancelScope(shield=True):
                await run_sync(self._file.discard)

    def _envelope(self, new: NewJob, size: int, *, smtputf8: bool) -> JobEnvelope:
        return JobEnvelope(
            new,
            size=size,
            eight_bit=not self._ascii,
            smtputf8=smtputf8,
            created_at=self._acceptance.clock(),
            lifetime=new.lifetime or self._acceptance.limits.max_lifetime,
        )

    def _forget_written(self) -> None:
        self._acceptance.unwritten.octets -= self._pending_size
        self._pending, self._pending_size = [], 0

    def _write(self) -> None:
        """Write what has come, behind room for the envelope."""
        if not self._room:
            largest = self._envelope(replace(self._new, key="0" * _KEY_LENGTH), _LARGEST, smtputf8=False)
            self._room = len(largest.encode()) + _SPARE
            self._pending.insert(0, b" " * self._room)
        data = self._take_pending()
        self._file.write(data)

    def _take_pending(self) -> bytes:
        data, self._pending = b"".join(self._pending), []
        if self._file.size >= self._next_check:
            self._acceptance.storage.check_free_space(len(data), self._acceptance.limits.disk_reserve)
            self._next_check = self._file.size + _CHECK_INTERVAL
        return data

    def _commit(self, envelope: JobEnvelope, line: bytes, earlier: EarlierKey | None) -> Job:
        data = self._take_pending()
        if self._room:
            self._file.write_at_start(line)
        else:
            data = line + data
        try:
            insert = partial(self._acceptance.insert, envelope, self._file, earlier=earlier)
            return self._acceptance.storage.commit_file(self._file, data, insert)
        except DuplicateKeyError as error:
            return error.job
