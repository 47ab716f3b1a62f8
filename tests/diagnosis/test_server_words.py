"""What is left of a server's words for a person."""

from __future__ import annotations

import pytest

from mailslot.diagnosis.server_words import without_internals


@pytest.mark.parametrize(
    ("reply_text", "left"),
    [
        (
            "STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; A permanent exception.",
            "A permanent exception.",
        ),
        ("Authentication unsuccessful [BN9PR03CA0001.namprd03.prod.outlook.com]", "Authentication unsuccessful"),
        ("RESOLVER.RST.RecipSizeLimit; message too large for this recipient", "message too large for this recipient"),
        ("Username and Password not accepted. 12sm2095603fks.9 - gsmtp", "Username and Password not accepted."),
        ("Not now at Mail.Transport.Send(Message m) in Send.cs", "Not now"),
        ("No such user: alice@example.com", "No such user: alice@example.com"),
        ("STOREDRV.Submission.Exception:SubmissionQuotaExceededException", ""),
        ("", ""),
    ],
)
def test_what_is_left(reply_text: str, left: str) -> None:
    assert without_internals(reply_text) == left
