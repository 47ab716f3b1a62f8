"""A pipeline that records each received mail in a file, and notifies somebody by mail."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync

from mailslot.plugin import Done, Key, Message, NewJob, PanelPackage, RetryPolicy, Section, SetAside, iso, keys
from mailslot_plugins.intake.mail import open_mail
from mailslot_plugins.intake.process import IntakeError

if TYPE_CHECKING:
    from mailslot.plugin import Device, Handled, Incoming

SECTION = Section(
    "journal",  # the table [journal] of mailslot.toml, called like the entry point
    {
        "file": Key("the path of a file", keys.path),
        "report_to": Key("an e-mail address", keys.address),
    },
)


class Journal:
    """The pipeline. It has no state; anything to remember would go into ``device.store``."""

    name = "journal"
    section = SECTION
    polls = "print-pop"
    retry_policy = RetryPolicy((60.0, 3600.0), resubmit_after=None)  # a notification is never sent twice
    panel = PanelPackage("mailslot_sample.panel", has_page=True)  # its texts, and the page /journal

    async def handle(self, mail: Incoming, device: Device) -> Handled:
        """Record the mail once, even if the device stops in between and this is called again."""
        if mail.path is None:
            return SetAside("its file is missing")
        try:
            with TemporaryDirectory() as folder:
                opened = await open_mail(mail.path, Path(folder))  # in a confined process: the mail may be hostile
        except IntakeError as error:
            return SetAside(str(error))
        values = device.settings(SECTION)
        sender = next(iter(opened.senders), "") or "nobody"
        line = f"{mail.id}\t{iso(mail.fetched_at)}\t{sender}\t{opened.subject}"
        file = values["file"] or device.home / "journal.txt"
        await run_sync(write_once, file, mail.id, "".join(c if c.isprintable() or c == "\t" else " " for c in line))
        if values["report_to"]:
            await self._report(mail, device, values["report_to"], line)
        return Done("recorded")

    async def run(self, device: Device) -> None:
        """Return at once: this pipeline only handles polled mail."""

    async def _report(self, mail: Incoming, device: Device, to: str, line: str) -> None:
        settings = await run_sync(device.records.effective, "smtp")
        sender = settings.sender_address or to
        message = Message(sender=sender, to=[to], subject="A mail has arrived", text=line)
        job = NewJob(self.name, "smtp", sender, [to], message.subject, key=f"mail:{mail.id}")  # accepted once
        await device.spool.accept(job, message)


def write_once(file: Path, number: int, line: str) -> None:
    """Append a line to the file, unless it has one with this number."""
    before = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    if not any(each.startswith(f"{number}\t") for each in before):
        with file.open("a", encoding="utf-8") as journal:
            journal.write(f"{line}\n")
            journal.flush()
            os.fsync(journal.fileno())  # once this pipeline returns Done, the mail is deleted at the server


pipeline = Journal()
