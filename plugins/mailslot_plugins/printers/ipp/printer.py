"""A printer that speaks IPP: each document is a job, created, handed over as a stream, and followed to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
from anyio.to_thread import run_sync

from mailslot_plugins.intake.one_line import cut
from mailslot_plugins.printers.ipp.capabilities import ATTRIBUTES, Capabilities, capabilities
from mailslot_plugins.printers.ipp.codec import Attribute, Tag
from mailslot_plugins.printers.ipp.operations import (
    CANCEL_JOB,
    CREATE_JOB,
    GONE,
    NOT_FOUND,
    OPERATION_NOT_SUPPORTED,
    PRINT_JOB,
    SEND_DOCUMENT,
    VALIDATE_JOB,
    IppStatusError,
    Operations,
    user,
)
from mailslot_plugins.printers.ipp.reasons import lies_in_document
from mailslot_plugins.printers.prepare import Wanted, prepare
from mailslot_plugins.printers.printer import Printed, PrinterError, Readiness

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mailslot_plugins.printers.ipp.codec import Value
    from mailslot_plugins.printers.journal import Attempt
    from mailslot_plugins.printers.printer import Document, Options

PENDING, HELD, PROCESSING, STOPPED, CANCELED, ABORTED, COMPLETED = range(3, 10)
"""The states of a job (RFC 8011 section 5.3.7)."""

_WITHOUT_DOCUMENT: Final = frozenset({"job-incoming", "job-data-insufficient"})
_BY_PEOPLE: Final = frozenset({"job-canceled-by-user", "job-canceled-by-operator", "job-canceled-at-device"})
_PAUSES: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0)


class IppPrinter:
    """A printer at an address ``ipp://…`` or ``ipps://…``.

    Args:
        uri: its address.
        options: what it is made with.

    Raises:
        InputError: the address is none.
    """

    def __init__(self, uri: str, options: Options) -> None:
        self._options = options
        self._operations = Operations(uri, options)
        self._can: Capabilities | None = None

    async def check(self) -> Readiness:
        """Ask the printer how it is, and what it takes."""
        can = await self._capabilities(anew=True)
        return Readiness(can.accepting and can.state != "stopped", can.state, can.reasons, can.formats)

    async def prepare(self, document: Document, folder: Path) -> list[Document]:
        """Return the document as the printer takes it."""
        can = await self._capabilities()
        wanted = Wanted(
            can.formats,
            dpi=can.dpi,
            color=can.color,
            media=can.paper,
            raster_types=can.raster_types,
            back=can.back,
            copies=max(can.copies, 1),
            limits=self._options.limits,
        )
        return await prepare(document, folder, wanted)

    async def print(self, document: Document, attempt: Attempt) -> Printed:
        """Print a document."""
        can = await self._capabilities()
        if not can.accepting:
            raise _stopped(can)
        size = (await run_sync(document.path.stat)).st_size
        if 0 < can.most_octets < size:
            raise PrinterError(
                "The printer does not take a document of this size.", stage="transaction", cause="document_unprintable"
            )
        about = [user(document.owner), Attribute(Tag.NAME, "job-name", (_name(attempt.token, document.title),))]
        kind = Attribute(Tag.MIME_TYPE, "document-format", (document.media_type,))
        wishes = _wishes(document, can)
        if VALIDATE_JOB in can.operations:
            await self._operations.do(VALIDATE_JOB, [*about, _NO_FIDELITY, kind], wishes)
        attempt.owner = document.owner
        await attempt.reach("begun")
        try:
            if {CREATE_JOB, SEND_DOCUMENT} <= can.operations:
                await self._create(document, attempt, [*about, _NO_FIDELITY], wishes, kind)
            else:
                await self._print_job(document, attempt, [*about, _NO_FIDELITY, kind], wishes)
        except IppStatusError:
            # Refused with its own words: nothing of it is there.
            if attempt.step == "begun":
                await attempt.reach("new")
            raise
        return await self._follow(attempt)

    async def resume(self, attempt: Attempt) -> Printed | None:
        """Ask the printer what became of a document."""
        number = attempt.job if attempt.job is not None else await self._operations.find(attempt.token, attempt.owner)
        job = None if number is None else await self._job(number, attempt.owner)
        if job is not None and not _is_ours(job, attempt.token):
            # A printer that was reset counts from one again.
            number = await self._operations.find(attempt.token, attempt.owner)
            job = None if number is None else await self._job(number, attempt.owner)
        if number is None or job is None:
            if attempt.step == "sent":
                return Printed(str(attempt.job or ""), "The printer has forgotten the document; it had taken it.")
            await attempt.restart()
            return None
        if attempt.step != "sent" and await self._is_without_document(number, job, attempt.owner):
            await attempt.restart()
            return None
        await attempt.reach("sent", job=number)
        return await self._follow(attempt)

    async def _create(
        self,
        document: Document,
        attempt: Attempt,
        about: list[Attribute],
        wishes: list[Attribute],
        kind: Attribute,
    ) -> None:
        """Create a job, and send its document (RFC 8011 sections 4.2.4 and 4.3.1)."""
        try:
            created = await self._operations.do(CREATE_JOB, about, wishes)
        except IppStatusError as error:
            if error.status != OPERATION_NOT_SUPPORTED:
                raise
            await self._print_job(document, attempt, [*about, kind], wishes)
            return
        number = _number(created.group(Tag.JOB))
        await attempt.reach("created", job=number)
        last = Attribute(Tag.BOOLEAN, "last-document", (True,))
        send = [Attribute(Tag.INTEGER, "job-id", (number,)), user(document.owner), kind, last]
        try:
            await self._operations.do(SEND_DOCUMENT, send, document=document.path)
        except IppStatusError as error:
            # The job is there, without a document: whether it comes again or not, that one must not stay.
            await self._cancel(number, document.owner)
            if error.retryable:
                await attempt.restart()
            raise
        await attempt.reach("sent")

    async def _print_job(
        self, document: Document, attempt: Attempt, about: list[Attribute], wishes: list[Attribute]
    ) -> None:
        printed = await self._operations.do(PRINT_JOB, about, wishes, document=document.path)
        await attempt.reach("sent", job=_number(printed.group(Tag.JOB)))

    async def _follow(self, attempt: Attempt) -> Printed:
        """Follow a job to its end, or until it waits for somebody."""
        number = attempt.job or 0
        pauses = iter(_PAUSES)
        pause = 0.0
        with anyio.move_on_after(self._options.patience):
            while True:
                job = await self._job(number, attempt.owner)
                if job is None:
                    return Printed(str(number), "The printer has forgotten the document; it had taken it.")
                if (printed := await self._ended(number, job)) is not None:
                    return printed
                pause = next(pauses, pause)
                await anyio.sleep(pause)
        raise PrinterError(
            f"The printer is still printing job {number}.", stage="transaction", cause="printer_stopped", retryable=True
        )

    async def _ended(self, number: int, job: Mapping[str, tuple[Value, ...]]) -> Printed | None:
        """Return that a job is done; None where it goes on.

        Raises:
            PrinterError: it has ended otherwise, or the printer has stopped.
        """
        state, reasons = _state(job), job.get("job-state-reasons", ())
        if state == COMPLETED:
            return Printed(str(number))
        if state == HELD and _WITHOUT_DOCUMENT.isdisjoint(map(str, reasons)):
            return Printed(str(number), "The printer holds the document until somebody releases it there.")
        if state in {CANCELED, ABORTED}:
            raise _unsuccessful(state, reasons)
        if state == STOPPED:
            raise _stopped(await self._capabilities(anew=True))
        if state == PENDING:
            can = await self._capabilities(anew=True)
            if can.state == "stopped":
                raise _stopped(can)
        return None

    async def _is_without_document(self, number: int, job: Mapping[str, tuple[Value, ...]], owner: str) -> bool:
        """Whether a job whose document's way broke off will never print it; makes that sure."""
        state, reasons = _state(job), frozenset(map(str, job.get("job-state-reasons", ())))
        if state in {CANCELED, ABORTED}:
            return reasons.isdisjoint(_BY_PEOPLE)
        if state == COMPLETED or (_WITHOUT_DOCUMENT.isdisjoint(reasons) and job.get("number-of-documents") != (0,)):
            return False
        await self._cancel(number, owner)
        for pause in _PAUSES[:6]:
            found = await self._job(number, owner)
            if found is None or _state(found) in {CANCELED, ABORTED}:
                return True
            if _state(found) == COMPLETED:
                return False
            await anyio.sleep(pause)
        raise PrinterError(
            "The printer does not say what became of the document.",
            stage="transaction",
            cause="printer_stopped",
            retryable=True,
            detail=f"job {number}",
        )

    async def _cancel(self, number: int, owner: str) -> None:
        try:
            await self._operations.do(CANCEL_JOB, [Attribute(Tag.INTEGER, "job-id", (number,)), user(owner)])
        except IppStatusError:
            return  # it has ended already

    async def _job(self, number: int, owner: str) -> Mapping[str, tuple[Value, ...]] | None:
        try:
            return await self._operations.job(number, owner)
        except IppStatusError as error:
            if error.status in {NOT_FOUND, GONE}:
                return None
            raise

    async def _capabilities(self, *, anew: bool = False) -> Capabilities:
        if self._can is None or anew:
            self._can = capabilities(await self._operations.printer(ATTRIBUTES))
        return self._can


def printer(address: str, options: Options) -> IppPrinter:
    """Return the printer at an address ``ipp://…`` or ``ipps://…``."""
    return IppPrinter(address, options)


_NO_FIDELITY: Final = Attribute(Tag.BOOLEAN, "ipp-attribute-fidelity", (False,))


def _wishes(document: Document, can: Capabilities) -> list[Attribute]:
    """Return the attributes of the job that the printer knows."""
    found: list[Attribute] = []
    if 1 < document.copies <= can.copies:
        found.append(Attribute(Tag.INTEGER, "copies", (document.copies,)))
    if document.sides is not None and document.sides in can.sides:
        found.append(Attribute(Tag.KEYWORD, "sides", (document.sides,)))
    if document.media is not None and document.media in can.media:
        found.append(Attribute(Tag.KEYWORD, "media", (document.media,)))
    if document.color is not None and document.color in can.colors:
        found.append(Attribute(Tag.KEYWORD, "print-color-mode", (document.color,)))
    return found


def _name(token: str, title: str) -> str:
    return cut(f"{token} {title}".strip(), 255)


def _number(job: Mapping[str, tuple[Value, ...]]) -> int:
    number = next(iter(job.get("job-id", ())), None)
    if not isinstance(number, int):
        raise PrinterError(
            "The printer does not say which job the document has become.",
            stage="transaction",
            cause="printer_stopped",
            retryable=True,
        )
    return number


def _state(job: Mapping[str, tuple[Value, ...]]) -> int:
    state = next(iter(job.get("job-state", ())), None)
    return state if isinstance(state, int) else PROCESSING


def _is_ours(job: Mapping[str, tuple[Value, ...]], token: str) -> bool:
    name = next(iter(job.get("job-name", ())), None)
    # Some printers tell nobody what a job is called; then its number alone must do.
    return not isinstance(name, str) or name.startswith(token)


def _stopped(can: Capabilities) -> PrinterError:
    sentence = " ".join(can.reasons) or (
        "The printer has stopped." if can.state == "stopped" else "The printer does not accept documents at the moment."
    )
    return PrinterError(sentence, stage="transaction", cause="printer_stopped", retryable=True)


def _unsuccessful(state: int, reasons: tuple[Value, ...]) -> PrinterError:
    said = ", ".join(map(str, reasons[:5]))
    if lies_in_document(reasons):
        return PrinterError(
            "The printer cannot print the document.", stage="transaction", cause="document_unprintable", detail=said
        )
    sentence = (
        "The document was cancelled at the printer." if state == CANCELED else "The printer broke off the document."
    )
    return PrinterError(sentence, stage="transaction", cause="printer_refused", detail=said)
