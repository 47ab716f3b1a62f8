"""Where received faxes go: folders, printers and mail addresses, each once, whatever happens in between."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync

from mailslot.errors import InputError, MailError
from mailslot.message import Attachment, Message
from mailslot.spool.job import NewJob
from mailslot.vault import durable
from mailslot_plugins.fax.reports import PIPELINE
from mailslot_plugins.fax.section import FAX
from mailslot_plugins.intake.auto_reply_policy import own_addresses
from mailslot_plugins.printers.folder import FolderPrinter
from mailslot_plugins.printers.formats import MEDIA_TYPES
from mailslot_plugins.printers.pins import pins_of
from mailslot_plugins.printers.printer import Document, Options, PrinterError, find_printer
from mailslot_plugins.printers.printing import print_document
from mailslot_plugins.sending.account import HOUR, RECORD, record_settings, sender_of

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.service.device import Device
    from mailslot_plugins.intake.kinds import Kind
    from mailslot_plugins.printers.journal import Journal
    from mailslot_plugins.printers.printer import Printer


@dataclass(frozen=True, slots=True)
class ReceivedPages:
    """Pages on their way.

    Attributes:
        name: of the files, without suffix; ``fax`` or ``notice``, which tells them apart in the journal, too.
        folder: where the files are.
        title: what people know them by.
        owner: whom they are from.
        automatic: whether a machine has sent them, so that no mail may be made of them.
    """

    name: str
    folder: Path
    title: str
    owner: str
    automatic: bool

    def file(self, kind: Kind) -> Path:
        """Return the file with the pages as ``pdf`` or ``tiff``."""
        return self.folder / f"{self.name}.{'pdf' if kind == 'pdf' else 'tif'}"


@dataclass(slots=True)
class DeliveryOutcome:
    """What became of pages.

    Attributes:
        later: why some are to be delivered later; empty where none are.
        failed: why some never will be; empty where all were.
    """

    later: str = ""
    failed: str = ""


async def deliver(device: Device, sheets: ReceivedPages, journal: Journal, key: str) -> DeliveryOutcome:
    """Deliver pages to every place that is set, as far as they are not there already.

    Args:
        device: the device.
        sheets: the pages.
        journal: what is remembered of their mail.
        key: the mail's name, which no other bears.
    """
    outcome = DeliveryOutcome()
    for destination in device.settings(FAX)["deliver_to"]:
        way, _, where = destination.partition(" ")
        try:
            if way == "mail":
                await _mail(device, sheets, where, key)
            else:
                await _print(device, sheets, way, where, journal)
        except PrinterError as error:
            if error.retryable:
                outcome.later = str(error)
            else:
                outcome.failed = str(error)
        except _NotForwarded as error:
            outcome.failed = str(error)
        except MailError as error:
            # The settings or the spool are in trouble, and the fax is not to blame.
            outcome.later = str(error)
    return outcome


async def close_folders(device: Device) -> None:
    """Let nobody but its owner into those folders of the home folder where faxes are."""
    for destination in device.settings(FAX)["deliver_to"]:
        way, _, where = destination.partition(" ")
        if way == "folder" and await run_sync((device.home / where).is_dir):
            await run_sync(_make, device.home / where, device.home)


class _Folder(FolderPrinter):
    """A folder that takes documents as they are."""

    async def prepare(self, document: Document, folder: Path) -> list[Document]:  # noqa: ARG002 - nothing is converted
        return [replace(document, media_type=MEDIA_TYPES[document.kind])]


async def _print(device: Device, sheets: ReceivedPages, way: str, where: str, journal: Journal) -> None:
    settings = device.settings(FAX)
    printer: Printer
    kind: Kind = "pdf"
    if way == "folder":
        path = device.home / where
        await run_sync(_make, path, device.home)
        printer, kind = _Folder(path, Options()), settings["format"]
    else:
        options = Options(ca_file=settings["ca_file"], pins=pins_of(device))
        printer = await run_sync(find_printer, where, options)
    document = Document(path=sheets.file(kind), kind=kind, title=sheets.title, owner=sheets.owner)
    await print_document(printer, document, sheets.folder, journal, f"{sheets.name} {way} {where}")


def _make(folder: Path, home: Path) -> None:
    """Make a folder of the home folder, for its owner alone; one elsewhere may be a disk that is not mounted now."""
    inside = folder.resolve()
    if home.resolve() in inside.parents:
        durable.make_private_folder(folder)


class _NotForwarded(Exception):  # noqa: N818 - it is refused, and nothing is wrong
    """Pages that no mail may be made of."""


async def _mail(device: Device, sheets: ReceivedPages, to: str, key: str) -> None:
    if sheets.automatic:
        raise _NotForwarded("It was sent automatically, and is not mailed on.")
    if to.casefold() in {address.casefold() for address in await run_sync(own_addresses, device)}:
        raise InputError(f"Faxes are not mailed on to {to}, which is this device's own address.", stage="envelope")
    sender = sender_of(device, await record_settings(device))
    kind: Kind = device.settings(FAX)["format"]
    message = Message(
        sender=sender,
        to=[to],
        subject=sheets.title,
        attachments=[Attachment.from_path(sheets.file(kind), content_type=MEDIA_TYPES[kind])],
        auto_submitted="auto-generated",
    )
    new = NewJob(
        pipeline=PIPELINE,
        via=RECORD,
        sender=sender.address,
        recipients=[to],
        subject=message.subject,
        lifetime=device.settings(FAX)["lifetime"] * HOUR,
        key=f"{sheets.name}:{key}:{to}",
        message_id=message.message_id,
    )
    await device.spool.accept(new, message)
