"""What a refusal means: its cause, and whether the same attempt may succeed later.

By stage, code and enhanced status code, in that order, the first row that fits. The words are asked only where
Microsoft puts three different things under one code (535 5.7.139). Sources: RFC 5321 section 4.2, RFC 4954
section 6, RFC 3463 and its registry, Microsoft's "Fix issues with printers, scanners, and LOB applications that
send email using Microsoft 365", Google's "SMTP error reference".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mailslot.errors import RecipientsRefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.errors import Stage
    from mailslot.wire.reply import Reply


@dataclass(frozen=True, slots=True)
class _Row:
    stages: str
    code: str
    enhanced: str
    cause: str
    words: str = ""


_ANY: Final = "greeting capabilities tls sign_in envelope data"

_ROWS: Final = (
    _Row(_ANY, r"421", r"4\.7\.66", "tls_failed"),
    _Row(_ANY, r"4..", r"4\.3\.2", "too_many_connections", "concurrent|thread limit"),
    _Row(_ANY, r"432", r"4\.3\.2", "too_many_connections"),
    _Row(_ANY, r"421", "", "server_busy"),
    _Row("greeting capabilities", r"4..", "", "server_busy"),
    _Row("tls", r"...", "", "tls_not_offered"),
    # Sign-in.
    _Row("sign_in", r"4..", "", "sign_in_temporarily_unavailable"),
    _Row("sign_in", r"53.", "", "smtp_auth_disabled", "SmtpClientAuthentication is disabled"),
    _Row(_ANY, r"5..", "", "password_no_longer_accepted", "basic authentication is (disabled|not supported)"),
    _Row("sign_in", r"5..", r"5\.7\.30", "password_no_longer_accepted"),
    _Row("sign_in", r"535", "", "sign_in_blocked_by_policy", "security defaults policy|did not meet the criteria"),
    _Row("sign_in", r"535", r"5\.7\.139", "sign_in_blocked_by_policy"),
    _Row("sign_in", r"500", r"5\.5\.6", "token_too_long"),
    _Row("sign_in", r"500|555", r"5\.5\.2", "token_too_long", "too long|goodbye"),
    _Row("sign_in", r"504|502", "", "sign_in_method_not_offered"),
    _Row("sign_in", r"538", "", "tls_required"),
    _Row("sign_in", r"534", r"5\.7\.9", "app_password_required"),
    # The envelope and the message.
    _Row("envelope data", r"530", "", "tls_required", "STARTTLS"),
    _Row("envelope data", r"530", "", "authentication_required"),
    _Row("envelope data", r"552|523", r"5\.2\.2", "mailbox_full"),
    _Row("envelope data", r"4..|5..", r"[45]\.2\.2", "mailbox_full"),
    _Row("envelope data", r"5..", r"5\.(3\.4|2\.3)", "message_too_large"),
    _Row("envelope data", r"5..", r"5\.1\.8|5\.7\.708", "sender_blocked"),
    _Row("envelope data", r"5..", r"5\.1\.90", "sending_limit_reached"),
    _Row("envelope data", r"4..", r"4\.7\.28|4\.1\.90", "sending_limit_reached"),
    _Row("envelope data", r"5..", r"5\.7\.60|5\.2\.252|5\.1\.7|5\.6\.8", "sender_refused"),
    _Row("envelope data", r"4..", "", "try_again_later"),
    _Row("data", r"552", r"5\.7\..*", "content_refused"),
    _Row("data", r"552", "", "message_too_large"),
    _Row("data", r"5..", "", "content_refused"),
)


def cause_of(stage: Stage, reply: Reply, otherwise: str) -> tuple[str, bool]:
    """Return the cause of a refusal and whether it may pass by itself.

    Args:
        stage: where the server refused.
        reply: its words, of 4xx or 5xx.
        otherwise: the cause where no row fits.
    """
    code, enhanced = str(reply.code), reply.enhanced or ""
    for row in _ROWS:
        if (
            stage in row.stages.split()
            and re.fullmatch(row.code, code)
            and (not row.enhanced or re.fullmatch(row.enhanced, enhanced))
            and (not row.words or re.search(row.words, reply.words, re.IGNORECASE))
        ):
            return row.cause, code.startswith("4")
    return otherwise, code.startswith("4")


def nobody_accepted(host: str, refused: Mapping[str, Reply]) -> RecipientsRefusedError:
    """Return the error for a message that nobody is to get.

    Args:
        host: the server.
        refused: what it said of each recipient.
    """
    causes = {reply: cause_of("envelope", reply, "recipient_refused") for reply in refused.values()}
    first = next(iter(refused.values()))
    return RecipientsRefusedError(
        f"The mail server {host} refused every recipient: {first.words}",
        cause=causes[first][0],
        refused=refused,
        retryable=any(retryable for _, retryable in causes.values()),
        detail="; ".join(f"{address}: {reply}" for address, reply in refused.items()),
    )
