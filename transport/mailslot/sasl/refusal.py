"""The errors for a refused authentication, over any protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.causes.judge import judge
from mailslot.causes.refusal import Refusal
from mailslot.errors import SignInError
from mailslot.sasl.credentials import OAuth
from mailslot.wire.reply import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailslot.causes.refusal import Presented, Protocol
    from mailslot.sasl.credentials import Credentials
    from mailslot.sasl.result import AuthenticationResult
    from mailslot.wire.redact import Redactor


def authentication_error(
    credentials: Credentials,
    result: AuthenticationResult,
    host: str,
    redactor: Redactor,
    protocol: Protocol,
    *,
    detail: str,
) -> SignInError:
    """Return the error for a refused authentication."""
    challenge, mask = result.error_challenge, redactor.mask
    masked = None if challenge is None else {mask(printable(k)): mask(printable(v)) for k, v in challenge.items()}
    presented: Presented = "token" if isinstance(credentials, OAuth) else "password"
    cause, retryable = judge(
        Refusal(
            protocol=protocol,
            stage="sign_in",
            reply=result.reply,
            presented=presented if result.credentials_sent else "nothing",
            challenge=challenge or {},
        )
    )
    return SignInError(
        f"The mail server {host} refused the sign-in of {credentials.user}: {result.reply.one_line}",
        cause=cause,
        reply=result.reply,
        retryable=retryable,
        detail=detail,
        challenge=masked,
    )


def no_mechanism_error(credentials: Credentials, offered: Iterable[str], host: str) -> SignInError:
    """Return the error for a server that has no mechanism for these credentials."""
    method = "OAuth 2.0" if isinstance(credentials, OAuth) else "a password"
    return SignInError(
        f"The mail server {host} does not offer to sign in with {method}.",
        cause="sign_in_method_not_offered",
        reply=None,
        detail=f"offered: {' '.join(sorted(offered)) or 'nothing'}",
    )
