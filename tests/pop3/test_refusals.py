"""The causes of refusals."""

from __future__ import annotations

import pytest

from mailslot.causes.judge import judge
from mailslot.causes.refusal import Refusal
from mailslot.pop3.replies import parse_status

STAGES = ("greeting", "capabilities", "tls", "sign_in", "transaction", "quit")


@pytest.mark.parametrize(
    ("stage", "words", "cause", "retryable"),
    [
        ("greeting", "too many connections", "too_many_connections", True),
        ("greeting", "[SYS/TEMP] busy", "server_busy", True),
        ("greeting", "[SYS/PERM] out of order", "unknown", False),
        ("greeting", "[LOGIN-DELAY] minimum time between mail checks violation", "login_delay", True),
        ("capabilities", "[SYS/TEMP] busy", "server_busy", True),
        ("tls", "[SYS/TEMP] not now", "server_busy", True),
        ("tls", "[SYS/TEMP] TLS not available", "server_busy", True),
        ("tls", "", "tls_not_offered", False),
        ("sign_in", "[IN-USE] Mailbox is locked by another POP3 session.", "mailbox_in_use", True),
        ("sign_in", "[IN-USE] Maximum number of connections from user+IP exceeded", "too_many_connections", True),
        ("sign_in", "[LOGIN-DELAY] wait", "login_delay", True),
        ("sign_in", "[SYS/TEMP] Temporary authentication failure.", "sign_in_temporarily_unavailable", True),
        ("sign_in", "[SYS/TEMP/DISK] x", "sign_in_temporarily_unavailable", True),
        ("sign_in", "[SYS/TEMPORARY] x", "unknown", False),
        ("sign_in", "[SYS/PERM] account disabled", "account_locked", False),
        ("transaction", "[SYS/PERM] Your account is not enabled for POP access.", "pop_disabled", False),
        ("transaction", "[SYS/PERM] x", "unknown", False),
        ("sign_in", "[AUTH] no", "unknown", False),
        ("sign_in", "", "unknown", False),
        ("transaction", "[SYS/TEMP] disk", "try_again_later", True),
        ("transaction", "no such message", "unknown", False),
        ("transaction", "[UTF8] message", "unknown", False),
        ("quit", "[SYS/TEMP] some deleted messages not removed", "try_again_later", True),
        ("quit", "some deleted messages not removed", "unknown", False),
    ],
)
def test_cause(stage, words: str, cause: str, retryable: bool) -> None:
    """RFC 2449 section 8.1, RFC 3206 section 4."""
    reply = parse_status(f"-ERR {words}".encode())
    assert judge(Refusal(protocol="POP3", stage=stage, reply=reply)) == (cause, retryable)
