"""Documents submitted through the panel or the API, and the identity of a request, to recognize its repetition."""

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
"""The note of a job with the fingerprint of its request."""

PARTS_NOTE: Final = "parts"
"""The note with the number of jobs of its request, if there are several."""


@dataclass(frozen=True, slots=True)
class RequestIdentity:
    """The identity of a request that may be repeated (draft-ietf-httpapi-idempotency-key-header).

    Attributes:
        key: identifies the request among all requests.
        fingerprint: the digest of its contents.
    """

    key: str
    fingerprint: str

    def job_key(self, number: int) -> str:
        """Return the key of the request's job with this number, from 1."""
        return f"{self.key}/{number}"

    def notes(self, parts: int) -> dict[str, str]:
        """Return the notes for the jobs of the request, of which there are `parts`."""
        return {REQUEST_NOTE: self.fingerprint} | ({PARTS_NOTE: str(parts)} if parts > 1 else {})

    def check(self, job: Job) -> None:
        """Check that the job with this request's key was accepted for the same request.

        Raises:
            InputError: it was accepted for another request, or so long ago that this is unknown.
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
    """A submitted document.

    Attributes:
        path: its file, in the submission's folder.
        name: its name, which is safe on any system.
    """

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class Submission:
    """Documents to send.

    Attributes:
        documents: the documents, in order.
        fields: the values of the other fields, by name; empty fields are left out.
        folder: a folder for further files; it stays until the documents are accepted.
        request: the identity of the request; None if it cannot be repeated.
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
    """Return the jobs that an earlier copy of a request became, if all of them were accepted.

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
