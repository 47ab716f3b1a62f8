"""A fetched mail in the spool, as its pipeline gets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from pathlib import Path

MailState = Literal["fetched", "done", "set_aside"]

MAIL_STATES: Final[tuple[MailState, ...]] = ("fetched", "done", "set_aside")


@dataclass(frozen=True, slots=True)
class Incoming:
    """A snapshot of a fetched mail. Times are in seconds since 1970.

    Attributes:
        id: its id, never reused.
        record: the record through which it was fetched, such as ``"status-pop"``.
        uid: its unique-id on the server; ``""`` if it has none.
        path: its file, with the octets from RETR; None if there is none (any more). It is there while a pipeline
            handles the mail; otherwise `mailslot.spool.ledger.Ledger.local_file` provides it.
        size: its octets.
        digest: the SHA-256, in hexadecimal, of the mail without the fields that servers add to stored mails. Mails with
            the same digest are the same mail.
        fetched_at: when it was stored.
        tries: how often its handling has begun.
        state: `fetched` (to be handled), `done`, or `set_aside` (kept for a person).
        reason: why it is set aside or not done yet, or a note on how it was handled.
        due_at: when it is to be handled; None for now.
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
class NewMail:
    """A mail that is put into the spool; its attributes are those of `Incoming`.

    Attributes:
        file: the name of its file; None if it has none.
    """

    record: str
    uid: str
    file: str | None
    size: int
    digest: str
    state: MailState = "fetched"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class KnownUid:
    """A unique-id in the ledger.

    Attributes:
        uid: the unique-id.
        mail: the id of the mail; None if it has not been fetched.
        state: the mail's state; None if it is still to be fetched; ``"passed_over"`` if it was there before the first
            poll, which fetches only new mail.
        tries: how often fetching it has begun.
        deleted: whether the server was told to delete it.
        size: the octets that the server announced when it was fetched; None if unknown.
    """

    uid: str
    mail: int | None
    state: Literal["fetched", "done", "set_aside", "passed_over"] | None
    tries: int
    deleted: bool
    size: int | None = None
