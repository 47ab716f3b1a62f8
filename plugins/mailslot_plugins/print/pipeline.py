"""The pipeline that prints: what comes in at ``print.pop`` goes to the printer, and who sent in vain is told."""

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
from mailslot_plugins.print.mail_printing import PAUSE, TOLD, MailPrinting
from mailslot_plugins.print.section import SECTION
from mailslot_plugins.printers.journal import Journal
from mailslot_plugins.printers.pins import pins_of
from mailslot_plugins.printers.printer import Options, find_printer

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.plugin import Device, Incoming
    from mailslot_plugins.printers.printer import Printer

_UNSET: Final = 300.0


class PrintPipeline:
    """Prints what may be printed, once."""

    name: Final = "print"
    section: Final = SECTION
    polls: Final = "print-pop"
    # Who sent in vain may be told of it twice; never is worse.
    retry_policy: Final = RetryPolicy(UNATTENDED, resubmit_after=RESUBMIT_AFTER)
    panel: Final = PanelPackage("mailslot_plugins.print.panel")

    async def handle(self, mail: Incoming, device: Device) -> Done | SetAside | Later:
        """Print a mail, or say why not."""
        if mail.path is None:
            return SetAside("Its file is gone.")
        values = device.settings(SECTION)
        try:
            printer = await self.printer(device)
        except InputError as error:
            return Later(_UNSET, str(error))
        await self._forget(device, mail.id)
        folder = device.home / "print" / str(mail.id)
        try:
            await run_sync(_emptied, folder)
            journal = await Journal.load(device.store(self.name), f"mail:{mail.id}")
            work = MailPrinting(device, mail, mail.path, folder, printer=printer, journal=journal, values=values)
            return await work.run()
        except IntakeError as error:
            return SetAside(f"Not printed: {error}")
        except OSError as error:
            return Later(PAUSE, f"The mail cannot be opened at the moment: {error.strerror or error}.")
        except MailError as error:
            return Later(PAUSE, str(error))
        finally:
            with anyio.CancelScope(shield=True):
                await run_sync(shutil.rmtree, folder, True)  # noqa: FBT003 - whether errors are passed over

    async def run(self, device: Device) -> None:
        """Do nothing beside the polling."""

    async def printer(self, device: Device) -> Printer:
        """Return the printer that is set.

        Raises:
            InputError: none is, or it cannot be used.
        """
        values = device.settings(SECTION)
        if values["printer"] is None:
            raise InputError("No printer is set up: mailslot set print printer=ipp://…", stage="resolve")
        options = Options(ca_file=values["ca_file"], pins=pins_of(device))
        return await run_sync(find_printer, values["printer"], options)

    async def _forget(self, device: Device, current: int) -> None:
        """Keep of mails that are done what people may want to know of them, and nothing of those that are forgotten."""
        store = device.store(self.name)
        for key, kept in (await store.items()).items():
            kind, _, number = key.partition(":")
            if kind != "mail" or number == str(current):
                continue
            try:
                done = (await device.spool.ledger.mail(int(number))).state == "done"
            except InputError:
                await store.delete(key)
                continue
            told = {name: kept[name] for name in TOLD if name in kept}
            if done and told != kept:
                await store.put(key, told)


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    durable.make_private_folder(folder.parent)
    durable.make_folder(folder)


pipeline: Final = PrintPipeline()
