"""Reports that mail servers write as text: matched to the job, and never printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fax.faxes import ALICE, COPIER, fax_device, files_in, store_incoming
from fax.test_reports import BOB, IDENTIFIER, faxed
from intake.opening import open_mail
from mailslot.message import Message
from mailslot.service.pipeline import Done, SetAside
from mailslot.spool.job import CONFIRMATION_NOTE, NewJob
from mailslot_plugins.fax.pipeline import pipeline

if TYPE_CHECKING:
    from pathlib import Path

DAEMON = "Return-Path: <>\nFrom: Mail Delivery System <MAILER-DAEMON@mail.test>\n"
RETURNED = (
    f"Received: from copier (copier [192.0.2.1])\n\tby mail.test\nMessage-ID: {IDENTIFIER}\n"
    f"From: {COPIER}\nTo: {ALICE}\n"
)

QMAIL = f"""{DAEMON}Subject: failure notice

Hi. This is the qmail-send program at mail.test.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<{ALICE}>:
192.0.2.2 does not like recipient.
Remote host said: 550 5.1.1 No such user here
Giving up on 192.0.2.2.

--- Below this line is a copy of the message.

{RETURNED}Subject: Fax

x
"""
EXIM = f"""Return-Path: <>
X-Failed-Recipients: {ALICE}
Auto-Submitted: auto-replied
From: Mail Delivery System <Mailer-Daemon@mail.test>
Subject: Mail delivery failed: returning message to sender

This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  {ALICE}
    host mx.example.test [192.0.2.2]
    SMTP error from remote mail server after RCPT TO:<{ALICE}>:
    552 5.2.2 Mailbox full

------ This is a copy of the message, including all the headers. ------

{RETURNED}
"""
GMAIL = f"""Return-Path: <>
From: Mail Delivery Subsystem <mailer-daemon@googlemail.com>
X-Failed-Recipients: {ALICE}
Subject: Delivery Status Notification (Failure)
Content-Type: text/plain; charset=UTF-8
Content-Transfer-Encoding: quoted-printable

Delivery to the following recipient failed permanently:

     {ALICE}

Technical details of permanent failure:=20
The error that the other server return=
ed was: 550 550 5.7.1 Rejected by policy (state 14).

----- Original message -----

{RETURNED}
"""
OPENSMTPD = f"""Return-Path: <>
From: Mailer Daemon <MAILER-DAEMON@mail.test>
Subject: Delivery status notification: error

    Hi!

    This is the MAILER-DAEMON, please DO NOT REPLY to this e-mail.

    An error has occurred while attempting to deliver a message for
    the following list of recipients:

{ALICE}: Domain does not exist

    Below is a copy of the original message:

{RETURNED}
"""
DELAYED = f"""Return-Path: <>
Auto-Submitted: auto-replied
From: Mail Delivery System <Mailer-Daemon@mail.test>
Subject: Warning: message 1abc delayed 24 hours

A message that you sent has not yet been delivered to one or more of its
recipients after more than 24 hours on the queue.

The message identifier is: 1abc
The address to which the message has not yet been delivered is:

  {ALICE}
    Delay reason: mailbox is full (MTA-imposed quota exceeded while writing)

No action is required on your part. Delivery attempts will continue for
some time, and this warning may be repeated at intervals.

{RETURNED}
"""
MIXED = f"""{DAEMON}Subject: Delivery status notification: failed
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain

{ALICE}: 550 5.7.26 Multiple authentication checks failed

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mail.test

Final-Recipient: rfc822; {ALICE}
Action: failed
Status: 5.0.0

--b
Content-Type: text/rfc822-headers

this line is damaged
{RETURNED}
--b--
"""
POSTMASTER = f"""Return-Path: <postmaster@mail.test>
From: postmaster@mail.test
Subject: Undeliverable message
In-Reply-To: {IDENTIFIER}

Invalid recipient: {ALICE}
"""
EMPTY_FROM = f"""From: MAILER-DAEMON <>
Subject: Mail delivery failed

There was an error delivering your mail to <{ALICE}>.

mx.example.test [192.0.2.2] did not like our RCPT TO:
550 5.1.1 <{ALICE}>: Recipient address rejected: User unknown

Message headers follow.

Message-Id: {IDENTIFIER}
"""
IN_BASE64 = f"""{DAEMON}Subject: =?utf-8?B?VW5kZWxpdmVyYWJsZQ==?=
Content-Type: text/html; charset=utf-8

<html><body><p>Delivery has failed to these recipients:</p><p><a href="mailto:{ALICE}">{ALICE}</a><br>
The address does not exist.</p><p>#550 5.1.10 RESOLVER.ADR.RecipientNotFound ##</p>
<p>Original message headers:</p><pre>Message-ID: &lt;{IDENTIFIER.strip("<>")}&gt;</pre></body></html>
"""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One is enough for what becomes of a report; the whole way of one has tests on both."""
    return "asyncio"


@pytest.mark.parametrize(
    ("mail", "status", "words"),
    [
        (QMAIL, "failed", "5.1.1"),
        (EXIM, "failed", "5.2.2"),
        (GMAIL, "failed", "5.7.1"),
        (OPENSMTPD, "failed", "Domain does not exist"),
        (DELAYED, "delayed", "mailbox is full"),
        (MIXED, "failed", "5.7.26"),
        (POSTMASTER, "failed", "Invalid recipient"),
        (EMPTY_FROM, "failed", "5.1.1"),
        (IN_BASE64, "failed", "5.1.10"),
    ],
    ids=["qmail", "Exim", "Gmail", "OpenSMTPD", "delayed", "mixed", "postmaster", "empty From", "HTML"],
)
async def test_a_report_as_text_is_matched(tmp_path: Path, mail: str, status: str, words: str) -> None:
    async with fax_device(tmp_path / "home") as device:
        job = await faxed(device, ALICE)
        outcome = await pipeline.handle(store_incoming(mail.replace("\n", "\r\n").encode(), tmp_path), device)
        assert outcome == Done(f"a report about job {job.id}: {status}")
        notes = (await device.spool.job(job.id)).notes
    assert notes[f"report of {ALICE}"].startswith(f"{status}: ")
    assert words in notes[f"report of {ALICE}"]
    assert files_in(tmp_path / "home" / "fax") == []


async def test_each_recipient_has_its_own_diagnostic(tmp_path: Path) -> None:
    mail = QMAIL.replace("Giving up on", f"\n<{BOB}>:\nRemote host said: 552 5.2.2 Full\nGiving up on")
    async with fax_device(tmp_path / "home") as device:
        job = await faxed(device, ALICE, BOB)
        await pipeline.handle(store_incoming(mail.encode(), tmp_path), device)
        notes = (await device.spool.job(job.id)).notes
    assert "5.1.1" in notes[f"report of {ALICE}"]
    assert "5.2.2" in notes[f"report of {BOB}"]
    assert notes[CONFIRMATION_NOTE] == "failed"


async def test_a_job_of_another_pipeline_is_matched(tmp_path: Path) -> None:
    async with fax_device(tmp_path / "home") as device:
        new = NewJob("scan", "smtp", COPIER, [ALICE], "Scan", 3600.0, message_id="<scan@example.test>")
        job = await device.spool.accept(
            new, Message(sender=COPIER, to=[ALICE], message_id="<scan@example.test>", text="x")
        )
        mail = QMAIL.replace(IDENTIFIER, "<scan@example.test>")
        assert await pipeline.handle(store_incoming(mail.encode(), tmp_path), device) == Done(
            f"a report about job {job.id}: failed"
        )


async def test_a_report_about_an_unknown_mail_is_still_a_report(tmp_path: Path) -> None:
    async with fax_device(tmp_path / "home") as device:
        outcome = await pipeline.handle(store_incoming(QMAIL.encode(), tmp_path), device)
    assert outcome == Done(f"a report about a mail that is not known here: {ALICE} failed 5.1.1")
    assert files_in(tmp_path / "home" / "fax") == []


COMPLAINT = f"""Return-Path: <>
From: complaints@mail.test
Subject: Email feedback report, rejected
Content-Type: multipart/report; report-type=feedback-report; boundary=b

--b

This is a report about a mail that was not wanted by {ALICE}.
--b
Content-Type: message/feedback-report

Feedback-Type: abuse
Original-Rcpt-To: <{ALICE}>

--b
Content-Type: message/rfc822

{RETURNED}
--b--
"""


async def test_a_complaint_is_not_a_failure(tmp_path: Path) -> None:
    async with fax_device(tmp_path / "home") as device:
        job = await faxed(device, ALICE)
        assert await pipeline.handle(store_incoming(COMPLAINT.encode(), tmp_path), device) == Done("a report")
        assert (await device.spool.job(job.id)).notes[CONFIRMATION_NOTE] == "none yet"
    assert files_in(tmp_path / "home" / "fax") == []


HOLIDAY = (
    f"Return-Path: <{ALICE}>\nFrom: {ALICE}\nSubject: %s\nIn-Reply-To: {IDENTIFIER}\n%s\n"
    "I cannot answer until 5.1.26.\n"
)


@pytest.mark.parametrize(
    ("subject", "more"),
    [
        ("Re: Fax", "Auto-Submitted: auto-replied\n"),
        ("Automatic reply: Fax", ""),
        ("Out of office: Fax", "Auto-Submitted: auto-replied\nPrecedence: bulk\n"),
    ],
)
async def test_an_absence_reply_is_not_a_failure(tmp_path: Path, subject: str, more: str) -> None:
    async with fax_device(tmp_path / "home") as device:
        job = await faxed(device, ALICE)
        outcome = await pipeline.handle(store_incoming((HOLIDAY % (subject, more)).encode(), tmp_path), device)
        assert isinstance(outcome, Done)
        assert outcome.note.startswith("not printed: ")
        assert (await device.spool.job(job.id)).notes[CONFIRMATION_NOTE] == "none yet"
    assert files_in(tmp_path / "home" / "fax") == []


@pytest.mark.parametrize(
    "field",
    [
        "Return-Path: <>",
        "Auto-Submitted: auto-generated",
        "Precedence: bulk",
        f"X-Failed-Recipients: {ALICE}",
        "From: MAILER-DAEMON@mail.test",
        "From: Mail Delivery Subsystem <MAILER-DAEMON>",
        "X-MLServer: fml [fml 4.0.3 release]",
    ],
)
async def test_mail_from_machines_is_not_printed(tmp_path: Path, field: str) -> None:
    head = "" if field.startswith("From") else f"From: {ALICE}\n"
    pdf = "Content-Type: application/pdf; name=x.pdf\n\n%PDF-1.4\n"
    async with fax_device(tmp_path / "home") as device:
        for number, rest in enumerate(("\nHello.\n", pdf)):
            outcome = await pipeline.handle(
                store_incoming(f"{field}\n{head}Subject: x\n{rest}".encode(), tmp_path, number), device
            )
            assert isinstance(outcome, SetAside if rest is pdf else Done)
        assert await device.spool.jobs() == []
    assert files_in(tmp_path / "home" / "fax") == []


PERSON = f"Return-Path: <{ALICE}>\nFrom: Alice <{ALICE}>\n"


@pytest.mark.parametrize(
    "mail",
    [
        PERSON + "Subject: delivery failed\n\nThe parcel could not be delivered, error 550.\n",
        PERSON + "Subject: Returned mail\n\nPlease scan it again, the user is unknown.\n",
        PERSON + "Subject: Delivery status of our order\n\nWhere is it?\n",
        PERSON + "Subject: Auto: die Rechnung\n\nHier ist sie.\n",
        PERSON + "Subject: Fwd: failure notice\n\nLook at this:\n\n" + QMAIL,
        PERSON + "Subject: Fwd: failure notice\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nLook.\n--b\n"
        "Content-Type: message/rfc822\n\n" + QMAIL + "\n--b--\n",
        PERSON + "Subject: Fwd: x\nContent-Type: message/rfc822\n\n" + EXIM,
        "Return-Path: <postmaster@office.test>\nFrom: postmaster@office.test\nSubject: The new rules\n\nRead them.\n",
        "Return-Path: <a@x.test>\nFrom: mailer-daemon@office.test <a@x.test>\nSubject: x\n\nHello.\n",
        PERSON + "Auto-Submitted: no\nPrecedence: normal\nSubject: x\n\nHello.\n",
    ],
)
async def test_mail_from_people_is_printed(tmp_path: Path, mail: str) -> None:
    assert open_mail(mail.encode()).report is None
    async with fax_device(tmp_path / "home") as device:
        assert await pipeline.handle(store_incoming(mail.encode(), tmp_path), device) == Done("printed")
    assert len(files_in(tmp_path / "home" / "fax")) == 1
