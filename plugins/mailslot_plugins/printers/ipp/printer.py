"""An IPP printer: each document becomes a job, whose document is streamed and whose state is polled to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
from anyio.to_thread import run_sync

from mailslot_plugins.intake.one_line import cut_to_octets
from mailslot_plugins.printers.ipp.capabilities import ATTRIBUTES, Capabilities, parse_capabilities
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
    requesting_user,
)
from mailslot_plugins.printers.ipp.reasons import is_document_fault
from mailslot_plugins.printers.prepare import PrinterProfile, prepare
from mailslot_plugins.printers.printer import PrinterError, PrintResult, Readiness

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mailslot_plugins.printers.ipp.codec import Value
    from mailslot_plugins.printers.journal import Attempt
    from mailslot_plugins.printers.printer import Document, PrinterOptions

PENDING, HELD, PROCESSING, STOPPED, CANCELED, ABORTED, COMPLETED = range(3, 10)
"""The states of a job (RFC 8011 section 5.3.7)."""

_WITHOUT_DOCUMENT: Final = frozenset({"job-incoming", "job-data-insufficient"})
_CANCELED_BY_PEOPLE: Final = frozenset({"job-canceled-by-user", "job-canceled-by-operator", "job-canceled-at-device"})
_LATE_JOB_PAUSES: Final = (0.0, 0.5, 1.5)
"""Seconds before each look for a job that may not exist."""

_POLL_INTERVALS: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0)


class IppPrinter:
    """An IPP printer.

    Raises:
        InputError: the address is not valid.
    """

    def __init__(self, uri: str, options: PrinterOptions) -> None:
        self._options = options
        self._operations = Operations(uri, options)
        self._cached_capabilities: Capabilities | None = None

    async def check(self) -> Readiness:
        """Query the printer's state and formats."""
        capabilities = await self._capabilities(refresh=True)
        return Readiness(
            capabilities.accepting and capabilities.state != "stopped",
            capabilities.state,
            capabilities.reasons,
            capabilities.formats,
        )

    async def prepare(self, document: Document, folder: Path) -> list[Document]:
        """Return the document in a format that the printer accepts."""
        capabilities = await self._capabilities()
        profile = PrinterProfile(
            capabilities.formats,
            dpi=capabilities.dpi,
            color=capabilities.color,
            media=capabilities.paper,
            raster_types=capabilities.raster_types,
            back=capabilities.back,
            copies=max(capabilities.copies, 1),
            limits=self._options.limits,
        )
        return await prepare(document, folder, profile)

    async def print(self, document: Document, attempt: Attempt) -> PrintResult:
        """Print a document."""
        capabilities = await self._capabilities()
        if not capabilities.accepting:
            raise _stopped_error(capabilities)
        size = (await run_sync(document.path.stat)).st_size
        if 0 < capabilities.max_octets < size:
            raise PrinterError("The printer does not accept a document of this size.", cause="document_unprintable")
        attributes = [
            requesting_user(document.owner),
            Attribute(Tag.NAME, "job-name", (_job_name(attempt.token, document.title),)),
        ]
        document_format = Attribute(Tag.MIME_TYPE, "document-format", (document.media_type,))
        job_attributes = _job_attributes(document, capabilities)
        if VALIDATE_JOB in capabilities.supported_operations:
            await self._operations.execute(VALIDATE_JOB, [*attributes, _NO_FIDELITY, document_format], job_attributes)
        attempt.owner = document.owner
        await attempt.reach("begun")
        try:
            if {CREATE_JOB, SEND_DOCUMENT} <= capabilities.supported_operations:
                await self._create(document, attempt, [*attributes, _NO_FIDELITY], job_attributes, document_format)
            else:
                await self._print_job(document, attempt, [*attributes, _NO_FIDELITY, document_format], job_attributes)
        except IppStatusError as error:
            # The printer refused the job, so that it does not exist. A printer that is busy may have created the job of
            # an earlier try, which is looked for before the next one.
            if attempt.step == "begun" and not error.retryable:
                await attempt.reach("new")
            raise
        return await self._wait_for_end(attempt)

    async def resume(self, attempt: Attempt) -> PrintResult | None:
        """Query the printer for the job of an attempt."""
        number = attempt.job if attempt.job is not None else await self._find_job(attempt)
        job = None if number is None else await self._get_job(number, attempt.owner)
        if job is not None and not _is_ours(job, attempt.token):
            # A printer that was reset numbers its jobs from one again.
            number = await self._operations.find_job(attempt.token, attempt.owner)
            job = None if number is None else await self._get_job(number, attempt.owner)
        if number is None or job is None:
            if attempt.step == "sent":
                return PrintResult(str(attempt.job or ""), "The printer has forgotten the document; it had taken it.")
            # Without a number it keeps its token, by which the job is found if the printer creates it later still.
            if attempt.job is not None:
                await attempt.restart()
            return None
        if attempt.step != "sent" and await self._discard_incomplete_job(number, job, attempt.owner):
            await attempt.restart()
            return None
        await attempt.reach("sent", job=number)
        return await self._wait_for_end(attempt)

    async def _find_job(self, attempt: Attempt) -> int | None:
        """Return the number of an attempt's job; the printer may not have read yet what a killed process has sent."""
        for pause in _LATE_JOB_PAUSES:
            await anyio.sleep(pause)
            if (number := await self._operations.find_job(attempt.token, attempt.owner)) is not None:
                return number
        return None

    async def _create(
        self,
        document: Document,
        attempt: Attempt,
        attributes: list[Attribute],
        job_attributes: list[Attribute],
        document_format: Attribute,
    ) -> None:
        """Create a job and send its document (RFC 8011 sections 4.2.4 and 4.3.1)."""
        try:
            created = await self._operations.execute(CREATE_JOB, attributes, job_attributes)
        except IppStatusError as error:
            if error.status != OPERATION_NOT_SUPPORTED:
                raise
            await self._print_job(document, attempt, [*attributes, document_format], job_attributes)
            return
        number = _job_number(created.group(Tag.JOB))
        await attempt.reach("created", job=number)
        last = Attribute(Tag.BOOLEAN, "last-document", (True,))
        send = [Attribute(Tag.INTEGER, "job-id", (number,)), requesting_user(document.owner), document_format, last]
        try:
            await self._operations.execute(SEND_DOCUMENT, send, document=document.path)
        except IppStatusError as error:
            # The job exists without a document and must not stay, whether the document is tried again or not.
            await self._cancel(number, document.owner)
            if error.retryable:
                await attempt.restart()
            raise
        await attempt.reach("sent")

    async def _print_job(
        self, document: Document, attempt: Attempt, attributes: list[Attribute], job_attributes: list[Attribute]
    ) -> None:
        printed = await self._operations.execute(PRINT_JOB, attributes, job_attributes, document=document.path)
        await attempt.reach("sent", job=_job_number(printed.group(Tag.JOB)))

    async def _wait_for_end(self, attempt: Attempt) -> PrintResult:
        """Poll a job until it ends or waits for a person."""
        number = attempt.job or 0
        intervals = iter(_POLL_INTERVALS)
        interval = 0.0
        with anyio.move_on_after(self._options.job_timeout):
            while True:
                job = await self._get_job(number, attempt.owner)
                if job is None:
                    return PrintResult(str(number), "The printer has forgotten the document; it had taken it.")
                if (printed := await self._check_end(number, job)) is not None:
                    return printed
                interval = next(intervals, interval)
                await anyio.sleep(interval)
        raise PrinterError(f"The printer is still printing job {number}.", cause="printer_stopped", retryable=True)

    async def _check_end(self, number: int, job: Mapping[str, tuple[Value, ...]]) -> PrintResult | None:
        """Return the result of a finished job; None if it goes on.

        Raises:
            PrinterError: the job failed, or the printer has stopped.
        """
        state, reasons = _job_state(job), job.get("job-state-reasons", ())
        if state == COMPLETED:
            return PrintResult(str(number))
        if state == HELD and _WITHOUT_DOCUMENT.isdisjoint(map(str, reasons)):
            return PrintResult(str(number), "The printer holds the document until somebody releases it there.")
        if state in {CANCELED, ABORTED}:
            raise _job_error(state, reasons)
        if state == STOPPED:
            raise _stopped_error(await self._capabilities(refresh=True))
        if state == PENDING:
            capabilities = await self._capabilities(refresh=True)
            if capabilities.state == "stopped":
                raise _stopped_error(capabilities)
        return None

    async def _discard_incomplete_job(self, number: int, job: Mapping[str, tuple[Value, ...]], owner: str) -> bool:
        """Cancel a job that did not get its whole document; return False if it was printed nevertheless."""
        state, reasons = _job_state(job), frozenset(map(str, job.get("job-state-reasons", ())))
        if state in {CANCELED, ABORTED}:
            return reasons.isdisjoint(_CANCELED_BY_PEOPLE)
        if state == COMPLETED or (_WITHOUT_DOCUMENT.isdisjoint(reasons) and job.get("number-of-documents") != (0,)):
            return False
        await self._cancel(number, owner)
        for interval in _POLL_INTERVALS[:6]:
            found = await self._get_job(number, owner)
            if found is None or _job_state(found) in {CANCELED, ABORTED}:
                return True
            if _job_state(found) == COMPLETED:
                return False
            await anyio.sleep(interval)
        raise PrinterError(
            "The printer does not report what happened to the document.",
            cause="printer_stopped",
            retryable=True,
            detail=f"job {number}",
        )

    async def _cancel(self, number: int, owner: str) -> None:
        try:
            await self._operations.execute(
                CANCEL_JOB, [Attribute(Tag.INTEGER, "job-id", (number,)), requesting_user(owner)]
            )
        except IppStatusError:
            return  # the job has ended already

    async def _get_job(self, number: int, owner: str) -> Mapping[str, tuple[Value, ...]] | None:
        try:
            return await self._operations.get_job_attributes(number, owner)
        except IppStatusError as error:
            if error.status in {NOT_FOUND, GONE}:
                return None
            raise

    async def _capabilities(self, *, refresh: bool = False) -> Capabilities:
        if self._cached_capabilities is None or refresh:
            self._cached_capabilities = parse_capabilities(await self._operations.get_printer_attributes(ATTRIBUTES))
        return self._cached_capabilities


def printer(address: str, options: PrinterOptions) -> IppPrinter:
    """Return the printer at an address ``ipp://…`` or ``ipps://…``."""
    return IppPrinter(address, options)


_NO_FIDELITY: Final = Attribute(Tag.BOOLEAN, "ipp-attribute-fidelity", (False,))


def _job_attributes(document: Document, capabilities: Capabilities) -> list[Attribute]:
    """Return the job attributes that the printer supports."""
    found: list[Attribute] = []
    if 1 < document.copies <= capabilities.copies:
        found.append(Attribute(Tag.INTEGER, "copies", (document.copies,)))
    if document.sides is not None and document.sides in capabilities.sides:
        found.append(Attribute(Tag.KEYWORD, "sides", (document.sides,)))
    if document.media is not None and document.media in capabilities.media:
        found.append(Attribute(Tag.KEYWORD, "media", (document.media,)))
    if document.color is not None and document.color in capabilities.colors:
        found.append(Attribute(Tag.KEYWORD, "print-color-mode", (document.color,)))
    return found


def _job_name(token: str, title: str) -> str:
    return cut_to_octets(f"{token} {title}".strip(), 255)


def _job_number(job: Mapping[str, tuple[Value, ...]]) -> int:
    number = next(iter(job.get("job-id", ())), None)
    if not isinstance(number, int):
        raise PrinterError(
            "The printer did not return a job number for the document.", cause="printer_stopped", retryable=True
        )
    return number


def _job_state(job: Mapping[str, tuple[Value, ...]]) -> int:
    state = next(iter(job.get("job-state", ())), None)
    return state if isinstance(state, int) else PROCESSING


def _is_ours(job: Mapping[str, tuple[Value, ...]], token: str) -> bool:
    name = next(iter(job.get("job-name", ())), None)
    # Some printers do not report names of jobs; then the number must suffice.
    return not isinstance(name, str) or name.startswith(token)


def _stopped_error(capabilities: Capabilities) -> PrinterError:
    sentence = " ".join(capabilities.reasons) or (
        "The printer has stopped."
        if capabilities.state == "stopped"
        else "The printer does not accept documents at the moment."
    )
    return PrinterError(sentence, cause="printer_stopped", retryable=True)


def _job_error(state: int, reasons: tuple[Value, ...]) -> PrinterError:
    detail = ", ".join(map(str, reasons[:5]))
    if is_document_fault(reasons):
        return PrinterError("The printer cannot print the document.", cause="document_unprintable", detail=detail)
    sentence = (
        "The document was cancelled at the printer." if state == CANCELED else "The printer aborted the document."
    )
    return PrinterError(sentence, cause="printer_refused", detail=detail)
