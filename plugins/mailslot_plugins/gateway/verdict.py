"""The verdict on a connection of a device: what went wrong, by the same catalogue of causes as everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.diagnosis.catalogue import explain
from mailslot.diagnosis.diagnosis import Diagnosis
from mailslot.diagnosis.gateway_log import Dialogue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.plugin import Reply
    from mailslot.smtp.server.backend import Connection

# By the reply's code and enhanced status code, and the command that it refused where those are not enough.
_BY_REPLY: Final[Mapping[tuple[int, str], str]] = {
    (530, "5.7.0"): "device_not_signed_in",
    (535, "5.7.8"): "device_password_wrong",
    (538, "5.7.11"): "device_signs_in_without_tls",
    (552, "5.3.4"): "device_message_too_large",
    (451, "4.7.1"): "device_too_fast",
    (451, "4.3.5"): "account_not_set_up",
    (452, "4.3.1"): "spool_full",
    (554, "5.4.6"): "mail_loop",
    (554, "5.7.1"): "device_unknown",
}

# OpenSSL's words (err.h), in the order in which they are looked for.
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


def cause_of(connection: Connection, refusal: Reply | None, *, stored: int, refused_command: str = "") -> str:
    """Return the cause of what became of a connection; ``"ok"`` where all that the device wanted was done.

    Args:
        connection: the connection, which has ended.
        refusal: the last reply that refused anything; None for none.
        stored: how many messages were stored.
        refused_command: the command that it refused, ``"MAIL"`` or ``"RCPT"``; empty for any other.
    """
    if connection.peer.tls_error is not None:
        return _tls_cause(connection.peer.tls_error)
    if refusal is not None and refusal.code is not None:
        if (refusal.code, refusal.enhanced) == (550, "5.7.1"):
            return "device_recipient_not_allowed" if refused_command == "RCPT" else "device_sender_not_allowed"
        return _BY_REPLY.get((refusal.code, refusal.enhanced or ""), "device_speaks_otherwise")
    if connection.ending == "protocol":
        return "device_speaks_otherwise"
    # Some devices hang up without QUIT once they have their 250.
    if stored == 0 and connection.ending in {"closed", "idle"}:
        return "device_silent" if connection.ending == "idle" else "device_gone"
    return "ok"


def dialogue_of(
    connection: Connection, at: float, refusal: Reply | None, *, stored: int, refused_command: str = ""
) -> Dialogue:
    """Return a dialogue with its verdict, for the log.

    Args:
        connection: the connection, which has ended.
        at: when, in seconds since 1970.
        refusal: as for `cause_of`.
        stored: likewise.
        refused_command: likewise.
    """
    cause = cause_of(connection, refusal, stored=stored, refused_command=refused_command)
    tls = connection.peer.tls
    return Dialogue(
        at=at,
        listener=connection.peer.listener,
        address=connection.peer.address,
        tls="" if tls is None else tls.version,
        ok=cause == "ok",
        cause=cause,
        verdict=_accepted(stored) if cause == "ok" else sentence(cause),
        lines=tuple(connection.transcript.lines),
        messages=stored,
    )


def sentence(cause: str) -> str:
    """Return what is said of a cause."""
    return explain(Diagnosis(cause)).message


def _accepted(stored: int) -> str:
    if stored == 0:
        return "It connected and left without a message."
    return "One message was accepted." if stored == 1 else f"{stored} messages were accepted."


def _tls_cause(error: str) -> str:
    words = error.upper().replace(" ", "_")
    if any(word in words for word in _SSL_V2):
        return "device_tls_too_old"
    return next((cause for word, cause in _BY_TLS_ERROR if word in words), "device_tls_failed")
