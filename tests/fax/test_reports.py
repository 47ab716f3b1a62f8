"""Reports are matched to their fax, and only they change its status."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from alerts.devices import Clock
from fax.faxes import ALICE, COPIER, fax_device, files_in, store_incoming
from intake.opening import open_mail
from mailslot.message import Message
from mailslot.service.pipeline import Done
from mailslot.spool.job import CONFIRMATION_NOTE, ENVELOPE_ID, NOTIFY, NewJob
from mailslot_plugins.fax.capabilities import OWN_FEATURES, best_coding, takes_mmr
from mailslot_plugins.fax.cleanup import clean_up
from mailslot_plugins.fax.pipeline import pipeline

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.service.device import Device
    from mailslot.spool.job import Job

BOB = "bob@office.test"
ENVID, IDENTIFIER = "fax-0815", "<fax@example.test>"


async def faxed(device: Device, *to: str) -> Job:
    """A fax that the mail server accepted, with requested reports."""
    notes = {NOTIFY: "SUCCESS,FAILURE", ENVELOPE_ID: ENVID, CONFIRMATION_NOTE: "none yet"}
    new = NewJob("fax", "smtp", COPIER, to, "Fax", 3600.0, notes=notes, message_id=IDENTIFIER)
    job = await device.spool.accept(new, Message(sender=COPIER, to=to, message_id=IDENTIFIER, text="x"))
    async with device.spool.delivery_lock():
        await device.spool.claim("smtp")
        await device.spool.hand_over(job.id)
        return await device.spool.record_replies(job.id, accepted=to, reply="250 2.0.0 queued")


def dsn(*groups: str, envelope: str = ENVID, returned: str = "") -> bytes:
    blocks = [f"Original-Envelope-Id: {envelope}\nReporting-MTA: dns; mail.test", *groups]
    return report("delivery-status", "message/delivery-status", "\n\n".join(blocks), returned)


def mdn(disposition: str, *, to: str = ALICE, more: str = "", identifier: str = IDENTIFIER) -> bytes:
    fields = f"Final-Recipient: rfc822;{to}\nOriginal-Message-ID: {identifier}\nDisposition: {disposition}\n{more}"
    return report("disposition-notification", "message/disposition-notification", fields)


def report(kind: str, declared: str, fields: str, returned: str = "") -> bytes:
    lines = [
        "Return-Path: <>",
        "From: MAILER-DAEMON@mail.test",
        f"Content-Type: multipart/report; report-type={kind}; boundary=b",
        *("", "--b", "Content-Type: text/plain", "", "A report.", ""),
        *("--b", f"Content-Type: {declared}", "", fields, ""),
    ]
    if returned:
        lines += ["--b", "Content-Type: text/rfc822-headers", "", f"Message-ID: {returned}", "Subject: x", ""]
    return "\r\n".join([*lines, "--b--", ""]).encode()


def group(action: str, *, to: str = ALICE, status: str = "2.0.0", code: str = "") -> str:
    result = f"Final-Recipient: rfc822; {to}\nAction: {action}\nStatus: {status}"
    return f"{result}\nDiagnostic-Code: smtp; {code}" if code else result


AUTOMATIC = "automatic-action/MDN-sent-automatically"


@pytest.mark.parametrize(
    ("reports", "overall", "note"),
    [
        ([dsn(group("delivered"))], "delivered", "delivered: 2.0.0"),
        ([dsn(group("failed", status="5.1.1", code="550 no such user"))], "failed", "failed: 5.1.1 550 no such user"),
        ([dsn(group("relayed"))], "unknown", "unknown: 2.0.0"),
        ([dsn(group("expanded (list)"))], "unknown", "unknown: 2.0.0"),
        ([dsn(group("delayed", status="4.4.1"))], "delayed", "delayed: 4.4.1"),
        ([dsn(group("delayed")), dsn(group("delivered"))], "delivered", "delivered: 2.0.0"),
        ([dsn(group("rubbish"))], "none yet", None),
        ([dsn(group("delivered", to="someone@else.test"))], "delivered", "delivered: 2.0.0"),
        ([mdn(f"{AUTOMATIC}; dispatched")], "processed", "processed: dispatched"),
        ([mdn(f"{AUTOMATIC}; processed")], "processed", "processed: processed"),
        ([mdn("manual-action/MDN-sent-manually; displayed")], "processed", "processed: displayed"),
        ([mdn(f"{AUTOMATIC}; processed/error", more="Error: no paper")], "failed", "failed: processed/error no paper"),
        ([mdn(f"{AUTOMATIC}; failed")], "failed", "failed: failed"),
        ([mdn(f"{AUTOMATIC}; denied")], "unknown", "unknown: denied"),
        ([mdn(f"{AUTOMATIC}; deleted")], "unknown", "unknown: deleted"),
        ([dsn(group("delivered")), mdn(f"{AUTOMATIC}; dispatched")], "processed", "processed: dispatched"),
        ([mdn(f"{AUTOMATIC}; dispatched"), dsn(group("delivered"))], "processed", "processed: dispatched"),
        ([dsn(group("delivered")), mdn(f"{AUTOMATIC}; processed/error")], "failed", "failed: processed/error"),
        ([dsn(group("relayed")), dsn(group("delivered"))], "delivered", "delivered: 2.0.0"),
        ([dsn(group("delivered"), envelope="", returned=IDENTIFIER)], "delivered", "delivered: 2.0.0"),
        ([dsn(group("delivered"), envelope="fax-1")], "none yet", None),
        ([mdn(f"{AUTOMATIC}; dispatched", identifier="<other@x>")], "none yet", None),
    ],
)
async def test_reports(tmp_path: Path, reports: list[bytes], overall: str, note: str | None) -> None:
    async with fax_device(tmp_path / "home") as device:
        job = await faxed(device, ALICE)
        for number, octets in enumerate(reports):
            assert isinstance(await pipeline.handle(store_incoming(octets, tmp_path, number), device), Done)
        notes = (await device.spool.job(job.id)).notes
        assert (notes[CONFIRMATION_NOTE], notes.get(f"report of {ALICE}")) == (overall, note)
        assert notes[ENVELOPE_ID] == ENVID
    assert files_in(tmp_path / "home" / "fax") == [], "a report is no fax"


async def test_several_recipients(tmp_path: Path) -> None:
    async with fax_device(tmp_path / "home") as device:
        job = await faxed(device, ALICE, BOB)

        async def after(octets: bytes) -> str:
            await pipeline.handle(store_incoming(octets, tmp_path), device)
            return (await device.spool.job(job.id)).notes[CONFIRMATION_NOTE]

        assert await after(dsn(group("delivered"))) == "sent"
        assert await after(dsn(group("delivered", to="carol@x"))) == "sent", "it was not sent to her"
        assert await after(dsn(group("delivered", to=BOB.upper()))) == "delivered"
        assert await after(mdn(f"{AUTOMATIC}; dispatched")) == "delivered"
        assert await after(mdn(f"{AUTOMATIC}; dispatched", to=BOB)) == "processed"
        again = dsn(group("failed", status="5.0.0"), group("failed", to=BOB, status="5.0.0"))
        assert await after(again) == "processed", "what was printed was"


async def test_a_missing_report_means_unknown(tmp_path: Path) -> None:
    clock = Clock()
    async with fax_device(tmp_path / "home", clock=clock) as device:
        job = await faxed(device, ALICE, BOB)
        await pipeline.handle(store_incoming(dsn(group("delivered")), tmp_path), device)
        await clean_up(device)
        assert (await device.spool.job(job.id)).notes[CONFIRMATION_NOTE] == "sent"
        clock.now += 6 * 86400
        await clean_up(device)
        notes = (await device.spool.job(job.id)).notes
        assert notes[CONFIRMATION_NOTE] == "unknown"
        assert notes[f"report of {BOB}"] == "unknown: no report has come"
        # It may still come.
        await pipeline.handle(store_incoming(dsn(group("delivered", to=BOB)), tmp_path), device)
        assert (await device.spool.job(job.id)).notes[CONFIRMATION_NOTE] == "delivered"


async def test_journals_of_forgotten_mails_are_deleted(tmp_path: Path) -> None:
    async with fax_device(tmp_path / "home") as device:
        await device.store("fax").put("mail:77", {"from": "x"})
        await clean_up(device)
        assert await device.store("fax").items() == {}


async def test_capabilities_of_a_recipient_are_learned_and_forgotten(tmp_path: Path) -> None:
    store_features = f"Media-Accept-Features: {OWN_FEATURES}"
    async with fax_device(tmp_path / "home") as device:
        store = device.store("fax")
        await faxed(device, ALICE)
        assert await best_coding(store, [ALICE]) == "MH"
        await pipeline.handle(store_incoming(mdn(f"{AUTOMATIC}; dispatched", more=store_features), tmp_path), device)
        assert await best_coding(store, [ALICE.replace("test", "TEST")]) == "MMR"
        assert await best_coding(store, [ALICE, BOB]) == "MH"
    async with fax_device(tmp_path / "other") as device:
        store = device.store("fax")
        await store.put(f"capable {ALICE}", {"coding": "MMR", "at": 0.0})
        await faxed(device, ALICE)
        await pipeline.handle(store_incoming(mdn(f"{AUTOMATIC}; processed/error"), tmp_path), device)
        assert await best_coding(store, [ALICE]) == "MH"


@pytest.mark.parametrize(
    ("features", "takes"),
    [
        (OWN_FEATURES, True),
        ("(image-coding=MMR)", True),
        ("(& (color=Binary) (image-coding = [ MH , mmr ]))", True),
        ("(image-coding=MH)", False),
        ("(! (image-coding=MMR))", False),
        ("(image-coding=[MH", False),
        ("(image-coding=MMRX)", False),
        ("", False),
        ("(" * 2000 + "image-coding=MMR" + ")" * 5000, False),
    ],
)
def test_capabilities(features: str, takes: bool) -> None:
    assert takes_mmr(features) is takes


def test_groups_are_bounded() -> None:
    fields = "".join(f"X-{number}: y\n" for number in range(500))
    found = open_mail(dsn(*(group("delivered", to=f"{number}@x") for number in range(50)), fields)).report
    assert found is not None
    assert len(found.groups) == 52
    assert len(found.groups[-1]) == 50
