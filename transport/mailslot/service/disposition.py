"""The disposition of a failure: what happens to the job and its record, by the cause or the stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mailslot.causes.cause import causes
from mailslot.errors import RecipientsRefusedError
from mailslot.shortage import is_shortage

if TYPE_CHECKING:
    from mailslot.causes.cause import Disposition
    from mailslot.diagnosis.catalogue import Explanation
    from mailslot.errors import MailError, Stage

SESSION_OPENING: Final[frozenset[Stage]] = frozenset(
    {"resolve", "connect", "tls", "greeting", "capabilities", "token", "sign_in"}
)
"""The stages before the first command about a message."""


@dataclass(frozen=True, slots=True)
class DeliveryFailure:
    """A failure and its consequence.

    Attributes:
        disposition: what happens to the job, and to the other jobs of its record.
        cause: the id of its cause.
        sentence: the cause in one sentence.
        reply: the server's reply; empty if there was none.
        by_administrator: whether the administrator of the mail service must act, which this device cannot notice.
    """

    disposition: Disposition
    cause: str
    sentence: str
    reply: str = ""
    by_administrator: bool = False


def classify_failure(error: MailError, explanation: Explanation) -> DeliveryFailure:
    """Return the failure for an error, with its disposition.

    Args:
        error: the error in a delivery.
        explanation: its explanation.
    """
    reply = "" if error.reply is None else str(error.reply)
    return DeliveryFailure(
        _disposition(error, explanation.cause),
        explanation.cause,
        explanation.message,
        reply,
        causes()[explanation.cause].actor == "administrator",
    )


def _disposition(error: MailError, cause: str) -> Disposition:
    if error.in_doubt:
        return "in_doubt"
    if is_shortage(error):
        # It passes, so nobody must act, whatever could not be used for lack of it.
        return "back_off"
    disposition = causes()[cause].disposition
    if disposition in {"hold", "back_off"}:
        return disposition
    if error.stage in SESSION_OPENING:
        signing_in = error.stage in {"token", "sign_in"}
        return "hold" if signing_in and not error.retryable else "back_off"
    if error.retryable:
        # A temporary refusal of the sender concerns every job; that of a recipient or a message does not.
        affects_all_jobs = error.stage == "envelope" and not isinstance(error, RecipientsRefusedError)
        return "back_off" if affects_all_jobs else "defer"
    return disposition or "fail"
