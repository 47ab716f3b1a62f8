"""The outcome of a device's connection, as a cause of the catalogue with its sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mailslot.diagnosis.catalogue import explain
from mailslot.diagnosis.diagnosis import Diagnosis
from mailslot.diagnosis.gateway_log import Dialogue
from mailslot.pop3.server import replies as pop3_replies
from mailslot.smtp.server import replies as smtp_replies

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.net.server_connection import ServerConnection
    from mailslot.plugin import Reply

# Causes by the code and enhanced status code of our reply.
_BY_REPLY: Final[Mapping[tuple[int, str], str]] = {
    (530, "5.7.0"): "device_not_signed_in",
    (535, "5.7.8"): "device_password_wrong",
    (421, "4.7.0"): "device_password_wrong",
    (454, "4.7.0"): "spool_unreadable",
    (538, "5.7.11"): "device_signs_in_without_tls",
    (552, "5.3.4"): "device_message_too_large",
    (451, "4.7.1"): "device_too_fast",
    (451, "4.3.5"): "account_not_set_up",
    (452, "4.3.1"): "spool_full",
    (554, "5.4.6"): "mail_loop",
    (554, "5.7.1"): "device_unknown",
}

_FETCHING_CAUSES: Final[Mapping[Reply, str]] = {
    pop3_replies.AUTHENTICATION_FAILED: "device_password_wrong",
    pop3_replies.TLS_REQUIRED: "device_signs_in_without_tls",
    pop3_replies.IN_USE: "mailbox_in_use",
    pop3_replies.UNAVAILABLE: "spool_unreadable",
    pop3_replies.NOT_DELETED: "spool_unwritable",
    pop3_replies.PASSWORD_CHANGED: "device_password_wrong",
}
_OF_SESSION: Final = frozenset({pop3_replies.TLS_REQUIRED, pop3_replies.NOT_DELETED, pop3_replies.PASSWORD_CHANGED})
"""Refusals by the session itself rather than by the backend."""

# Reasons in OpenSSL's errors (err.h), in order of precedence.
_BY_TLS_ERROR: Final = (
    ("UNKNOWN_CA", "device_distrusts_certificate"),
    ("BAD_CERTIFICATE", "device_distrusts_certificate"),
    ("CERTIFICATE_UNKNOWN", "device_distrusts_certificate"),
    ("UNSUPPORTED_PROTOCOL", "device_tls_too_old"),
    ("PROTOCOL_VERSION", "device_tls_too_old"),
    ("VERSION_TOO_LOW", "device_tls_too_old"),
    ("NO_SHARED_CIPHER", "device_tls_too_old"),
    ("WRONG_VERSION_NUMBER", "device_wrong_encryption"),
    ("HTTP_REQUEST", "device_speaks_otherwise"),
)
_SSL_V2: Final = ("UNKNOWN_PROTOCOL", "NO_PROTOCOLS_AVAILABLE", "UNSUPPORTED_SSL_VERSION")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a connection.

    Attributes:
        cause: an id of the catalogue of causes; ``"ok"`` if nothing failed.
        sentence: the sentence about it.
    """

    cause: str
    sentence: str


def submission_verdict(
    connection: ServerConnection, refusal: Reply | None, *, stored: int, refused_command: str = ""
) -> Verdict:
    """Return the outcome of a connection of a device that sends.

    Args:
        connection: the connection, which has ended.
        refusal: the last reply of ours that refused anything; None for none.
        stored: the number of messages that were stored.
        refused_command: the command that it refused, ``"MAIL"`` or ``"RCPT"``; empty for any other.
    """
    # The session refuses this itself, without the backend.
    refusal = refusal or (smtp_replies.TLS_REQUIRED if connection.refusal == smtp_replies.TLS_REQUIRED else None)
    cause = _connection_cause(connection)
    if cause is None and refusal is not None:
        cause = _submission_cause(refusal, refused_command)
    if cause is None and connection.ending == "protocol":
        cause = "device_speaks_otherwise"
    # Some devices close the connection without QUIT after the final 250.
    if cause is None and stored == 0 and connection.ending in {"closed", "idle"}:
        cause = "device_silent" if connection.ending == "idle" else "device_gone"
    return _verdict(cause, _accepted(stored))


def fetching_verdict(connection: ServerConnection, refusal: Reply | None, *, retrieved: int, deleted: int) -> Verdict:
    """Return the outcome of a connection of a device that fetches.

    Args:
        connection: the connection, which has ended.
        refusal: the last refusal of a sign-in; None if it succeeded or was not tried.
        retrieved: the number of messages that were fetched.
        deleted: the number of messages that were deleted.
    """
    if refusal is None and connection.refusal in _OF_SESSION:
        refusal = connection.refusal
    cause = _connection_cause(connection)
    if cause is None and refusal is not None and not (refusal == pop3_replies.TLS_REQUIRED and connection.user):
        cause = _FETCHING_CAUSES[refusal]
    if cause is None and connection.ending in {"protocol", "limit"}:
        cause = "device_speaks_otherwise"
    if cause is None and retrieved and connection.ending in {"closed", "idle"}:
        cause = "device_without_quit"
    if cause is None and connection.user is None and connection.ending == "idle":
        cause = "device_silent"
    return _verdict(cause, _fetched(connection, retrieved, deleted))


def stranger_verdict(connection: ServerConnection, refusal: Reply | None = None) -> Verdict:
    """Return the outcome of a connection of an unknown device.

    Args:
        connection: the connection, which has ended.
        refusal: the last reply of a submission that refused anything; None for none.
    """
    return _verdict(_connection_cause(connection) or (refusal and _submission_cause(refusal)) or "device_unknown", "")


def dialogue_of(connection: ServerConnection, at: float, verdict: Verdict, *, messages: int) -> Dialogue:
    """Return a dialogue with its outcome, for the log.

    Args:
        connection: the connection, which has ended.
        at: when, in seconds since 1970.
        verdict: the outcome.
        messages: the number of messages that were submitted or fetched.
    """
    tls = connection.peer.tls
    return Dialogue(
        at=at,
        listener=connection.peer.listener,
        address=connection.peer.address,
        tls="" if tls is None else tls.version,
        ok=verdict.cause == "ok",
        cause=verdict.cause,
        verdict=verdict.sentence,
        lines=tuple(connection.transcript.lines),
        messages=messages,
    )


def _verdict(cause: str | None, success: str) -> Verdict:
    return Verdict("ok", success) if cause is None else Verdict(cause, explain(Diagnosis(cause)).message)


def _accepted(stored: int) -> str:
    if stored == 0:
        return "It connected and left without a message."
    return "One message was accepted." if stored == 1 else f"{stored} messages were accepted."


def _fetched(connection: ServerConnection, retrieved: int, deleted: int) -> str:
    if connection.user is None:
        return "It connected and left without signing in."
    if not retrieved and not deleted:
        return "It looked for mail, and fetched none."
    return f"{_messages(retrieved)} fetched, {deleted} deleted."


def _messages(count: int) -> str:
    return "One message" if count == 1 else f"{count} messages"


def _connection_cause(connection: ServerConnection) -> str | None:
    return None if connection.peer.tls_error is None else _tls_cause(connection.peer.tls_error)


def _submission_cause(refusal: Reply, refused_command: str = "") -> str:
    if (refusal.code, refusal.enhanced) == (550, "5.7.1"):
        return "device_recipient_not_allowed" if refused_command == "RCPT" else "device_sender_not_allowed"
    return _BY_REPLY.get((refusal.code or 0, refusal.enhanced or ""), "device_speaks_otherwise")


def _tls_cause(error: str) -> str:
    words = error.upper().replace(" ", "_")
    if any(word in words for word in _SSL_V2):
        return "device_tls_too_old"
    return next((cause for word, cause in _BY_TLS_ERROR if word in words), "device_tls_failed")
