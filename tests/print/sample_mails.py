"""Mails to print, a device that prints into a folder, and its output."""

from __future__ import annotations

import email
from contextlib import asynccontextmanager
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING

from mailslot.oauth.timing import Clocks
from mailslot.service.device import open_device
from mailslot.service.handling import handle_waiting
from mailslot.slots.records import Records
from mailslot_plugins.print.pipeline import pipeline

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from mailslot.service.device import Device
    from mailslot.service.poll_report import HandlingResult
    from mailslot.spool.incoming import Incoming

SCAN = (Path(__file__).parents[2] / "fixtures" / "scan" / "page.pdf").read_bytes()
ALICE, PRINTER = "alice@example.com", "printer@example.com"
RECORD = "print-pop"

SETTINGS = """
[device]
name = "Copier"

[records.smtp]
server = "localhost"
sender_address = "printer@example.com"

[print]
printer = "{printer}"
allowed_senders = ["alice@example.com", "@office.example"]
{more}
"""


@asynccontextmanager
async def run_device(
    home: Path, printer: str, more: str = "", now: Callable[[], float] | None = None
) -> AsyncGenerator[Device]:
    """Open a device that prints."""
    home.mkdir(exist_ok=True)  # noqa: ASYNC240 - of a test
    (home / "mailslot.toml").write_text(SETTINGS.format(printer=printer, more=more))
    clocks = None if now is None else Clocks(wall=now)
    async with open_device(Records(home), [pipeline.section], clocks=clocks) as device:
        yield device


def make_mail(
    *attachments: tuple[str, bytes, str], subject: str = "Please print", text: str = "", number: int = 1
) -> EmailMessage:
    """A mail of Alice's with attachments: name, octets and declared type of each."""
    message = EmailMessage()
    message["Return-Path"] = f"<{ALICE}>"
    message["From"] = f"Alice <{ALICE}>"
    message["To"] = PRINTER
    message["Subject"] = subject
    message["Message-ID"] = f"<{number}@example.com>"
    message.set_content(text or "\n")
    for name, octets, declared in attachments:
        kind, _, subkind = declared.partition("/")
        message.add_attachment(octets, maintype=kind, subtype=subkind, filename=name)
    return message


def scan(name: str = "scan.pdf") -> tuple[str, bytes, str]:
    return name, SCAN, "application/pdf"


async def store_mail(device: Device, message: EmailMessage | bytes) -> Incoming:
    """Store a mail as the poller does."""
    octets = message if isinstance(message, bytes) else message.as_bytes(policy=policy.SMTP)
    async with device.spool.ledger.receive(RECORD, "") as file:
        await file.write(octets)
    assert file.mail is not None
    return file.mail


async def handle_due(device: Device, *messages: EmailMessage | bytes) -> list[HandlingResult]:
    """Handle these mails, and others that are due."""
    for message in messages:
        await store_mail(device, message)
    return await handle_waiting(device, RECORD, pipeline)


async def sent_messages(device: Device) -> list[EmailMessage]:
    """Return the messages of all jobs, the oldest first."""
    found = []
    for job in reversed(await device.spool.jobs()):
        octets = b"".join([piece async for piece in device.spool.content(job).chunks()])
        found.append(email.message_from_bytes(octets, policy=policy.default))
    return found
