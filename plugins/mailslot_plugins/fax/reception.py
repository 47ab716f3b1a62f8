"""A mail at ``fax.pop``: a report about a fax that was sent, or a fax."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError
from mailslot.service.pipeline import Done, Later, SetAside
from mailslot_plugins.fax.answer import answer
from mailslot_plugins.fax.destinations import DeliveryOutcome, ReceivedPages, deliver
from mailslot_plugins.fax.reports import PIPELINE, take
from mailslot_plugins.fax.section import FAX
from mailslot_plugins.intake.auto_reply_policy import why_automatic
from mailslot_plugins.intake.automatic import ABSENT, why_of_machine
from mailslot_plugins.intake.limits import Limits
from mailslot_plugins.intake.mail import open_mail
from mailslot_plugins.intake.one_line import one_line
from mailslot_plugins.intake.process import IntakeError, run_task
from mailslot_plugins.intake.senders import is_allowed
from mailslot_plugins.intake.thumbnails import Thumbnails
from mailslot_plugins.printers.journal import Journal

if TYPE_CHECKING:
    from mailslot.service.device import Device
    from mailslot.service.pipeline import Handled
    from mailslot.spool.incoming import Incoming
    from mailslot_plugins.intake.mail import OpenedMail

JOURNAL: Final = "mail:"
"""What the names begin with under which it is remembered how far a mail got."""

_AGAIN: Final = 60.0
_PAGES: Final = frozenset({"tiff", "pdf", "jpeg", "png", "gif", "bmp", "webp", "text"})

logger = logging.getLogger(__name__)


async def receive(mail: Incoming, path: Path, device: Device) -> Handled:
    """Handle a mail.

    Args:
        mail: the mail.
        path: its file.
        device: the device.
    """
    settings = device.settings(FAX)
    with TemporaryDirectory(prefix="mailslot-fax-") as name:
        folder = Path(name)
        try:
            opened = await open_mail(path, folder)
        except IntakeError as error:
            if settings["allowed_senders"]:
                # Nobody knows whether its sender may have a notice printed.
                return SetAside(str(error))
            return await _Reception(mail, None, folder, device).refuse(str(error))
        if opened.is_report or opened.report is not None:
            return Done("a report" if opened.report is None else await take(opened.report, device))
        refusal = why_not_taken(opened, settings["allowed_senders"], settings["rejected_senders"])
        if refusal:
            return Done(f"not taken: {refusal}")
        if refusal := why_never_printed(opened):
            # With documents it may be a fax all the same, for a person to look at.
            return SetAside(f"Not printed, since {refusal}.") if opened.parts else Done(f"not printed: {refusal}")
        return await _Reception(mail, opened, folder, device).print()


def why_not_taken(mail: OpenedMail, allowed: tuple[str, ...], rejected: tuple[str, ...]) -> str:
    """Say why a fax is not taken; empty where it is.

    All addresses that it comes from must be allowed, and none rejected: that in From, and the one that the mail
    server has put into Return-Path.

    Args:
        mail: the mail.
        allowed: addresses and @domains; without any, all are.
        rejected: addresses and @domains.
    """
    addresses = [*mail.senders, *filter(None, mail.return_paths)]
    if any(is_allowed(address, rejected) for address in addresses):
        return "its sender is rejected"
    if allowed and not (mail.senders and all(is_allowed(address, allowed) for address in addresses)):
        return "its sender is not allowed"
    return ""


def why_never_printed(mail: OpenedMail) -> str:
    """Say why a mail is not printed whoever it is from; empty where it is: machines' mail is for no paper.

    What came through a mailing list is printed: people write there.
    """
    refusal = why_of_machine(mail.fields, mail.senders)
    if not refusal and ABSENT.match(mail.subject) and not mail.parts:
        return "its subject is that of an automatic answer"
    return refusal


class _Reception:
    """One fax on its way from the spool to paper."""

    def __init__(self, mail: Incoming, opened: OpenedMail | None, folder: Path, device: Device) -> None:
        self._mail = mail
        self._opened = opened
        self._folder = folder
        self._device = device
        self._settings = device.settings(FAX)
        self._pages = 0
        self._notes: list[str] = []
        self._sender = opened.senders[0] if opened is not None and opened.senders else ""

    async def print(self) -> Handled:
        """Have its pages printed."""
        opened = self._opened
        assert opened is not None  # noqa: S101 - else it is refused
        try:
            await self._make("fax", self._texts(opened), self._documents(opened))
        except IntakeError as error:
            return await self.refuse(str(error))
        when = datetime.fromtimestamp(self._mail.fetched_at).astimezone().strftime("%Y-%m-%d %H.%M")
        outcome = await self._deliver("fax", f"Fax from {self._sender or 'nobody'} {when}")
        if outcome.later:
            return Later(_AGAIN, outcome.later)
        if self._settings["thumbnails"]:
            await Thumbnails(self._device.home).keep(self._mail, self._folder / "fax.png")
        if outcome.failed:
            await self._end(outcome.failed)
            return SetAside(outcome.failed)
        await self._end("")
        return Done(". ".join(["printed", *self._notes]))

    async def refuse(self, why: str) -> Handled:
        """Have a notice printed that says why the fax cannot be, and have its sender told."""
        if self._opened is not None and why_automatic(self._opened):
            return SetAside(why)
        await self._make("notice", [self._notice(why)], [])
        outcome = await self._deliver("notice", "Fax not printed")
        if outcome.later:
            return Later(_AGAIN, outcome.later)
        await self._end(why)
        return SetAside(why)

    def _documents(self, opened: OpenedMail) -> list[dict[str, str]]:
        parts = [part for part in opened.parts if part.size and not (part.inline and part.kind != "tiff")]
        for number, part in enumerate(parts, start=1):
            if part.kind not in _PAGES:
                raise IntakeError(
                    f"{part.name or f'Document {number}'!r} cannot be printed: documents of its kind are no faxes."
                )
        return [
            {"path": str(part.path), "kind": part.kind, "name": part.name or f"Document {number}"}
            for number, part in enumerate(parts, start=1)
        ]

    def _texts(self, opened: OpenedMail) -> list[str]:
        texts = [opened.text] if opened.text.strip() else []
        return ["\n".join(["Fax", "", *self._head()]), *texts] if self._settings["cover"] else texts

    def _head(self) -> list[str]:
        when = datetime.fromtimestamp(self._mail.fetched_at).astimezone().strftime("%Y-%m-%d %H:%M")
        subject = self._opened.subject if self._opened is not None else ""
        return [f"From: {self._sender or 'unknown'}", f"Subject: {subject}", f"Received: {when}"]

    def _notice(self, why: str) -> str:
        parts = self._opened.parts if self._opened is not None else ()
        names = ", ".join(filter(None, (part.name for part in parts)))
        return "\n".join(
            ["A fax could not be printed.", "", *self._head(), *([f"Documents: {names}"] if names else []), "", why]
        )

    async def _make(self, name: str, texts: list[str], documents: list[dict[str, str]]) -> None:
        request = {"name": name, "texts": texts, "documents": documents}
        made = await run_task("received", request, self._folder, Limits(pages=self._settings["max_pages"]))
        self._pages = int(made["pages"])
        self._notes = list(made["notes"])

    async def _deliver(self, name: str, title: str) -> DeliveryOutcome:
        opened = self._opened
        journal = await self._journal()
        if journal.get("closed"):
            # A person has it handled again: what was printed stays so, and what failed has another chance.
            await journal.take_up()
            await journal.note("closed", None)
        if journal.get("from") is None:
            await journal.note("from", self._sender)
            await journal.note("subject", one_line(opened.subject if opened is not None else "", 200))
        if name == "fax" and journal.get("pages") != self._pages:
            await journal.note("pages", self._pages)
        automatic = opened is not None and bool(why_automatic(opened))
        sheets = ReceivedPages(name, self._folder, title, self._sender, automatic)
        return await deliver(self._device, sheets, journal, str(self._mail.id))

    async def _end(self, error: str) -> None:
        if self._opened is not None:
            try:
                await answer(self._device, self._mail, self._opened, error)
            except InputError as failure:
                logger.warning("The sender of a fax is not told what became of it: %s", failure)
        if error:
            await (await self._journal()).note("closed", value=True)

    async def _journal(self) -> Journal:
        return await Journal.load(self._device.store(PIPELINE), f"{JOURNAL}{self._mail.id}")
