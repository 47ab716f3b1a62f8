"""Prints one mail: opens it, checks its sender, prints its documents one by one, and reports failures to the sender."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from anyio.to_thread import run_sync

from mailslot.service.pipeline import Done, Later, SetAside
from mailslot_plugins.intake.auto_reply_policy import own_addresses
from mailslot_plugins.intake.mail import open_mail
from mailslot_plugins.intake.one_line import one_line
from mailslot_plugins.intake.process import IntakeError, run_task
from mailslot_plugins.intake.thumbnails import Thumbnails
from mailslot_plugins.print.authorization import printing_refusal
from mailslot_plugins.print.options import PrintOptions, parse_print_options
from mailslot_plugins.print.quota import PrintedMail, count_mail
from mailslot_plugins.print.selection import select_parts
from mailslot_plugins.print.sender_notification import notify_sender
from mailslot_plugins.printers.journal import FINAL_STEPS
from mailslot_plugins.printers.printer import Document, PrinterError
from mailslot_plugins.printers.printing import print_document
from mailslot_plugins.sending.reports import apply_report

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mailslot.service.device import Device
    from mailslot.spool.incoming import Incoming
    from mailslot_plugins.intake.mail import OpenedMail
    from mailslot_plugins.print.selection import SelectedPart
    from mailslot_plugins.printers.journal import Journal
    from mailslot_plugins.printers.printer import Printer

RETRY_DELAY: Final = 60.0
"""Seconds after which a document is tried again at a printer that did not print it."""

KEPT_AFTER_DONE: Final = ("from", "subject", "pages")
"""What the journal keeps of a mail, for people, once the mail is done."""

MAX_PIXELS: Final = 300_000_000
"""The most pixels of all images of a mail."""

_MAX_TURN: Final = 900.0
"""Seconds after which a mail's next document waits, so that other mails get their turn."""

_MAX_TITLE: Final = 100


class MailPrinting:
    """Prints one mail."""

    def __init__(
        self,
        device: Device,
        mail: Incoming,
        path: Path,
        folder: Path,
        *,
        printer: Printer,
        journal: Journal,
        values: Mapping[str, Any],
    ) -> None:
        self._device = device
        self._mail = mail
        self._path = path
        self._folder = folder
        self._printer = printer
        self._journal = journal
        self._values = values
        self._started_at = device.monotonic()

    async def run(self) -> Done | SetAside | Later:
        """Print the mail.

        Raises:
            IntakeError: the mail cannot be opened.
            MailError: the device's storage fails, or the reply cannot be accepted.
        """
        opened = await open_mail(self._path, self._folder)
        if opened.report is not None:
            return Done((await apply_report(opened.report, self._device)).sentence)
        refusal = printing_refusal(opened, await run_sync(own_addresses, self._device), self._values)
        if refusal:
            return SetAside(f"Not printed, since {refusal}.")
        if self._journal.get("closed"):
            # A person has the mail handled again: printed documents stay printed, failed ones are tried again.
            await self._journal.retry_failed()
            await self._journal.record("closed", None)
            await self._journal.record("since", None)
        if self._journal.get("since") is None:
            await self._journal.record("from", opened.senders[0])
            await self._journal.record("subject", one_line(opened.subject, 200))
            await self._journal.record("since", self._device.now())
        options = parse_print_options(opened.subject, opened.text, self._values["options"], self._values["max_copies"])
        selected = select_parts(opened, options.text, self._values)
        if not selected:
            return await self._finish(opened, 0, [("The mail", "It holds nothing that can be printed.")], [])
        refusals = await self._count_pages(opened.senders[0], selected, options)
        return await self._print(opened, selected, refusals, options)

    async def _print(
        self, opened: OpenedMail, selected: list[SelectedPart], refusals: list[str], options: PrintOptions
    ) -> Done | SetAside | Later:
        printed = 0
        failed: list[tuple[str, str]] = []
        notes = [*options.ignored, *self._journal.get("notes", [])]
        for number, (each, refusal) in enumerate(zip(selected, refusals, strict=True)):
            if refusal:
                failed.append((each.title, refusal))
                continue
            if printed and self._device.monotonic() - self._started_at > _MAX_TURN:
                return Later(1.0, "The next document is printed after the mails that came meanwhile.")
            try:
                note = await self._print_one(number, each, opened, options)
            except PrinterError as error:
                if error.retryable and not await self._give_up(number):
                    return Later(RETRY_DELAY, str(error))
                failed.append((each.title, str(error)))
            else:
                printed += 1
                notes += [note] if note else []
                if printed == 1 and self._values["thumbnails"]:
                    path = await self._file_of(each, options)
                    await Thumbnails(self._device.home).make(self._mail, path, each.kind, self._folder)
        return await self._finish(opened, printed, failed, notes)

    async def _print_one(self, number: int, selected: SelectedPart, opened: OpenedMail, options: PrintOptions) -> str:
        name = str(number)
        if self._journal.attempt(name).step not in FINAL_STEPS and self._journal.get(f"pieces:{name}") is None:
            ready = await self._printer.check()
            if not ready.ready:
                raise PrinterError(
                    " ".join(ready.reasons) or "The printer does not accept documents at the moment.",
                    cause="printer_stopped",
                    retryable=True,
                )
        document = Document(
            path=await self._file_of(selected, options),
            kind=selected.kind,
            title=one_line(selected.title, _MAX_TITLE),
            owner=one_line(opened.senders[0], 255),
            copies=options.copies,
            sides=options.sides,
            media=options.media,
            color=options.color,
        )
        return (await print_document(self._printer, document, self._folder, self._journal, name)).note

    async def _file_of(self, selected: SelectedPart, options: PrintOptions) -> Path:
        if selected.path is not None:
            return selected.path
        path = self._folder / "text.txt"
        await run_sync(path.write_bytes, options.text.encode("utf-8", "replace"))
        return path

    async def _give_up(self, number: int) -> bool:
        """Return whether a document has waited too long; it then counts as failed."""
        since: float = self._journal.get("since")
        # A clock that was set back gives a mail more time, but not endless time.
        if 0 <= self._device.now() - since < self._values["wait_hours"] * 3600.0:
            return False
        if self._device.now() < since:
            await self._journal.record("since", self._device.now())
            return False
        await self._journal.attempt(str(number)).reach("failed", note="The printer could not print it in time.")
        return True

    async def _count_pages(self, sender: str, selected: list[SelectedPart], options: PrintOptions) -> list[str]:
        """Return for each document why it is not printed (pages, pixels, the sender's quota); empty if it is."""
        known: list[str] | None = self._journal.get("refusals")
        if known is not None and len(known) == len(selected):
            return known
        pages = pixels = 0
        copies = options.copies
        refusals: list[str] = []
        notes: list[str] = []
        for each in selected:
            refusal = each.refusal
            if not refusal and (each.path is not None or not options.text.isascii()):
                # Text other than ASCII may need fonts that are not installed.
                path = await self._file_of(each, options)
                try:
                    result = await run_task("count", {"path": str(path), "kind": each.kind}, self._folder)
                except IntakeError as error:
                    refusal = str(error)
                else:
                    notes += [f"{one_line(each.title, 60)}: {note}" for note in result["notes"]]
                    pages += result["pages"] * copies
                    pixels += result["pixels"]
                    refusal = self._limit_refusal(pages, pixels)
                    if refusal:
                        pages -= result["pages"] * copies
                        pixels -= result["pixels"]
            elif not refusal:
                pages += copies
            refusals.append(refusal)
        if too_many := await self._check_quota(sender, pages):
            refusals = [refusal or f"{too_many}." for refusal in refusals]
        await self._journal.record("pages", pages)
        await self._journal.record("notes", notes)
        await self._journal.record("refusals", refusals)
        return refusals

    def _limit_refusal(self, pages: int, pixels: int) -> str:
        max_pages: int = self._values["max_pages"]
        if pages > max_pages:
            return f"The mail has more than {max_pages} pages, including copies."
        return "The mail's images are too large." if pixels > MAX_PIXELS else ""

    async def _check_quota(self, sender: str, pages: int) -> str:
        store = self._device.store("print")
        printed_mails = [PrintedMail(**each) for each in await store.get("uses", [])]
        this_mail = PrintedMail(self._mail.id, self._device.now(), sender.casefold(), pages)
        kept, refusal = count_mail(
            printed_mails,
            this_mail,
            mails_per_hour=self._values["mails_per_hour"],
            pages_per_day=self._values["pages_per_day"],
        )
        await store.put("uses", [asdict(each) for each in kept])
        return refusal

    async def _finish(
        self, opened: OpenedMail, printed: int, failed: list[tuple[str, str]], notes: list[str]
    ) -> Done | SetAside:
        result = await notify_sender(self._device, self._mail, opened, failed) if failed else ""
        reply_note = f" ({result})" if result else ""
        reasons = "; ".join(f"{one_line(title, 60)}: {one_line(reason, 200)}" for title, reason in failed[:5])
        if printed:
            what = "1 document was printed" if printed == 1 else f"{printed} documents were printed"
            missing = f", not {reasons}" if failed else ""
            return Done(" ".join([f"{what}{missing}{reply_note}.", *dict.fromkeys(notes)]))
        await self._journal.record("closed", value=True)
        return SetAside(f"{reasons}{reply_note}")
