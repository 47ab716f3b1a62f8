"""Documents that somebody hands over to be sent, by the panel or the API, and how a repetition is recognised."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mailslot.spool.job import Job
    from mailslot.spool.spool import Spool

REQUEST_NOTE: Final = "request"
"""The note of a job with the fingerprint of the request that it came from."""

PARTS_NOTE: Final = "parts"
"""The note with the number of jobs that one request became, if it became several."""


@dataclass(frozen=True, slots=True)
class RequestIdentity:
    """The identity of a request that may be made again (draft-ietf-httpapi-idempotency-key-header).

    Attributes:
        key: identifies the request among all that have been made.
        fingerprint: changes with what the request contains.
    """

    key: str
    fingerprint: str

    def job_key(self, number: int) -> str:
        """Return the key of the request's job with this number, from 1."""
        return f"{self.key}/{number}"

    def notes(self, parts: int) -> dict[str, str]:
        """Return the notes of the jobs of the request, which becomes this many."""
        return {REQUEST_NOTE: self.fingerprint} | ({PARTS_NOTE: str(parts)} if parts > 1 else {})

    def check(self, job: Job) -> None:
        """Check that the job with this request's key was accepted for the same request.

        Raises:
            InputError: it was accepted for another one, or so long ago that this cannot be told.
        """
        if not job.recipients:
            raise InputError(
                f"This key was used for job {job.id}, which is not kept any more. Nothing was sent again: "
                "take a new key for something new.",
                stage="spool",
                cause="job_state",
                key="Idempotency-Key",
            )
        if job.notes.get(REQUEST_NOTE) != self.fingerprint:
            raise InputError(
                f"This key was used for something else before, job {job.id}. Nothing was sent: take a new key.",
                stage="spool",
                key="Idempotency-Key",
            )


@dataclass(frozen=True, slots=True)
class SubmittedDocument:
    """A document that was handed over.

    Attributes:
        path: its file, in the submission's folder.
        name: its name, which is safe on any system.
    """

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class Submission:
    """Documents that are to be sent.

    Attributes:
        documents: the documents, in order.
        fields: what else was entered, by the names of the fields; fields that were left empty are missing.
        folder: a folder for further files; it stays until the documents are accepted.
        request: the identity of the request; None if it cannot be made again.
    """

    documents: Sequence[SubmittedDocument]
    fields: Mapping[str, Sequence[str]]
    folder: Path
    request: RequestIdentity | None = field(default=None)

    def texts(self, name: str) -> list[str]:
        """Return all values of a field."""
        return list(self.fields.get(name, ()))

    def text(self, name: str) -> str | None:
        """Return the value of a field; None if it was left empty."""
        return next(iter(self.fields.get(name, ())), None)

    def flag(self, name: str) -> bool | None:
        """Return the value of a field that is ``true`` or ``false``; None if it was left empty."""
        value = self.text(name)
        return None if value is None else value == "true"


async def find_earlier_jobs(spool: Spool, pipeline: str, request: RequestIdentity) -> list[Job]:
    """Return the jobs of a pipeline that the same request became earlier, if it became all of them.

    Raises:
        InputError: another request has used the key.
    """
    first = await spool.job_with_key(pipeline, request.job_key(1))
    if first is None:
        return []
    request.check(first)
    parts = int(first.notes.get(PARTS_NOTE, "1"))
    others = [await spool.job_with_key(pipeline, request.job_key(number)) for number in range(2, parts + 1)]
    found = [first, *(job for job in others if job is not None)]
    return found if len(found) == parts else []
