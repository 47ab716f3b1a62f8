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
    """The result of handling a mail.

    Attributes:
        mail: the mail, before it was handled.
        handled: the pipeline's result.
        sender: its From field, for people.
        subject: its Subject field, for people.
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
        """The note or reason."""
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
        ok: whether there was no failure.
        listed: the number of mails in the server's last listing.
        fetched: the number of new mails that were fetched.
        copies: the number of fetched mails that turned out to be known.
        deleted: the number of mails that the server was told to delete.
        passed_over: the number of mails that were there before the first poll, and are not fetched.
        refused: the number of mails that stay on the server because they cannot be fetched.
        left: the number of mails left to the next poll.
        handled: the results of handling mail.
        cause: the id of the failure's cause; None if there was no failure.
        sentence: the failure in one sentence; empty if there was none.
        diagnosis: the diagnosis of the failure, if its cause is in the catalogue.
        retryable: whether the failure may be temporary.
        notes: sentences about anything else that a person should know.
        pause: seconds that must pass before the next sign-in; 0.0 if the server does not require any.
        contacted: whether the server was contacted, or could not be because settings are missing.
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
    contacted: bool = False

    @property
    def ok(self) -> bool:
        """Whether there was no failure."""
        return self.cause is None

    def summary(self) -> dict[str, Any]:
        """Return the part that is stored, as JSON values; times are in seconds since 1970."""
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
