"""What a refused sign-in is to the caller, over any protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.errors import SignInError
from mailslot.sasl.credentials import OAuth
from mailslot.wire.reply import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mailslot.errors import Stage
    from mailslot.sasl.credentials import Credentials
    from mailslot.sasl.result import AuthenticationResult
    from mailslot.wire.redact import Redactor
    from mailslot.wire.reply import Reply


def authentication_error(
    credentials: Credentials,
    result: AuthenticationResult,
    host: str,
    redactor: Redactor,
    cause_of: Callable[[Stage, Reply, str], tuple[str, bool]],
    *,
    detail: str,
) -> SignInError:
    """Return the error for a refused sign-in.

    Args:
        credentials: who wanted to sign in.
        result: what the server said.
        host: the server.
        redactor: masks what the server says back.
        cause_of: tells what the reply means, by itself, in the protocol that was spoken, and whether that may pass.
        detail: the reply for an engineer.
    """
    reasons, mask = result.reasons, redactor.mask
    challenge = None if reasons is None else {mask(printable(k)): mask(printable(v)) for k, v in reasons.items()}
    cause, retryable = refusal_cause(credentials, result)
    if not retryable:
        cause, retryable = cause_of("sign_in", result.reply, cause)
    return SignInError(
        f"The mail server {host} refused the sign-in of {credentials.user}: {result.reply.words}",
        cause=cause,
        reply=result.reply,
        retryable=retryable,
        detail=detail,
        challenge=challenge,
    )


def refusal_cause(credentials: Credentials, result: AuthenticationResult) -> tuple[str, bool]:
    """Return what a refusal means by the challenge's JSON or, without one, by the kind of credentials.

    Returns:
        a cause, and whether the sign-in may succeed later without anybody acting.
    """
    if not result.presented:
        return "sign_in_method_not_offered", False
    if not isinstance(credentials, OAuth):
        return "password_refused", False
    status = (result.reasons or {}).get("status", "").lower()
    if status in {"403", "insufficient_scope"}:
        return "token_for_other_service", False
    if len(status) == 3 and status.startswith("5"):
        return "sign_in_temporarily_unavailable", True
    return "token_refused", False


def not_offered(credentials: Credentials, offered: Iterable[str], host: str) -> SignInError:
    """Return the error for a server that has no mechanism for these credentials."""
    method = "OAuth 2.0" if isinstance(credentials, OAuth) else "a password"
    return SignInError(
        f"The mail server {host} does not offer to sign in with {method}.",
        cause="sign_in_method_not_offered",
        reply=None,
        detail=f"offered: {' '.join(sorted(offered)) or 'nothing'}",
    )
