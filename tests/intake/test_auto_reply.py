"""Who gets an automatic reply, and who does not (RFC 3834)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from alerts.devices import SETTINGS, Clock, run_device
from intake.opening import open_mail
from mailslot_plugins.intake.auto_reply import count_reply
from mailslot_plugins.intake.auto_reply_policy import ReplyDecision, decide_reply

if TYPE_CHECKING:
    from pathlib import Path

HOUR = 3600

ALICE = "alice@example.test"
ALLOWED = ("alice@example.test", "@office.test")
OWN = {"copier@example.test"}


def judged(
    *fields: str, return_path: str | None = f"<{ALICE}>", sender: str = ALICE, allowed: tuple[str, ...] = ALLOWED
) -> ReplyDecision:
    lines = [f"From: {sender}", "Subject: status", *fields]
    if return_path is not None:
        lines.insert(0, f"Return-Path: {return_path}")
    return decide_reply(open_mail("\r\n".join([*lines, "", "status"]).encode()), OWN, allowed)


def test_an_allowed_person_is_answered() -> None:
    assert judged() == ReplyDecision(ALICE)
    assert judged("Auto-Submitted: no", "Precedence: normal", "Reply-To: evil@example.test") == ReplyDecision(ALICE)
    assert judged(return_path="Alice@EXAMPLE.test") == ReplyDecision("Alice@EXAMPLE.test")
    assert judged(sender="Bob <bob@office.test>", return_path="<bob@office.test>") == ReplyDecision("bob@office.test")
    assert judged(return_path=None) == ReplyDecision(ALICE)
    assert judged("X-Auto-Response-Suppress: DR, RN") == ReplyDecision(ALICE)


@pytest.mark.parametrize(
    "sender",
    [
        "alice@example.test <alice@example.test>",
        "'alice@example.test' <alice@example.test>",
        "Müller, Alice <alice@example.test>",
        "evil@example.test <alice@example.test>",
    ],
)
def test_a_person_whose_name_is_written_badly_is_one_sender(sender: str) -> None:
    assert judged(sender=sender) == ReplyDecision(ALICE)


@pytest.mark.parametrize(
    "subject",
    [
        "delivery failed",
        "Delivery status of our order: late",
        "Auto: Rechnung",
        "Returned mail",
        "Fwd: Undeliverable: x",
    ],
)
def test_a_person_who_writes_about_failures_is_answered(subject: str) -> None:
    mail = open_mail(f"Return-Path: <{ALICE}>\r\nFrom: {ALICE}\r\nSubject: {subject}\r\n\r\nHello.".encode())
    assert decide_reply(mail, OWN, ALLOWED) == ReplyDecision(ALICE)


def test_an_empty_list_allows_nobody() -> None:
    assert judged(allowed=()).refusal == "alice@example.test is not an allowed sender"


@pytest.mark.parametrize(
    ("properties", "why"),
    [
        ({"return_path": "<>"}, "null sender"),
        ({"return_path": "<evil@example.test>"}, "evil@example.test is not an allowed sender"),
        ({"sender": "evil@example.test"}, "evil@example.test is not an allowed sender"),
        ({"sender": "bob@sub.office.test"}, "not an allowed sender"),
        ({"sender": "alice@example.test.evil.test"}, "not an allowed sender"),
        ({"sender": f"{ALICE}, bob@office.test"}, "not have exactly one sender"),
        ({"sender": ""}, "cannot be answered"),
        ({"sender": '"alice@example.test" <evil@example.test>'}, "not an allowed sender"),
        ({"sender": "alice@example.test <evil@example.test>"}, "evil@example.test is not an allowed sender"),
        ({"sender": "<alice@example.test> <evil@example.test>"}, "not have exactly one sender"),
        ({"sender": "evil@example.test, <alice@example.test>"}, "not have exactly one sender"),
        (
            {"sender": "alice@example.test\r\nthis is no field\r\nFrom: evil@example.test"},
            "not have exactly one sender",
        ),
        ({"sender": "=?utf-8?q?alice=40example.test?= <evil@example.test>"}, "not an allowed sender"),
        ({"sender": "=?utf-8?q?alice=40example.test?="}, "cannot be answered"),
        ({"sender": "copier@example.test", "return_path": "<copier@example.test>"}, "this device itself"),
        ({"return_path": "<Copier@Example.test>"}, "this device itself"),
        ({"sender": "noreply@office.test", "return_path": "<noreply@office.test>"}, "a machine"),
        ({"sender": "owner-list@office.test", "return_path": None}, "a machine"),
        ({"sender": "list-request@office.test", "return_path": None}, "a machine"),
    ],
)
def test_senders_that_get_no_reply(properties: dict[str, str], why: str) -> None:
    assert why in judged(**properties).refusal  # type: ignore[arg-type] - strings by name


@pytest.mark.parametrize(
    "field",
    [
        "Auto-Submitted: auto-replied",
        "auto-submitted: Auto-Generated (alarm); owner-email=a@b",
        "Auto-Submitted: no\r\nAuto-Submitted: auto-notified",
        "Precedence: bulk",
        "Precedence: LIST",
        "List-Id: <all.office.test>",
        "List-Unsubscribe: <mailto:x@y>",
        "X-Autoreply: yes",
        "X-Auto-Response-Suppress: All",
        "X-Auto-Response-Suppress: OOF, AutoReply",
        "Content-Type: multipart/report; report-type=delivery-status; boundary=x",
        "Return-Path: <alice@example.test>",
    ],
)
def test_mails_that_get_no_reply(field: str) -> None:
    assert judged(field).refusal


@pytest.mark.parametrize(
    "subject",
    [
        "Auto: Re: status",
        "Automatic reply: status",
        "Out of Office: status",
        "Automatische Antwort: x",
        "Undeliverable: x",
    ],
)
def test_an_unmarked_vacation_responder_gets_no_reply(subject: str) -> None:
    mail = open_mail(f"From: {ALICE}\r\nSubject: {subject}\r\n\r\n".encode())
    assert "automatic reply" in decide_reply(mail, OWN, ALLOWED).refusal


async def test_replies_per_hour_are_limited(tmp_path: Path) -> None:
    clock = Clock(600_000.0)
    async with run_device(tmp_path, SETTINGS, clock) as device:
        count = partial(count_reply, device, "status", max_per_address=6, max_total=8)
        for number in range(6):
            clock.now += 1
            assert await count(f"k{number}", ALICE) == ""
        assert await count("k0", ALICE) == "", "the same again counts once"
        assert "6 times" in await count("k6", ALICE.upper())
        for number in range(2):
            assert await count(f"o{number}", f"{number}@x") == ""
        assert "8 answers" in await count("o9", "9@x")
        clock.now += HOUR - 10
        assert "6 times" in await count("k6", ALICE)
        clock.now += 120
        assert await count("k9", ALICE) == ""
        assert set(await device.store("status answers").items()) == {"total", "reply k9", f"to {ALICE}"}


async def test_a_clock_that_is_set_back_stops_no_replies_for_long(tmp_path: Path) -> None:
    clock = Clock(600_000.0)
    async with run_device(tmp_path, SETTINGS, clock) as device:
        count = partial(count_reply, device, "status", max_per_address=2, max_total=2)
        for number in range(2):
            assert await count(f"k{number}", ALICE) == ""
        clock.now = 1_000.0
        assert await count("k2", ALICE)
        clock.now += HOUR + 120
        assert await count("k2", ALICE) == ""
