"""The errors that the library raises: one class for each party that can be at fault.

The message is a sentence for people; `MailError.detail` is for engineers. Causes are ids of the catalogue
in `mailslot.diagnosis`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.wire.reply import Reply

Stage = Literal[
    "resolve",
    "connect",
    "tls",
    "greeting",
    "capabilities",
    "token",
    "sign_in",
    "envelope",
    "data",
    "transaction",
    "quit",
    "spool",
]


class MailError(Exception):
    """Something failed while mail was submitted or fetched.

    Attributes:
        stage: the step that failed.
        cause: an id of the catalogue of causes.
        reply: the server's reply; None without one.
        retryable: whether the same attempt may succeed later without anybody acting.
        in_doubt: whether the whole message was sent and its reply never came.
        detail: technical details; may be empty.
    """

    def __init__(
        self,
        message: str,
        *,
        stage: Stage,
        cause: str,
        reply: Reply | None = None,
        retryable: bool = False,
        in_doubt: bool = False,
        detail: str = "",
    ) -> None:
        super().__init__(message)
        self.stage: Stage = stage
        self.cause = cause
        self.reply = reply
        self.retryable = retryable
        self.in_doubt = in_doubt
        self.detail = detail

    def __repr__(self) -> str:
        extra = f", reply={self.reply!r}" if self.reply is not None else ""
        return f"{type(self).__name__}({str(self)!r}, stage={self.stage!r}, cause={self.cause!r}{extra})"


class InputError(MailError, ValueError):
    """The caller's fault: an address, name, message or setting that cannot be used.

    Raised before anything is sent. Its cause is `invalid_input` unless a more precise one exists.

    Attributes:
        key: the setting or secret at fault, such as ``"port"``; empty if there is none.
    """

    def __init__(
        self, message: str, *, stage: Stage, cause: str = "invalid_input", detail: str = "", key: str = ""
    ) -> None:
        super().__init__(message, stage=stage, cause=cause, detail=detail)
        self.key = key


class ClosedError(MailError):
    """The session was used after it was closed, by the caller or by an earlier failure."""


class NetworkError(MailError, ConnectionError):
    """The network's fault: the server was not reached, the connection broke or timed out, or TLS failed.

    Attributes:
        waited: the timeout that expired, in seconds; None if none did.
    """

    def __init__(
        self,
        message: str,
        *,
        stage: Stage,
        cause: str,
        reply: Reply | None = None,
        retryable: bool = False,
        in_doubt: bool = False,
        detail: str = "",
        waited: float | None = None,
    ) -> None:
        super().__init__(
            message, stage=stage, cause=cause, reply=reply, retryable=retryable, in_doubt=in_doubt, detail=detail
        )
        self.waited = waited


class ServerError(MailError):
    """The server's fault: it violated the protocol."""


class RefusedError(MailError):
    """The server understood the command and refused it; `reply` is its reply."""


class RecipientsRefusedError(RefusedError):
    """The server refused every recipient; no content was sent.

    Attributes:
        refused: the server's reply by address, as the caller gave it; `reply` is the first of them.
    """

    def __init__(
        self,
        message: str,
        *,
        cause: str,
        refused: Mapping[str, Reply],
        retryable: bool,
        detail: str = "",
    ) -> None:
        first = next(iter(refused.values()))
        super().__init__(message, stage="envelope", cause=cause, reply=first, retryable=retryable, detail=detail)
        self.refused = dict(refused)


class DeletionsRefusedError(RefusedError):
    """The POP3 server refused to mark some messages as deleted; the others are marked (RFC 1939 section 5).

    Attributes:
        refused: the server's response by message number; `reply` is the first of them.
    """

    def __init__(self, first: RefusedError, refused: Mapping[int, Reply]) -> None:
        super().__init__(
            str(first),
            stage=first.stage,
            cause=first.cause,
            reply=first.reply,
            retryable=first.retryable,
            detail=first.detail,
        )
        self.refused = dict(refused)


class SignInError(RefusedError):
    """The server refused the authentication.

    Attributes:
        challenge: the decoded error challenge of a bearer mechanism, such as
            ``{"status": "401", "schemes": "bearer", "scope": "…"}``; None without one
            (RFC 7628 section 3.2.2; Google's XOAUTH2 document).
    """

    def __init__(
        self,
        message: str,
        *,
        cause: str,
        reply: Reply | None,
        retryable: bool = False,
        detail: str = "",
        challenge: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, stage="sign_in", cause=cause, reply=reply, retryable=retryable, detail=detail)
        self.challenge = challenge


class TokenError(MailError):
    """The token source could not give a token."""

    def __init__(self, message: str, *, cause: str, retryable: bool = False, detail: str = "") -> None:
        super().__init__(message, stage="token", cause=cause, retryable=retryable, detail=detail)
