"""The verdict on a device's connection."""

from __future__ import annotations

import pytest

from diagnosis.test_every_cause import OF_DEVICES
from mailslot.diagnosis.catalogue import languages, messages
from mailslot.net.peer import Peer
from mailslot.smtp.server import replies
from mailslot.smtp.server.backend import Connection
from mailslot.smtp.server.replies import reply
from mailslot_plugins.gateway.verdict import Verdict, dialogue_of, fetching_verdict, submission_verdict

ENDED = {
    "device_tls_too_old": {"tls_error": "UNSUPPORTED_PROTOCOL"},
    "device_distrusts_certificate": {"tls_error": "TLSV1_ALERT_UNKNOWN_CA"},
    "device_tls_failed": {"tls_error": "CONNECTION_CLOSED"},
    "device_wrong_encryption": {"tls_error": "WRONG_VERSION_NUMBER"},
    "device_not_signed_in": {"refusal": replies.AUTHENTICATION_REQUIRED},
    "device_password_wrong": {"refusal": replies.AUTHENTICATION_FAILED},
    "device_signs_in_without_tls": {"refusal": replies.TLS_REQUIRED},
    "device_sender_not_allowed": {"refusal": replies.SENDER_NOT_ALLOWED, "command": "MAIL"},
    "device_recipient_not_allowed": {"refusal": replies.RECIPIENT_NOT_ALLOWED, "command": "RCPT"},
    "device_message_too_large": {"refusal": replies.TOO_LARGE},
    "device_too_fast": {"refusal": replies.too_fast(3)},
    "device_gone": {"ending": "closed"},
    "device_silent": {"ending": "idle"},
    "device_speaks_otherwise": {"ending": "protocol"},
    "device_unknown": {"refusal": replies.NOT_ALLOWED_HERE},
    "account_not_set_up": {"refusal": reply(451, "4.3.5", "Not set up")},
    "mail_loop": {"refusal": replies.MAIL_LOOP},
    "spool_full": {"refusal": replies.SPOOL_FULL},
    "ok": {"ending": "quit"},
}


def connection(*, tls_error: str | None = None, ending: object = "quit", **_: object) -> Connection:
    ended = Connection(Peer("scan", "10.0.3.7", 40_000, tls_error=tls_error), 0.0)
    ended.ending = ending
    return ended


def test_every_cause_of_devices_has_a_way() -> None:
    assert {*ENDED, "device_without_quit"} >= OF_DEVICES


@pytest.mark.parametrize("cause", ENDED)
def test_each_ending_has_its_cause(cause: str) -> None:
    ended = ENDED[cause]
    refusal = ended.get("refusal")
    command = str(ended.get("command", ""))
    verdict = submission_verdict(connection(**ended), refusal, stored=0, refused_command=command)
    assert verdict.cause == cause


def test_a_device_that_hangs_up_after_its_message_is_well() -> None:
    for ending in ("closed", "idle", "quit"):
        verdict = submission_verdict(connection(ending=ending), None, stored=2)
        assert verdict == Verdict("ok", "2 messages were accepted.")
        dialogue = dialogue_of(connection(ending=ending), 1.0, verdict, messages=2)
        assert (dialogue.ok, dialogue.cause, dialogue.messages) == (True, "ok", 2)


def test_a_device_that_only_connects() -> None:
    verdict = submission_verdict(connection(), None, stored=0)
    assert verdict == Verdict("ok", "It connected and left without a message.")


def test_a_device_that_fetches_and_hangs_up_without_quit() -> None:
    ended = connection(ending="closed")
    ended.user = "hall"
    assert fetching_verdict(ended, None, retrieved=2, deleted=0).cause == "device_without_quit"
    ended.ending = "quit"
    assert fetching_verdict(ended, None, retrieved=2, deleted=1) == Verdict("ok", "2 messages fetched, 1 deleted.")


@pytest.mark.parametrize("language", languages())
def test_it_is_one_sentence_in_each_language(language: str) -> None:
    for cause in OF_DEVICES:
        sentence = messages(language)[cause]["sentence"]
        assert sentence.endswith((".", "。"))
        assert sentence.count("。") <= 1
