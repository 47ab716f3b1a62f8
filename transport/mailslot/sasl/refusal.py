"""What a refused sign-in is to the caller, over any protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.errors import SignInError
from mailslot.sasl.credentials import OAuth
from mailslot.wire.reply import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot.errors import Stage
    from mailslot.sasl.credentials import Credentials
    from mailslot.sasl.exchange import Verdict
    from mailslot.wire.redact import Redactor
    from mailslot.wire.reply import Reply


def refused(
    credentials: Credentials,
    verdict: Verdict,
    host: str,
    redactor: Redactor,
    cause_of: Callable[[Stage, Reply, str], tuple[str, bool]],
    *,
    detail: str = "",
) -> SignInError:
    """Return the error for a refused sign-in.

    Args:
        credentials: who wanted to sign in.
        verdict: what the server said.
        host: the server.
        redactor: masks what the server says back.
        cause_of: tells what the reply means, by itself, in the protocol that was spoken, and whether that may pass.
        detail: the reply for an engineer, where the protocol writes it otherwise than SMTP and POP3 do.
    """
    reasons, mask = verdict.reasons, redactor.mask
    challenge = None if reasons is None else {mask(printable(k)): mask(printable(v)) for k, v in reasons.items()}
    cause, retryable = refusal_cause(credentials, verdict)
    if not retryable:
        cause, retryable = cause_of("sign_in", verdict.reply, cause)
    return SignInError(
        f"The mail server {host} refused the sign-in of {credentials.user}: {verdict.reply.words}",
        cause=cause,
        reply=verdict.reply,
        retryable=retryable,
        detail=detail or str(verdict.reply),
        challenge=challenge,
    )


def refusal_cause(credentials: Credentials, verdict: Verdict) -> tuple[str, bool]:
    """Return what a refusal means by the challenge's JSON or, without one, by the kind of credentials.

    Returns:
        a cause, and whether the sign-in may succeed later without anybody acting.
    """
    if not verdict.presented:
        return "sign_in_method_not_offered", False
    if not isinstance(credentials, OAuth):
        return "password_refused", False
    status = (verdict.reasons or {}).get("status", "").lower()
    if status in {"403", "insufficient_scope"}:
        return "token_for_other_service", False
    if len(status) == 3 and status.startswith("5"):
        return "sign_in_temporarily_unavailable", True
    return "token_refused", False
