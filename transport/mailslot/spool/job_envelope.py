"""The first line of a job's file, before the message: everything that is needed to recreate the job's row."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError
from mailslot.spool.job import NewJob

if TYPE_CHECKING:
    from mailslot.spool.limits import SpoolLimits

MAX_LINE: Final = 4 * 1024 * 1024
"""Octets of the line, with its end."""

_MAX_TEXT: Final = 1000
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class JobEnvelope:
    """A job as it was accepted.

    Attributes:
        new: what the pipeline passed.
        size: the message's octets.
        eight_bit: whether the message contains octets over 127.
        smtputf8: whether its header contains them.
        created_at: when it was accepted.
        lifetime: the seconds after which the job expires.
        line_length: the octets of this line in the file.
    """

    new: NewJob
    size: int
    eight_bit: bool
    smtputf8: bool
    created_at: float
    lifetime: float
    line_length: int = 0

    @property
    def expires_at(self) -> float:
        """When the job expires; its lifetime begins when it may be sent."""
        return max(self.created_at, self.new.send_at or 0.0) + self.lifetime

    def due_at(self, now: float) -> float | None:
        """Return when the job is due for the first time; None for now."""
        return self.new.send_at if self.new.send_at is not None and self.new.send_at > now else None

    def encode(self) -> bytes:
        """Return the line, with its line end.

        Raises:
            InputError: it is too long, such as because of its subject or notes.
        """
        new = self.new
        values: dict[str, object] = {
            "version": _VERSION,
            "pipeline": new.pipeline,
            "via": new.via,
            "sender": new.sender,
            "recipients": list(new.recipients),
            "subject": new.subject,
            "key": new.key,
            "notes": dict(new.notes),
            "message_id": new.message_id,
            "size": self.size,
            "eight_bit": self.eight_bit,
            "smtputf8": self.smtputf8,
            "created_at": self.created_at,
            "lifetime": self.lifetime,
        }
        if new.send_at is not None:
            values["send_at"] = new.send_at
        line = json.dumps(values).encode("ascii") + b"\n"
        if len(line) > MAX_LINE:
            raise InputError("The job's envelope is too long.", stage="spool", detail=f"{len(line)} octets")
        return line


def parse(line: bytes) -> JobEnvelope:
    """Parse a line.

    Raises:
        ValueError: it is invalid.
    """
    try:
        values = json.loads(line)
        if values.pop("version") != _VERSION or not line.endswith(b"\n"):
            raise ValueError("another version, or cut short")
        members = {name: values.pop(name) for name in ("size", "eight_bit", "smtputf8", "created_at", "lifetime")}
        return JobEnvelope(NewJob(**values), **members, line_length=len(line))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def check_new_job(new: NewJob, limits: SpoolLimits) -> NewJob:
    """Return `new` without duplicate recipients, and with a lifetime.

    Raises:
        InputError: it is not valid.
    """
    if isinstance(new.recipients, str) or not new.recipients:
        raise InputError("The message has no recipient.", stage="spool")
    recipients = tuple(dict.fromkeys(new.recipients))
    if len(recipients) > limits.max_recipients:
        raise InputError(
            f"The message has {len(recipients)} recipients; at most {limits.max_recipients} are possible.",
            stage="spool",
        )
    for text in (new.sender, *recipients, new.message_id, new.pipeline, new.via, new.key or ""):
        if len(text) > _MAX_TEXT or not text.isprintable():
            raise InputError(f"{text[:80]!r} cannot stand in an envelope.", stage="spool")
    if new.lifetime is not None and not new.lifetime > 0:
        raise InputError("The lifetime of a job must be more than 0 seconds.", stage="spool")
    lifetime = min(new.lifetime or limits.max_lifetime, limits.max_lifetime)
    return replace(new, recipients=recipients, lifetime=lifetime, notes=dict(new.notes))
