"""The report of a poll."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mailslot.diagnosis.catalogue import explain
from mailslot.service.pipeline import Done, Later, SetAside

if TYPE_CHECKING:
    from mailslot.diagnosis.diagnosis import Diagnosis
    from mailslot.service.pipeline import Handled
    from mailslot.spool.incoming import Incoming


@dataclass(frozen=True, slots=True)
class HandlingResult:
    """What a pipeline made of a mail.

    Attributes:
        mail: the mail, as it was when it was handed over.
        handled: what came of it.
        sender: its From, for people.
        subject: its Subject, for people.
    """

    mail: Incoming
    handled: Handled
    sender: str = ""
    subject: str = ""

    @property
    def outcome(self) -> str:
        """``done``, ``set aside`` or ``later``."""
        match self.handled:
            case Done():
                return "done"
            case SetAside():
                return "set aside"
            case Later():
                return "later"

    @property
    def note(self) -> str:
        """What there is to say about it."""
        match self.handled:
            case Done(note):
                return note
            case SetAside(reason):
                return reason
            case Later(why=why):
                return why


@dataclass(slots=True)
class PollReport:
    """The report of a poll of one record.

    Attributes:
        record: the record.
        at: when it began, in seconds since 1970.
        ok: whether nothing went wrong on the way.
        listed: how many mails the server had, by its last listing.
        fetched: how many were fetched that had not been before.
        copies: how many were fetched that turned out to be known.
        deleted: how many the server was told to delete.
        passed_over: how many were there before the first poll, and are not fetched.
        refused: how many stay on the server because they cannot be fetched.
        left: how many are still to be fetched by the next poll.
        handled: what the pipeline made of the mail.
        cause: the id of the cause of what went wrong; None where nothing did.
        sentence: that in one sentence; empty where nothing went wrong.
        diagnosis: the same, where it is one of the catalogue.
        retryable: whether it may pass by itself.
        notes: what else a person should know, a sentence each.
        pause: seconds that must pass before the next sign-in; 0.0 where the server does not mind.
    """

    record: str
    at: float
    listed: int = 0
    fetched: int = 0
    copies: int = 0
    deleted: int = 0
    passed_over: int = 0
    refused: int = 0
    left: int = 0
    handled: list[HandlingResult] = field(default_factory=list["HandlingResult"])
    cause: str | None = None
    sentence: str = ""
    diagnosis: Diagnosis | None = None
    retryable: bool = False
    notes: list[str] = field(default_factory=list[str])
    pause: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing went wrong."""
        return self.cause is None

    def summary(self) -> dict[str, Any]:
        """Return what is stored of it, as JSON values; times are in seconds since 1970."""
        return {
            "at": self.at,
            "ok": self.ok,
            "cause": self.cause,
            "sentence": self.sentence,
            "advice": explain(self.diagnosis).advice if self.diagnosis is not None else "",
            "listed": self.listed,
            "fetched": self.fetched,
            "copies": self.copies,
            "deleted": self.deleted,
            "passed_over": self.passed_over,
            "refused": self.refused,
            "left": self.left,
            "handled": len(self.handled),
            "pause": self.pause,
        }
