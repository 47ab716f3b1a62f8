"""What a refusal means: its cause, and whether the same attempt may succeed later.

By stage and response code, the first row that fits. Sources: RFC 2449 section 8.1, RFC 3206 section 4, the IANA
registry of POP3 response codes; Dovecot's and Gmail's words where they put two things under one code.
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
    retryable: bool
    words: str = ""


_ANY: Final = "greeting capabilities tls sign_in transaction quit"

_ROWS: Final = (
    _Row("tls", r"", "tls_not_offered", retryable=False),
    _Row(_ANY, r"IN-USE", "too_many_connections", retryable=True, words="number of connections"),
    _Row(_ANY, r"IN-USE", "mailbox_in_use", retryable=True),
    _Row(_ANY, r"LOGIN-DELAY", "login_delay", retryable=True),
    _Row("sign_in", r"SYS/TEMP", "sign_in_temporarily_unavailable", retryable=True),
    _Row("sign_in transaction", r"SYS/PERM", "pop_disabled", retryable=False, words="not enabled for POP"),
    _Row(_ANY, r"SYS/PERM", "unknown", retryable=False),
    _Row("greeting capabilities", r"SYS/TEMP", "server_busy", retryable=True),
    _Row("transaction quit", r"SYS/TEMP", "try_again_later", retryable=True),
    # A greeting is positive (RFC 1939 section 4); a server says no at the door where it is too busy or down.
    _Row("greeting", r"", "server_busy", retryable=True),
)


def cause_of(stage: Stage, reply: Reply, otherwise: str) -> tuple[str, bool]:
    """Return the cause of a refusal and whether it may pass by itself.

    Args:
        stage: where the server refused.
        reply: its words, an ``-ERR``.
        otherwise: the cause where no row fits.
    """
    code = reply.enhanced or ""
    for row in _ROWS:
        if (
            stage in row.stages.split()
            and (not row.code or code == row.code or code.startswith(f"{row.code}/"))
            and (not row.words or re.search(row.words, reply.words, re.IGNORECASE))
        ):
            return row.cause, row.retryable
    return otherwise, False
