"""What becomes of a job, and of its record, when something goes wrong: one table over the causes of the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from mailslot.errors import RecipientsRefusedError

if TYPE_CHECKING:
    from mailslot.diagnosis.catalogue import Said
    from mailslot.errors import MailError, Stage

Fate = Literal["hold", "rest", "defer", "fail", "doubt"]
"""`hold`: the record's settings, token or rights need somebody, and all its jobs wait for that. `rest`: the server, the
network or the token service is in trouble, so that the record's other jobs need not try now. `defer`: this job alone
is tried later. `fail`: it never will be. `doubt`: nobody knows whether it was sent."""

NEEDS_SOMEBODY: Final = frozenset(
    {
        "not_configured",
        "token_not_retrieved",
        "token_update_failed",
        "token_not_renewable",
        "token_store_unreadable",
        "home_copied",
        "consent_missing",
        "app_secret_invalid",
        "app_secret_expired",
        "app_type_wrong",
        "app_or_tenant_unknown",
        "scope_wrong",
        "token_for_other_service",
        "token_refused",
        "token_too_long",
        "account_mismatch",
        "account_locked",
        "mailbox_not_allowed",
        "sign_in_blocked_by_policy",
        "sign_in_method_not_offered",
        "smtp_auth_disabled",
        "pop_disabled",
        "password_refused",
        "password_no_longer_accepted",
        "app_password_required",
        "authentication_required",
        "tls_required",
        "sender_blocked",
    }
)

PASSES: Final = frozenset(
    {
        "name_not_found",
        "connection_refused",
        "connection_timeout",
        "network_unreachable",
        "not_a_mail_server",
        "server_busy",
        "tls_port_mismatch",
        "tls_not_offered",
        "tls_failed",
        "tls_injection",
        "certificate_expired",
        "certificate_not_yet_valid",
        "certificate_name_mismatch",
        "certificate_untrusted",
        "clock_wrong",
        "token_service_unreachable",
        "not_a_token_service",
        "token_service_busy",
        "token_store_busy",
        "token_store_unwritable",
        "sign_in_temporarily_unavailable",
        "mailbox_in_use",
        "login_delay",
        "too_many_connections",
        "sending_limit_reached",
        "connection_lost",
        "protocol_error",
    }
)
"""Of the record, and likely to pass, or to be set right, without anything changing on this device."""

OPENING: Final[frozenset[Stage]] = frozenset(
    {"resolve", "connect", "tls", "greeting", "capabilities", "token", "sign_in"}
)
"""The stages before anything is said of a message."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What went wrong, and what comes of it.

    Attributes:
        fate: see `Fate`.
        cause: an id of the catalogue of causes.
        sentence: the same for people.
        reply: the server's words; empty where there were none.
        by_administrator: whether the administrator of the mail service must act, of which this device is not told.
    """

    fate: Fate
    cause: str
    sentence: str
    reply: str = ""
    by_administrator: bool = False


def judge(error: MailError, said: Said) -> Trouble:
    """Return what comes of an error.

    Args:
        error: what went wrong on the way of a job.
        said: its diagnosis, in words.
    """
    reply = "" if error.reply is None else str(error.reply)
    return Trouble(_fate(error, said.cause), said.cause, said.message, reply, said.actor == "administrator")


def _fate(error: MailError, cause: str) -> Fate:
    if error.in_doubt:
        return "doubt"
    if cause in NEEDS_SOMEBODY:
        return "hold"
    if cause in PASSES:
        return "rest"
    if error.stage in OPENING:
        signing_in = error.stage in {"token", "sign_in"}
        return "hold" if signing_in and not error.retryable else "rest"
    return _fate_of_a_message(error, cause)


def _fate_of_a_message(error: MailError, cause: str) -> Fate:
    if error.retryable:
        # A sender that is put off is put off for every job; a recipient or a message is not.
        of_all = error.stage == "envelope" and not isinstance(error, RecipientsRefusedError)
        return "rest" if of_all else "defer"
    # A full mailbox is emptied some day, so that its code of 5xx is no last word (RFC 3463 section 3.3, X.2.2).
    return "defer" if cause == "mailbox_full" else "fail"
