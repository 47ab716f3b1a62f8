"""Recognizing a message that a device sends again because it did not receive our reply: it is not sent twice.

A message is identified by its device, its envelope and its content as received. The key of its job contains these and
the time, in steps of ten minutes; so a job that was accepted less than ten minutes ago has the key of the current or
the previous step. The keys are in the spool, and so outlive a restart.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.spool.acceptance import EarlierKey

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mailslot.plugin import Job, NewJob
    from mailslot.spool.job_file import JobFile

WINDOW: Final = 600.0
"""Seconds within which a repeated message is a duplicate."""


def fingerprint(device: str, sender: str, recipients: Sequence[str], content_digest: bytes) -> str:
    """Return the identity of a message, in hexadecimal.

    Args:
        device: the device's name.
        sender: the reverse-path.
        recipients: the recipients, in any order.
        content_digest: a digest of the content as received.
    """
    parts = [device, sender, *sorted(recipients)]
    envelope = b"".join(len(part).to_bytes(4, "big") + part for part in (text.encode() for text in parts))
    return hashlib.sha256(envelope + content_digest).hexdigest()


class DuplicateGuard:
    """Accepts each message once.

    Args:
        clock: returns the time in seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._under_way: dict[str, anyio.Event] = {}
        """By identity, what is set once a message is accepted or not."""

    async def commit(self, file: JobFile, new: NewJob, identity: str) -> Job:
        """Accept a received message, or return the job of an earlier copy.

        Args:
            file: the message.
            new: its job, without a key.
            identity: the message's `fingerprint`.

        Raises:
            SpoolError: it cannot be stored; nothing is kept.
        """
        # One of several equal messages is accepted at a time: they may have keys of different steps.
        while (other := self._under_way.get(identity)) is not None:
            await other.wait()
        ended = self._under_way[identity] = anyio.Event()
        try:
            now = self._clock()
            step = int(now // WINDOW)
            earlier = EarlierKey(f"{identity}-{step - 1}", now - WINDOW)
            return await file.commit(replace(new, key=f"{identity}-{step}"), smtputf8=False, earlier=earlier)
        finally:
            del self._under_way[identity]
            ended.set()
