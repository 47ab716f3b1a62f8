"""A mail that was fetched and is safe, as its pipeline gets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from pathlib import Path

MailState = Literal["fetched", "done", "set_aside"]

MAIL_STATES: Final[tuple[MailState, ...]] = ("fetched", "done", "set_aside")


@dataclass(frozen=True, slots=True)
class Incoming:
    """A fetched mail, as it was when it was read from the disk. Times are in seconds since 1970.

    Attributes:
        id: its number, never used again.
        record: the record that it came through, such as ``"status-pop"``.
        uid: the unique-id that the server lists it by; ``""`` where it has none.
        path: its file, the octets that RETR gave; None where there is none (any more).
        size: its octets.
        digest: SHA-256, in hexadecimal, of what does not change from one fetch to the next: the mail without the
            fields that servers write into a stored one. The same digest is the same mail.
        fetched_at: when it was safe here.
        tries: how often its handling has begun.
        state: `fetched`: to be handled. `done`. `set_aside`: kept for a person.
        reason: why it was set aside or is not done yet, or a note on how it was done.
        due_at: when it is to be handled, where that is later.
    """

    id: int
    record: str
    uid: str
    path: Path | None
    size: int
    digest: str
    fetched_at: float
    tries: int
    state: MailState
    reason: str
    due_at: float | None


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger knows of a unique-id.

    Attributes:
        uid: the unique-id.
        mail: the number of the mail, or None where it has not been fetched (yet).
        state: that mail's state; None where it is still to be fetched; ``"passed_over"`` where it was there before
            the first poll, which takes only new mail.
        tries: how often fetching it has begun.
        deleted: whether the server was told to delete it.
        size: the octets that the server announced when it was fetched; None where that is not known.
    """

    uid: str
    mail: int | None
    state: Literal["fetched", "done", "set_aside", "passed_over"] | None
    tries: int
    deleted: bool
    size: int | None = None
