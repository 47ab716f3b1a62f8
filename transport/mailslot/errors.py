"""Every failure that leaves the library: one tree, one class for each party whose fault it can be.

The sentence is for the person; `MailError.detail` is for the engineer. The causes are ids of the
catalogue in the design, section 7.
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
        stage: where it failed, the name of a step in the dialogue.
        cause: an id of the catalogue of causes.
        reply: what the server answered, or None where it answered nothing.
        retryable: whether the same attempt may succeed later without anybody acting.
        in_doubt: whether the whole message was handed over and the answer never came.
        detail: what an engineer wants to know besides the sentence; may be empty.
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

    Raised before an octet leaves. Its cause is `invalid_input` unless a better one exists.

    Attributes:
        key: the setting or secret that it is about, such as ``"port"``; empty where it is about none, or not told.
    """

    def __init__(
        self, message: str, *, stage: Stage, cause: str = "invalid_input", detail: str = "", key: str = ""
    ) -> None:
        super().__init__(message, stage=stage, cause=cause, detail=detail)
        self.key = key


class ClosedError(MailError):
    """Our own side's fault: the session was closed, or broken by an earlier failure, and was used again."""


class NetworkError(MailError, ConnectionError):
    """The network's fault: the server was not reached, the line broke or fell silent, or TLS failed.

    Attributes:
        waited: the seconds after which a wait was given up; None where it was no deadline that ran out.
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
    """The server's fault: what it sent is not the protocol."""


class RefusedError(MailError):
    """The server understood and refused; `reply` holds its words."""


class RecipientsRefusedError(RefusedError):
    """The server refused every recipient; no content was sent.

    Attributes:
        refused: each address as it was given, with the server's answer; `reply` is the first of them.
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
    """The POP3 server refused to mark messages as deleted; the others that were named are marked (RFC 1939 section 5).

    Attributes:
        refused: the server's answer by message number; `reply` is the first of them.
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
    """The server refused the sign-in.

    Attributes:
        challenge: the decoded error challenge of a bearer mechanism, such as
            ``{"status": "401", "schemes": "bearer", "scope": "…"}``, or None where there was none
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
