"""One mail on its way to paper: opened, judged, its documents printed one after the other, its sender told."""

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
from mailslot_plugins.print.authorization import why_not_allowed
from mailslot_plugins.print.options import PrintOptions, parse_print_options
from mailslot_plugins.print.quota import PrintedMail, count
from mailslot_plugins.print.reply import answer
from mailslot_plugins.print.selection import select_parts
from mailslot_plugins.printers.journal import ENDED
from mailslot_plugins.printers.printer import Document, PrinterError
from mailslot_plugins.printers.printing import print_document
from mailslot_plugins.sending.reports import take_report

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mailslot.service.device import Device
    from mailslot.spool.incoming import Incoming
    from mailslot_plugins.intake.mail import OpenedMail
    from mailslot_plugins.print.selection import SelectedPart
    from mailslot_plugins.printers.journal import Journal
    from mailslot_plugins.printers.printer import Printer

PAUSE: Final = 60.0
"""Seconds after which a printer that did not print is asked again."""

TOLD: Final = ("from", "subject", "pages")
"""What is kept of a mail for people, in its journal, once it is done."""

MAX_PIXELS: Final = 300_000_000
"""Pixels of all images of a mail."""

_LONGEST: Final = 900.0
"""Seconds after which a mail's next document waits for its turn, so that other mails have theirs."""

_MAX_TITLE: Final = 100


class MailPrinting:
    """The handling of one mail.

    Args:
        device: the device.
        mail: the mail.
        path: its file.
        folder: an empty folder for what comes of it.
        printer: where it is printed.
        journal: what is remembered of it.
        values: the section ``[print]``.
    """

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
        self._began = device.monotonic()

    async def run(self) -> Done | SetAside | Later:
        """Do it.

        Raises:
            IntakeError: the mail cannot be opened.
            MailError: the device's own memory fails, or the answer cannot be accepted.
        """
        opened = await open_mail(self._path, self._folder)
        if opened.report is not None:
            return Done((await take_report(opened.report, self._device)).said)
        refusal = why_not_allowed(opened, await run_sync(own_addresses, self._device), self._values)
        if refusal:
            return SetAside(f"Not printed, since {refusal}.")
        if self._journal.get("closed"):
            # A person has it handled again: what was printed stays so, and what failed has another chance.
            await self._journal.take_up()
            await self._journal.note("closed", None)
            await self._journal.note("since", None)
        if self._journal.get("since") is None:
            await self._journal.note("from", opened.senders[0])
            await self._journal.note("subject", one_line(opened.subject, 200))
            await self._journal.note("since", self._device.now())
        wishes = parse_print_options(opened.subject, opened.text, self._values["options"], self._values["max_copies"])
        chosen = select_parts(opened, wishes.text, self._values)
        if not chosen:
            return await self._end(opened, 0, [("The mail", "It holds nothing that can be printed.")], [])
        refusals = await self._count(opened.senders[0], chosen, wishes)
        return await self._print(opened, chosen, refusals, wishes)

    async def _print(
        self, opened: OpenedMail, chosen: list[SelectedPart], refusals: list[str], wishes: PrintOptions
    ) -> Done | SetAside | Later:
        printed = 0
        failed: list[tuple[str, str]] = []
        notes = [*wishes.ignored, *self._journal.get("notes", [])]
        for number, (each, refusal) in enumerate(zip(chosen, refusals, strict=True)):
            if refusal:
                failed.append((each.title, refusal))
                continue
            if printed and self._device.monotonic() - self._began > _LONGEST:
                return Later(1.0, "The next document is printed after the mails that came meanwhile.")
            try:
                note = await self._print_one(number, each, opened, wishes)
            except PrinterError as error:
                if error.retryable and not await self._give_up(number):
                    return Later(PAUSE, str(error))
                failed.append((each.title, str(error)))
            else:
                printed += 1
                notes += [note] if note else []
                if printed == 1 and self._values["thumbnails"]:
                    path = await self._file(each, wishes)
                    await Thumbnails(self._device.home).make(self._mail, path, each.kind, self._folder)
        return await self._end(opened, printed, failed, notes)

    async def _print_one(self, number: int, chosen: SelectedPart, opened: OpenedMail, wishes: PrintOptions) -> str:
        name = str(number)
        if self._journal.attempt(name).step not in ENDED and self._journal.get(f"pieces:{name}") is None:
            ready = await self._printer.check()
            if not ready.ready:
                raise PrinterError(
                    " ".join(ready.reasons) or "The printer does not accept documents at the moment.",
                    stage="transaction",
                    cause="printer_stopped",
                    retryable=True,
                )
        document = Document(
            path=await self._file(chosen, wishes),
            kind=chosen.kind,
            title=one_line(chosen.title, _MAX_TITLE),
            owner=one_line(opened.senders[0], 255),
            copies=wishes.copies,
            sides=wishes.sides,
            media=wishes.media,
            color=wishes.color,
        )
        return (await print_document(self._printer, document, self._folder, self._journal, name)).note

    async def _file(self, chosen: SelectedPart, wishes: PrintOptions) -> Path:
        if chosen.path is not None:
            return chosen.path
        path = self._folder / "text.txt"
        await run_sync(path.write_bytes, wishes.text.encode("utf-8", "replace"))
        return path

    async def _give_up(self, number: int) -> bool:
        """Whether a document has waited long enough; it then counts as failed."""
        since: float = self._journal.get("since")
        # A clock that was set back gives a mail more time, and none for ever.
        if 0 <= self._device.now() - since < self._values["wait_hours"] * 3600.0:
            return False
        if self._device.now() < since:
            await self._journal.note("since", self._device.now())
            return False
        await self._journal.attempt(str(number)).reach("failed", said="The printer could not print it in time.")
        return True

    async def _count(self, sender: str, chosen: list[SelectedPart], wishes: PrintOptions) -> list[str]:
        """Return for each document why it is not printed, if it is not: pages, pixels and the sender's share."""
        known: list[str] | None = self._journal.get("refusals")
        if known is not None and len(known) == len(chosen):
            return known
        pages = pixels = 0
        copies = wishes.copies
        refusals: list[str] = []
        notes: list[str] = []
        for each in chosen:
            refusal = each.refusal
            if not refusal and (each.path is not None or not wishes.text.isascii()):
                # Text that is not plain ASCII may need fonts that are not there.
                path = await self._file(each, wishes)
                try:
                    said = await run_task("count", {"path": str(path), "kind": each.kind}, self._folder)
                except IntakeError as error:
                    refusal = str(error)
                else:
                    notes += [f"{one_line(each.title, 60)}: {note}" for note in said["notes"]]
                    pages += said["pages"] * copies
                    pixels += said["pixels"]
                    refusal = self._too_much(pages, pixels)
                    if refusal:
                        pages -= said["pages"] * copies
                        pixels -= said["pixels"]
            elif not refusal:
                pages += copies
            refusals.append(refusal)
        if too_many := await self._share(sender, pages):
            refusals = [refusal or f"{too_many}." for refusal in refusals]
        await self._journal.note("pages", pages)
        await self._journal.note("notes", notes)
        await self._journal.note("refusals", refusals)
        return refusals

    def _too_much(self, pages: int, pixels: int) -> str:
        most: int = self._values["max_pages"]
        if pages > most:
            return f"The mail has more than {most} pages, copies counted."
        return "The mail's images are too large." if pixels > MAX_PIXELS else ""

    async def _share(self, sender: str, pages: int) -> str:
        store = self._device.store("print")
        uses = [PrintedMail(**each) for each in await store.get("uses", [])]
        use = PrintedMail(self._mail.id, self._device.now(), sender.casefold(), pages)
        kept, refusal = count(
            uses,
            use,
            mails_per_hour=self._values["mails_per_hour"],
            pages_per_day=self._values["pages_per_day"],
        )
        await store.put("uses", [asdict(each) for each in kept])
        return refusal

    async def _end(
        self, opened: OpenedMail, printed: int, failed: list[tuple[str, str]], notes: list[str]
    ) -> Done | SetAside:
        said = await answer(self._device, self._mail, opened, failed) if failed else ""
        tail = f" ({said})" if said else ""
        reasons = "; ".join(f"{one_line(title, 60)}: {one_line(reason, 200)}" for title, reason in failed[:5])
        if printed:
            what = "1 document was printed" if printed == 1 else f"{printed} documents were printed"
            missing = f", not {reasons}" if failed else ""
            return Done(" ".join([f"{what}{missing}{tail}.", *dict.fromkeys(notes)]))
        await self._journal.note("closed", value=True)
        return SetAside(f"{reasons}{tail}")
