"""A pipeline that writes down each mail that comes in, and tells somebody of it by mail."""

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
    """The pipeline. It has no state of its own: what it has to remember would go into ``device.store``."""

    name = "journal"
    section = SECTION
    polls = "print-pop"
    retry_policy = RetryPolicy((60.0, 3600.0), resubmit_after=None)  # what tells somebody never comes twice
    panel = PanelPackage("mailslot_sample.panel", has_page=True)  # its words, and the page /journal

    async def handle(self, mail: Incoming, device: Device) -> Handled:
        """Write the mail down once, even where the device stops in the middle and this is called again."""
        if mail.path is None:
            return SetAside("its file is gone")
        try:
            with TemporaryDirectory() as folder:
                opened = await open_mail(mail.path, Path(folder))  # in a process of its own: it may be hostile
        except IntakeError as error:
            return SetAside(str(error))
        values = device.settings(SECTION)
        sender = next(iter(opened.senders), "") or "nobody"
        line = f"{mail.id}\t{iso(mail.fetched_at)}\t{sender}\t{opened.subject}"
        file = values["file"] or device.home / "journal.txt"
        await run_sync(write_once, file, mail.id, "".join(c if c.isprintable() or c == "\t" else " " for c in line))
        if values["report_to"]:
            await self._report(mail, device, values["report_to"], line)
        return Done("written down")

    async def run(self, device: Device) -> None:
        """Return at once: there is nothing to do beside the polling."""

    async def _report(self, mail: Incoming, device: Device, to: str, line: str) -> None:
        settings = await run_sync(device.records.effective, "smtp")
        sender = settings.sender_address or to
        message = Message(sender=sender, to=[to], subject="A mail has come", text=line)
        job = NewJob(self.name, "smtp", sender, [to], message.subject, key=f"mail:{mail.id}")  # accepted once
        await device.spool.accept(job, message)


def write_once(file: Path, number: int, line: str) -> None:
    """Add a line to the file, unless one of this number is there."""
    before = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    if not any(each.startswith(f"{number}\t") for each in before):
        with file.open("a", encoding="utf-8") as journal:
            journal.write(f"{line}\n")
            journal.flush()
            os.fsync(journal.fileno())  # once this pipeline says that it is done, the mail is deleted at the server


pipeline = Journal()
