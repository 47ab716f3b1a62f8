"""The pipeline ``print``: it prints mail from ``print.pop`` and replies to senders whose mail was not printed."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

import anyio
from anyio.to_thread import run_sync

from mailslot.plugin import (
    RESUBMIT_AFTER,
    UNATTENDED,
    Done,
    InputError,
    Later,
    MailError,
    PanelPackage,
    RetryPolicy,
    SetAside,
)
from mailslot.vault import durable
from mailslot_plugins.intake.process import IntakeError
from mailslot_plugins.print.mail_printing import KEPT_AFTER_DONE, RETRY_DELAY, MailPrinting
from mailslot_plugins.print.section import SECTION
from mailslot_plugins.printers.journal import Journal
from mailslot_plugins.printers.printer import find_printer, printer_options
from mailslot_plugins.printers.printing import abandon_documents

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.plugin import Device, Incoming
    from mailslot_plugins.printers.printer import Printer

_NO_PRINTER_DELAY: Final = 300.0


class PrintPipeline:
    """Prints each mail once, if its sender may print."""

    name: Final = "print"
    section: Final = SECTION
    polls: Final = "print-pop"
    # A reply about a failure may arrive twice, which is better than never.
    retry_policy: Final = RetryPolicy(UNATTENDED, resubmit_after=RESUBMIT_AFTER)
    panel: Final = PanelPackage("mailslot_plugins.print.panel")

    async def handle(self, mail: Incoming, device: Device) -> Done | SetAside | Later:
        """Print a mail, or return why it is not printed."""
        if mail.path is None:
            return SetAside("Its file is missing.")
        values = device.settings(SECTION)
        try:
            printer = await self.printer(device)
        except InputError as error:
            return Later(_NO_PRINTER_DELAY, str(error))
        await self._trim_journals(device, mail.id)
        folder = device.home / "print" / str(mail.id)
        try:
            await run_sync(_make_empty, folder)
            journal = await Journal.load(device.store(self.name), f"mail:{mail.id}")
            printing = MailPrinting(device, mail, mail.path, folder, printer=printer, journal=journal, values=values)
            return await printing.run()
        except IntakeError as error:
            return SetAside(f"Not printed: {error}")
        except OSError as error:
            return Later(RETRY_DELAY, f"The mail cannot be opened at the moment: {error.strerror or error}.")
        except MailError as error:
            return Later(RETRY_DELAY, str(error))
        finally:
            with anyio.CancelScope(shield=True):
                await run_sync(shutil.rmtree, folder, True)  # noqa: FBT003 - whether errors are passed over

    async def abandon(self, mail: Incoming, device: Device) -> None:
        """Cancel what interrupted attempts to print a mail have left at the printer."""
        journal = await Journal.load(device.store(self.name), f"mail:{mail.id}")
        await abandon_documents(await self.printer(device), journal)

    async def run(self, device: Device) -> None:
        """Do nothing: this pipeline only handles polled mail."""

    async def printer(self, device: Device) -> Printer:
        """Return the configured printer.

        Raises:
            InputError: none is configured, or it cannot be used.
        """
        values = device.settings(SECTION)
        if values["printer"] is None:
            raise InputError("No printer is set up: mailslot set print printer=ipp://…", stage="resolve")
        return await run_sync(find_printer, values["printer"], printer_options(device, values["ca_file"]))

    async def _trim_journals(self, device: Device, current: int) -> None:
        """Reduce the journals of finished mails to what people may want to know; delete those of forgotten mails."""
        store = device.store(self.name)
        for key, stored in (await store.items()).items():
            kind, _, number = key.partition(":")
            if kind != "mail" or number == str(current):
                continue
            try:
                done = (await device.spool.ledger.mail(int(number))).state == "done"
            except InputError:
                await store.delete(key)
                continue
            kept_values = {name: stored[name] for name in KEPT_AFTER_DONE if name in stored}
            if done and kept_values != stored:
                await store.put(key, kept_values)


def _make_empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    durable.make_private_folder(folder.parent)
    durable.make_folder(folder)


pipeline: Final = PrintPipeline()
