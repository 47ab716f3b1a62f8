"""The disposition of a failure: what becomes of the job and its record, by the cause or the stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mailslot.causes.cause import causes
from mailslot.errors import RecipientsRefusedError

if TYPE_CHECKING:
    from mailslot.causes.cause import Disposition
    from mailslot.diagnosis.catalogue import Explanation
    from mailslot.errors import MailError, Stage

SESSION_OPENING: Final[frozenset[Stage]] = frozenset(
    {"resolve", "connect", "tls", "greeting", "capabilities", "token", "sign_in"}
)
"""The stages before anything is said of a message."""


@dataclass(frozen=True, slots=True)
class DeliveryFailure:
    """A failure and its consequence.

    Attributes:
        disposition: what becomes of the job, and of the others of its record.
        cause: an id of the catalogue of causes.
        sentence: the same for people.
        reply: the server's words; empty where there were none.
        by_administrator: whether the administrator of the mail service must act, of which this device is not told.
    """

    disposition: Disposition
    cause: str
    sentence: str
    reply: str = ""
    by_administrator: bool = False


def classify_failure(error: MailError, explanation: Explanation) -> DeliveryFailure:
    """Return the failure for an error.

    Args:
        error: what went wrong on the way of a job.
        explanation: its diagnosis, in words.
    """
    reply = "" if error.reply is None else str(error.reply)
    return DeliveryFailure(
        _disposition(error, explanation.cause),
        explanation.cause,
        explanation.message,
        reply,
        explanation.actor == "administrator",
    )


def _disposition(error: MailError, cause: str) -> Disposition:
    if error.in_doubt:
        return "in_doubt"
    disposition = causes()[cause].disposition
    if disposition in {"hold", "back_off"}:
        return disposition
    if error.stage in SESSION_OPENING:
        signing_in = error.stage in {"token", "sign_in"}
        return "hold" if signing_in and not error.retryable else "back_off"
    if error.retryable:
        # A sender that is put off is put off for every job; a recipient or a message is not.
        affects_all_jobs = error.stage == "envelope" and not isinstance(error, RecipientsRefusedError)
        return "back_off" if affects_all_jobs else "defer"
    return disposition or "fail"
