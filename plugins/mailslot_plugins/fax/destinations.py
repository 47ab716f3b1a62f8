"""Delivers received faxes to folders, printers and mail addresses, once to each, even after a crash."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync

from mailslot.errors import InputError, MailError
from mailslot.message import Attachment, Message
from mailslot.spool.job import NewJob
from mailslot.vault import durable
from mailslot_plugins.fax.reports import PIPELINE
from mailslot_plugins.fax.section import SECTION
from mailslot_plugins.intake.auto_reply_policy import own_addresses
from mailslot_plugins.printers.folder import FolderPrinter
from mailslot_plugins.printers.formats import MEDIA_TYPES
from mailslot_plugins.printers.printer import Document, PrinterError, PrinterOptions, find_printer, printer_options
from mailslot_plugins.printers.printing import abandon_documents, print_document
from mailslot_plugins.sending.account import HOUR, RECORD, sender_mailbox, sending_settings

if TYPE_CHECKING:
    from mailslot.service.device import Device
    from mailslot_plugins.intake.kinds import Kind
    from mailslot_plugins.printers.journal import Journal
    from mailslot_plugins.printers.printer import Printer


@dataclass(frozen=True, slots=True)
class ReceivedPages:
    """The pages of a received fax, or a notice about it.

    Attributes:
        name: ``fax`` or ``notice``: the files' name without suffix, also used in the journal.
        folder: the folder with the files.
        title: the title, for people.
        owner: the sender.
        automatic: whether a machine sent them, so that they must not be forwarded by mail.
    """

    name: str
    folder: Path
    title: str
    owner: str
    automatic: bool

    def file(self, kind: Kind) -> Path:
        """Return the file with the pages, as ``pdf`` or ``tiff``."""
        return self.folder / f"{self.name}.{'pdf' if kind == 'pdf' else 'tif'}"


@dataclass(slots=True)
class DeliveryOutcome:
    """The outcome of a delivery.

    Attributes:
        retry_reason: why a destination is tried again later; empty if none is.
        failure: why a destination failed for good; empty if none did.
    """

    retry_reason: str = ""
    failure: str = ""


async def deliver(device: Device, received_pages: ReceivedPages, journal: Journal, key: str) -> DeliveryOutcome:
    """Deliver pages to every configured destination that does not have them yet."""
    outcome = DeliveryOutcome()
    for destination in device.settings(SECTION)["deliver_to"]:
        destination_kind, _, target = destination.partition(" ")
        try:
            if destination_kind == "mail":
                await _forward_by_mail(device, received_pages, target, key)
            else:
                await _print_pages(device, received_pages, destination_kind, target, journal)
        except PrinterError as error:
            if error.retryable:
                outcome.retry_reason = str(error)
            else:
                outcome.failure = str(error)
        except _NotForwardedError as error:
            outcome.failure = str(error)
        except MailError as error:
            # The settings or the spool are at fault, not the fax.
            outcome.retry_reason = str(error)
    return outcome


async def abandon_deliveries(device: Device, journal: Journal) -> None:
    """Cancel what interrupted attempts to print a fax, or a notice about it, have left at printers.

    Raises:
        MailError: a printer cannot be asked; the others were.
    """
    failure: MailError | None = None
    for destination in device.settings(SECTION)["deliver_to"]:
        destination_kind, _, target = destination.partition(" ")
        if destination_kind != "printer":
            continue
        try:
            printer = await run_sync(_find_printer, device, target)
            for name in ("fax", "notice"):
                await abandon_documents(printer, journal, f"{name} {destination}.")
        except MailError as error:
            failure = error
    if failure is not None:
        raise failure


async def restrict_folders(device: Device) -> None:
    """Make the fax folders inside the home folder accessible to their owner only."""
    for destination in device.settings(SECTION)["deliver_to"]:
        destination_kind, _, target = destination.partition(" ")
        if destination_kind == "folder" and await run_sync((device.home / target).is_dir):
            await run_sync(_make_private, device.home / target, device.home)


class _UnconvertedFolder(FolderPrinter):
    """A folder that accepts documents without conversion."""

    async def prepare(self, document: Document, folder: Path) -> list[Document]:  # noqa: ARG002 - nothing is converted
        return [replace(document, media_type=MEDIA_TYPES[document.kind])]


async def _print_pages(
    device: Device, received_pages: ReceivedPages, destination_kind: str, target: str, journal: Journal
) -> None:
    settings = device.settings(SECTION)
    printer: Printer
    kind: Kind = "pdf"
    if destination_kind == "folder":
        if device.records.place.is_shared and not Path(target).is_absolute():
            raise PrinterError(
                f"The folder {target} is on one machine only, and any worker of the fleet may receive a fax: set "
                "deliver_to to a printer, a mail address, or the whole path of a folder that all machines have.",
                cause="printer_stopped",
                retryable=True,
            )
        path = device.home / target
        await run_sync(_make_private, path, device.home)
        printer, kind = _UnconvertedFolder(path, PrinterOptions()), settings["format"]
    else:
        printer = await run_sync(_find_printer, device, target)
    document = Document(
        path=received_pages.file(kind), kind=kind, title=received_pages.title, owner=received_pages.owner
    )
    await print_document(
        printer, document, received_pages.folder, journal, f"{received_pages.name} {destination_kind} {target}"
    )


def _find_printer(device: Device, target: str) -> Printer:
    return find_printer(target, printer_options(device, device.settings(SECTION)["ca_file"]))


def _make_private(folder: Path, home: Path) -> None:
    """Create a private folder inside the home folder; one elsewhere may be a disk that is not mounted now."""
    resolved = folder.resolve()
    if home.resolve() in resolved.parents:
        durable.make_private_folder(folder)


class _NotForwardedError(Exception):
    """The pages must not be forwarded by mail."""


async def _forward_by_mail(device: Device, received_pages: ReceivedPages, to: str, key: str) -> None:
    if received_pages.automatic:
        raise _NotForwardedError("It was sent automatically and is not forwarded by mail.")
    if to.casefold() in {address.casefold() for address in await run_sync(own_addresses, device)}:
        raise InputError(f"Faxes are not forwarded to {to}, which is this device's own address.", stage="envelope")
    sender = sender_mailbox(device, await sending_settings(device))
    kind: Kind = device.settings(SECTION)["format"]
    message = Message(
        sender=sender,
        to=[to],
        subject=received_pages.title,
        attachments=[Attachment.from_path(received_pages.file(kind), content_type=MEDIA_TYPES[kind])],
        auto_submitted="auto-generated",
    )
    new = NewJob(
        pipeline=PIPELINE,
        via=RECORD,
        sender=sender.address,
        recipients=[to],
        subject=message.subject,
        lifetime=device.settings(SECTION)["lifetime"] * HOUR,
        key=f"{received_pages.name}:{key}:{to}",
        message_id=message.message_id,
    )
    await device.spool.accept(new, message)
