"""What a refusal means: by stage, response code and words, the first row that fits.

Sources: RFC 5530; Dovecot's and Gmail's words where they put two things under one code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mailslot.errors import Stage
    from mailslot.wire.reply import Reply


@dataclass(frozen=True, slots=True)
class _Row:
    stages: str
    code: str
    cause: str
    retryable: bool = False
    words: str = ""


_ANY: Final = "greeting capabilities tls sign_in transaction quit"

_ROWS: Final = (
    _Row("tls", "", "tls_not_offered"),
    # Gmail says it with the code ALERT, Dovecot with UNAVAILABLE.
    _Row(_ANY, "", "too_many_connections", retryable=True, words="(number of|simultaneous) connections"),
    _Row(_ANY, "IN-USE", "mailbox_in_use", retryable=True),
    _Row(_ANY, "LIMIT", "try_again_later", retryable=True),
    _Row("greeting capabilities", "SYS/TEMP", "server_busy", retryable=True),
    _Row("sign_in", "SYS/TEMP", "sign_in_temporarily_unavailable", retryable=True),
    _Row("transaction quit", "SYS/TEMP|SERVERBUG", "try_again_later", retryable=True),
    _Row("sign_in", "PRIVACYREQUIRED", "tls_required"),
    _Row("sign_in", "AUTHORIZATIONFAILED", "mailbox_not_allowed"),
    _Row("sign_in", "CONTACTADMIN", "account_locked"),
    _Row("transaction quit", "NOPERM", "mailbox_not_allowed"),
    _Row("transaction quit", "OVERQUOTA", "mailbox_full"),
    # Whoever is turned away at the door is to come again.
    _Row("greeting", "", "server_busy", retryable=True),
)


def cause_of(stage: Stage, reply: Reply, otherwise: str) -> tuple[str, bool]:
    """Return the cause of a refusal and whether it may pass by itself.

    Args:
        stage: where the server refused.
        reply: its words, a ``NO``, ``BAD`` or ``BYE``.
        otherwise: the cause where no row fits.
    """
    for row in _ROWS:
        if (
            stage in row.stages.split()
            and (not row.code or re.fullmatch(row.code, reply.enhanced or ""))
            and (not row.words or re.search(row.words, reply.words, re.IGNORECASE))
        ):
            return row.cause, row.retryable
    return otherwise, False
