"""What refusals mean by their codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailslot import Reply
from mailslot.causes.judge import judge
from mailslot.causes.refusal import Refusal

if TYPE_CHECKING:
    from mailslot.errors import Stage


@pytest.mark.parametrize(
    ("stage", "code", "enhanced", "text", "cause", "retryable"),
    [
        ("greeting", 421, None, "", "server_busy", True),
        ("greeting", 450, "4.3.2", "", "server_busy", True),
        ("greeting", 554, None, "", "unknown", False),
        ("capabilities", 451, None, "", "server_busy", True),
        ("capabilities", 550, None, "", "unknown", False),
        ("tls", 454, "4.7.0", "", "tls_not_offered", True),
        ("tls", 450, "4.7.1", "greylisted", "server_busy", True),
        ("tls", 451, None, "local error", "server_busy", True),
        ("tls", 554, None, "", "tls_not_offered", False),
        ("sign_in", 432, "4.7.12", "A password transition is needed", "sign_in_temporarily_unavailable", True),
        ("sign_in", 432, "4.3.2", "Concurrent connections limit exceeded", "too_many_connections", True),
        ("sign_in", 421, "4.7.0", "too many errors", "sign_in_temporarily_unavailable", True),
        ("sign_in", 500, "5.5.2", "unrecognized command", "sign_in_method_not_offered", False),
        ("sign_in", 504, "5.5.4", "", "sign_in_method_not_offered", False),
        ("sign_in", 535, "5.7.139", "who knows", "sign_in_blocked_by_policy", False),
        ("sign_in", 535, None, "", "unknown", False),
        ("envelope", 550, "5.1.1", "no such user", "recipient_refused", False),
        ("envelope", 450, "4.2.0", "greylisted", "try_again_later", True),
        ("envelope", 452, "4.2.2", "mailbox full", "mailbox_full", True),
        ("envelope", 553, "5.1.7", "bad sender", "sender_refused", False),
        ("envelope", 452, "4.5.3", "too many", "try_again_later", True),
        ("envelope", 450, "4.7.28", "rate limit", "sending_limit_reached", True),
        ("data", 451, None, "", "try_again_later", True),
        ("data", 552, None, "", "message_too_large", False),
        ("data", 552, "5.7.0", "illegal attachment", "content_refused", False),
        ("data", 523, "5.3.4", "", "message_too_large", False),
        ("data", 554, "5.6.0", "", "content_refused", False),
        ("data", 550, "5.7.1", "spam", "content_refused", False),
        ("data", 432, "4.3.2", "STOREDRV.ClientSubmit; sender thread limit exceeded", "too_many_connections", True),
        ("data", 421, "4.3.2", "shutting down", "server_busy", True),
    ],
)
def test_causes(stage: Stage, code: int, enhanced: str | None, text: str, cause: str, retryable: bool) -> None:
    refusal = Refusal(protocol="SMTP", stage=stage, reply=Reply(code, enhanced, text, positive=False))
    assert judge(refusal) == (cause, retryable)
