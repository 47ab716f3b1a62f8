"""Receipts for faxes: who gets one, and who never does (RFC 8098 section 2.1)."""

from __future__ import annotations

import email
from email import policy
from typing import TYPE_CHECKING

import pytest

from alerts.devices import Clock, sent_messages
from fax.faxes import ALICE, COPIER, FAX, fax_device, files_in, make_mail, store_incoming
from intake.opening import open_mail
from mailslot.service.pipeline import Done, SetAside
from mailslot_plugins.fax import sender_notification
from mailslot_plugins.fax.pipeline import pipeline
from mailslot_plugins.fax.receipt import compose_receipt, decide_receipt

if TYPE_CHECKING:
    from pathlib import Path

RECEIPT_REQUEST = {"Disposition-Notification-To": ALICE}
RECEIPTS = f'allowed_senders = "{ALICE}"\nreceipts = true'


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One is enough for what becomes of a fax; the whole way of one has tests on both."""
    return "asyncio"


@pytest.mark.parametrize(
    ("fields", "to"),
    [
        ({}, ALICE),
        ({"Disposition-Notification-To": f"Alice <{ALICE}>"}, ALICE),
        ({"Disposition-Notification-To": "alice@EXAMPLE.test"}, ALICE),
        ({"Disposition-Notification-To": '"alice"@example.test'}, ALICE),
        ({"Return-Path": '<"al\\ice"@Example.test>'}, ALICE),
        ({"Auto-Submitted": "no"}, ALICE),
        ({"Disposition-Notification-Options": "x=optional,1"}, ALICE),
        ({"Disposition-Notification-To": ""}, ""),
        ({"Disposition-Notification-To": "Alice@example.test"}, ""),
        ({"Disposition-Notification-To": "alice+fax@example.test"}, ""),
        ({"Disposition-Notification-To": f"{ALICE}, {ALICE}"}, ""),
        ({"Disposition-Notification-To": f"{ALICE}, bob@example.test"}, ""),
        ({"Disposition-Notification-To": "bob@example.test"}, ""),
        ({"Return-Path": ""}, ""),
        ({"Return-Path": "<>"}, ""),
        ({"Return-Path": "<bob@example.test>"}, ""),
        ({"Return-Path": "<bob@example.test>", "Disposition-Notification-To": "bob@example.test"}, ""),
        ({"Disposition-Notification-Options": "x=required,1; y=optional,2"}, ""),
        ({"Disposition-Notification-Options": "x = Required,1"}, ""),
        ({"Auto-Submitted": "auto-generated"}, ""),
        ({"Auto-Submitted": "auto-replied"}, ""),
        ({"Precedence": "bulk"}, ""),
        ({"List-Id": "<all.example.test>"}, ""),
        ({"X-Auto-Response-Suppress": "All"}, ""),
        ({"Return-Path": f"<{COPIER}>", "Disposition-Notification-To": COPIER}, ""),
        ({"Return-Path": "<noreply@office.test>", "Disposition-Notification-To": "noreply@office.test"}, ""),
    ],
)
def test_requests_that_get_a_receipt(fields: dict[str, str], to: str) -> None:
    mail = open_mail(make_mail(FAX, fields={**RECEIPT_REQUEST, **fields}))
    judged = decide_receipt(mail, {COPIER}, (ALICE, COPIER, "@office.test"))
    assert judged.address == to
    assert bool(judged.refusal) is not bool(to)


@pytest.mark.parametrize(
    "extra", [b"Return-Path: <alice@example.test>\r\n", b"Disposition-Notification-To: alice@example.test\r\n"]
)
def test_duplicate_fields_get_no_receipt(extra: bytes) -> None:
    assert not decide_receipt(open_mail(extra + make_mail(FAX, fields=RECEIPT_REQUEST)), set(), (ALICE,)).address


def test_no_receipt_without_allowed_senders() -> None:
    assert not decide_receipt(open_mail(make_mail(FAX, fields=RECEIPT_REQUEST)), set(), ()).address


@pytest.mark.parametrize("broken", [False, True])
async def test_the_content_of_a_receipt(tmp_path: Path, broken: bool) -> None:
    file = b"II*\0broken" if broken else FAX
    octets = make_mail(file, fields={**RECEIPT_REQUEST, "Original-Recipient": "rfc822;fax@office.test"})
    async with fax_device(tmp_path / "home", RECEIPTS) as device:
        for _ in range(2):
            outcome = await pipeline.handle(store_incoming(octets, tmp_path), device)
        # The same mail under another number, as after the mail server gave all of them new unique-ids.
        await pipeline.handle(store_incoming(octets, tmp_path, 2), device)
        [job] = await device.spool.jobs()
        [mail] = await sent_messages(device)
    assert isinstance(outcome, SetAside if broken else Done)
    assert (job.pipeline, job.sender, job.notes["notify"]) == ("fax-answers", "", "NEVER")
    assert [each.address for each in job.recipients] == [ALICE]
    assert (mail["From"], mail["To"], mail["Auto-Submitted"]) == (COPIER, ALICE, "auto-replied")
    assert mail["Disposition-Notification-To"] is None
    assert mail["In-Reply-To"] == "<1@example.test>"
    assert mail.get_content_type() == "multipart/report"
    assert mail.get_param("report-type") == "disposition-notification"
    octets = mail.as_bytes()
    assert b"TIFF-minimal" in octets
    assert b"image/tiff" not in octets
    report = open_mail(octets).report
    assert report is not None
    [fields] = report.groups
    assert fields["reporting-ua"] == "Copier; mailslot"
    assert fields["final-recipient"] == f"rfc822;{COPIER}"
    assert fields["original-recipient"] == "rfc822;fax@office.test"
    assert fields["original-message-id"] == "<1@example.test>"
    kind = "processed/error" if broken else "dispatched"
    assert fields["disposition"] == f"automatic-action/MDN-sent-automatically; {kind}"
    assert fields.get("error", "").startswith("'fax0.tif' cannot be printed" if broken else "")
    assert ("error" in fields) is broken


def test_a_receipt_cannot_be_injected_into() -> None:
    fields = {**RECEIPT_REQUEST, "Message-ID": "", "Subject": "=?utf-8?Q?a=0D=0ABcc:_x=40y?="}
    mail = open_mail(make_mail(FAX, fields=fields))
    octets = compose_receipt(
        mail, sender=COPIER, mailbox=COPIER, to=ALICE, device="Evil\r\nBcc: x@y – Ä", error="a\r\nBcc: x@y ü", at=0.0
    )
    message = email.message_from_bytes(octets, policy=policy.default)
    assert message["Bcc"] is None
    assert message["References"] is None
    report = open_mail(octets).report
    assert report is not None
    assert "bcc" not in report.groups[0]
    assert "original-message-id" not in report.groups[0]
    assert all(len(line) < 998 for line in octets.splitlines())


@pytest.mark.parametrize("settings", ["", f'allowed_senders = "{ALICE}"', "receipts = true"])
async def test_off_by_default(tmp_path: Path, settings: str) -> None:
    async with fax_device(tmp_path / "home", settings) as device:
        assert await pipeline.handle(store_incoming(make_mail(FAX, fields=RECEIPT_REQUEST), tmp_path), device) == Done(
            "printed"
        )
        assert await device.spool.jobs() == []


async def test_failures_answered_by_mail(tmp_path: Path) -> None:
    async with fax_device(tmp_path / "home", f'allowed_senders = "{ALICE}"\nanswer_failures = true') as device:
        for _ in range(2):
            await pipeline.handle(store_incoming(make_mail(b"PK\3\4", names=("a.zip",)), tmp_path), device)
        await pipeline.handle(store_incoming(make_mail(FAX, fields={"Message-ID": "<2@x>"}), tmp_path, 2), device)
        [mail] = await sent_messages(device)
    assert mail["Subject"] == "Auto: Re: Fax from Alice"
    assert mail["Auto-Submitted"] == "auto-replied"
    assert "'a.zip' cannot be printed" in mail.get_content()


async def test_notifications_per_hour_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_notification, "MAX_PER_SENDER", 2)
    clock = Clock()
    async with fax_device(tmp_path / "home", RECEIPTS, clock) as device:
        octets = make_mail(text="x", fields=RECEIPT_REQUEST)
        for number in range(4):
            one = octets.replace(b"<1@example.test>", b"<%d@x>" % number)
            assert await pipeline.handle(store_incoming(one, tmp_path, number), device) == Done("printed")
        assert len(await device.spool.jobs()) == 2
        assert len(files_in(tmp_path / "home" / "fax")) == 4


async def test_two_devices_do_not_go_on_for_ever(tmp_path: Path) -> None:
    """Both send receipts and forward faxes to each other."""
    other = "other@example.test"
    common = 'allowed_senders = "@example.test"\nreceipts = true\nanswer_failures = true\nconfirmation = true\n'
    first_settings = f'{common}deliver_to = "folder fax; mail {other}"'
    second_settings = f'{common}deliver_to = "folder fax; mail {COPIER}"'
    async with (
        fax_device(tmp_path / "first", first_settings) as first,
        fax_device(tmp_path / "second", second_settings) as second,
    ):
        text = (tmp_path / "second" / "mailslot.toml").read_text().replace(COPIER, "@", 1)
        text = text.replace('sender_address = "@"', f'sender_address = "{other}"')
        (tmp_path / "second" / "mailslot.toml").write_text(text)
        devices = {COPIER: first, other: second}
        fax = make_mail(FAX, fields={"Return-Path": f"<{other}>", "From": other, "Disposition-Notification-To": other})
        waiting = [(COPIER, fax)]
        seen: dict[str, int] = {COPIER: 0, other: 0}
        handled = 0
        while waiting and handled < 20:
            whose, octets = waiting.pop()
            handled += 1
            await pipeline.handle(store_incoming(octets, tmp_path, handled), devices[whose])
            for address, device in devices.items():
                for job in reversed(await device.spool.jobs()):
                    if job.id > seen[address]:
                        seen[address] = job.id
                        head = f"Return-Path: <{job.sender}>\r\n".encode()
                        body = b"".join([piece async for piece in device.spool.content(job).chunks()])
                        waiting += [(each.address, head + body) for each in job.recipients if each.address in devices]
    # The fax; the receipt for it; the fax mailed on, which is automatic and goes no further.
    assert handled == 3
