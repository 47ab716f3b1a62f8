"""Handles a mail at ``fax.pop``: a fax, or a report about a sent fax."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError
from mailslot.service.pipeline import Done, Later, SetAside
from mailslot_plugins.fax.destinations import DeliveryOutcome, ReceivedPages, abandon_deliveries, deliver
from mailslot_plugins.fax.reports import PIPELINE, apply_fax_report
from mailslot_plugins.fax.section import SECTION
from mailslot_plugins.fax.sender_notification import notify_sender
from mailslot_plugins.intake.auto_reply_policy import automatic_reason
from mailslot_plugins.intake.limits import Limits
from mailslot_plugins.intake.machine_mail import ABSENCE_SUBJECT, machine_reason
from mailslot_plugins.intake.mail import open_mail
from mailslot_plugins.intake.one_line import one_line
from mailslot_plugins.intake.process import IntakeError, run_task
from mailslot_plugins.intake.senders import is_listed
from mailslot_plugins.intake.thumbnails import Thumbnails
from mailslot_plugins.printers.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.service.device import Device
    from mailslot.service.pipeline import Handled
    from mailslot.spool.incoming import Incoming
    from mailslot_plugins.intake.mail import OpenedMail

JOURNAL: Final = "mail:"
"""The prefix of the store's keys for journals of mails."""

_RETRY_DELAY: Final = 60.0
_PRINTABLE_KINDS: Final = frozenset({"tiff", "pdf", "jpeg", "png", "gif", "bmp", "webp", "text"})

logger = logging.getLogger(__name__)


async def receive(mail: Incoming, path: Path, device: Device) -> Handled:
    """Handle a mail."""
    settings = device.settings(SECTION)
    async with device.working_folder() as folder:
        try:
            opened = await open_mail(path, folder)
        except IntakeError as error:
            if settings["allowed_senders"]:
                # Its sender is unknown, so no notice may be printed.
                return SetAside(str(error))
            return await _ReceivedFax(mail, None, folder, device).refuse(str(error))
        if opened.is_report or opened.report is not None:
            return Done("a report" if opened.report is None else await apply_fax_report(opened.report, device))
        refusal = sender_refusal(opened, settings["allowed_senders"], settings["rejected_senders"])
        if refusal:
            return Done(f"not taken: {refusal}")
        if refusal := machine_mail_refusal(opened):
            # With documents it may still be a fax, for a person to look at.
            return SetAside(f"Not printed, since {refusal}.") if opened.parts else Done(f"not printed: {refusal}")
        return await _ReceivedFax(mail, opened, folder, device).print()


async def abandon(mail: Incoming, device: Device) -> None:
    """Cancel what interrupted attempts to print a mail have left at printers.

    Raises:
        MailError: a printer cannot be asked.
    """
    await abandon_deliveries(device, await _load_journal(mail, device))


def sender_refusal(mail: OpenedMail, allowed: tuple[str, ...], rejected: tuple[str, ...]) -> str:
    """Return why a fax is not accepted from its sender; empty if it is.

    The addresses in From and in Return-Path, which the mail server adds, must all be allowed, and none rejected.

    Args:
        mail: the mail.
        allowed: addresses and @domains; if empty, all are allowed.
        rejected: addresses and @domains.
    """
    addresses = [*mail.senders, *filter(None, mail.return_paths)]
    if any(is_listed(address, rejected) for address in addresses):
        return "its sender is rejected"
    if allowed and not (mail.senders and all(is_listed(address, allowed) for address in addresses)):
        return "its sender is not allowed"
    return ""


def machine_mail_refusal(mail: OpenedMail) -> str:
    """Return why a mail is not printed, if a machine wrote it; else empty.

    Mail from a mailing list is printed, because people write there.
    """
    refusal = machine_reason(mail.fields, mail.senders)
    if not refusal and ABSENCE_SUBJECT.match(mail.subject) and not mail.parts:
        return "its subject is that of an automatic answer"
    return refusal


class _ReceivedFax:
    """A received fax that is being printed."""

    def __init__(self, mail: Incoming, opened: OpenedMail | None, folder: Path, device: Device) -> None:
        self._mail = mail
        self._opened = opened
        self._folder = folder
        self._device = device
        self._settings = device.settings(SECTION)
        self._pages = 0
        self._notes: list[str] = []
        self._sender = opened.senders[0] if opened is not None and opened.senders else ""

    async def print(self) -> Handled:
        """Print its pages and notify its sender."""
        opened = self._opened
        assert opened is not None  # noqa: S101 - otherwise it was refused
        try:
            await self._make_pages("fax", self._texts(opened), self._documents(opened))
        except IntakeError as error:
            return await self.refuse(str(error))
        received_at = datetime.fromtimestamp(self._mail.fetched_at).astimezone().strftime("%Y-%m-%d %H.%M")
        outcome = await self._deliver("fax", f"Fax from {self._sender or 'nobody'} {received_at}")
        if outcome.retry_reason:
            return Later(_RETRY_DELAY, outcome.retry_reason)
        if self._settings["thumbnails"]:
            await Thumbnails(self._device.home).keep(self._mail, self._folder / "fax.png")
        if outcome.failure:
            await self._finish(outcome.failure)
            return SetAside(outcome.failure)
        await self._finish("")
        return Done(". ".join(["printed", *self._notes]))

    async def refuse(self, reason: str) -> Handled:
        """Print a notice that says why the fax cannot be printed, and notify its sender."""
        if self._opened is not None and automatic_reason(self._opened):
            return SetAside(reason)
        await self._make_pages("notice", [self._notice_text(reason)], [])
        outcome = await self._deliver("notice", "Fax not printed")
        if outcome.retry_reason:
            return Later(_RETRY_DELAY, outcome.retry_reason)
        await self._finish(reason)
        return SetAside(reason)

    def _documents(self, opened: OpenedMail) -> list[dict[str, str]]:
        parts = [part for part in opened.parts if part.size and not (part.inline and part.kind != "tiff")]
        for number, part in enumerate(parts, start=1):
            if part.kind not in _PRINTABLE_KINDS:
                raise IntakeError(
                    f"{part.name or f'Document {number}'!r} cannot be printed: its kind is not supported in faxes."
                )
        return [
            {"path": str(part.path), "kind": part.kind, "name": part.name or f"Document {number}"}
            for number, part in enumerate(parts, start=1)
        ]

    def _texts(self, opened: OpenedMail) -> list[str]:
        texts = [opened.text] if opened.text.strip() else []
        return ["\n".join(["Fax", "", *self._header_lines()]), *texts] if self._settings["cover"] else texts

    def _header_lines(self) -> list[str]:
        received_at = datetime.fromtimestamp(self._mail.fetched_at).astimezone().strftime("%Y-%m-%d %H:%M")
        subject = self._opened.subject if self._opened is not None else ""
        return [f"From: {self._sender or 'unknown'}", f"Subject: {subject}", f"Received: {received_at}"]

    def _notice_text(self, reason: str) -> str:
        parts = self._opened.parts if self._opened is not None else ()
        names = ", ".join(filter(None, (part.name for part in parts)))
        return "\n".join(
            [
                "A fax could not be printed.",
                "",
                *self._header_lines(),
                *([f"Documents: {names}"] if names else []),
                "",
                reason,
            ]
        )

    async def _make_pages(self, name: str, texts: list[str], documents: list[dict[str, str]]) -> None:
        request = {"name": name, "texts": texts, "documents": documents}
        result = await run_task("received", request, self._folder, Limits(pages=self._settings["max_pages"]))
        self._pages = int(result["pages"])
        self._notes = list(result["notes"])

    async def _deliver(self, name: str, title: str) -> DeliveryOutcome:
        opened = self._opened
        journal = await self._journal()
        if journal.get("closed"):
            # A person has the mail handled again: printed pages stay printed, failed deliveries are tried again.
            await journal.retry_failed()
            await journal.record("closed", None)
        if journal.get("from") is None:
            await journal.record("from", self._sender)
            await journal.record("subject", one_line(opened.subject if opened is not None else "", 200))
        if name == "fax" and journal.get("pages") != self._pages:
            await journal.record("pages", self._pages)
        automatic = opened is not None and bool(automatic_reason(opened))
        received_pages = ReceivedPages(name, self._folder, title, self._sender, automatic)
        return await deliver(self._device, received_pages, journal, str(self._mail.id))

    async def _finish(self, error: str) -> None:
        if self._opened is not None:
            try:
                await notify_sender(self._device, self._mail, self._opened, error)
            except InputError as failure:
                logger.warning("The sender of a fax is not notified: %s", failure)
        if error:
            await (await self._journal()).record("closed", value=True)

    async def _journal(self) -> Journal:
        return await _load_journal(self._mail, self._device)


async def _load_journal(mail: Incoming, device: Device) -> Journal:
    return await Journal.load(device.store(PIPELINE), f"{JOURNAL}{mail.id}")
