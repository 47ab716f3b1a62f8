"""The IPP operations for printing (RFC 8011 section 4), and the meaning of error statuses."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

from anyio import open_file
from anyio.to_thread import run_sync

from mailslot.plugin import MailError
from mailslot_plugins.intake.one_line import cut_to_octets
from mailslot_plugins.printers.ipp.client import http_address, operation_attributes, post
from mailslot_plugins.printers.ipp.codec import Attribute, Tag, encode
from mailslot_plugins.printers.ipp.trust import tls_context_for, untrusted_sentence
from mailslot_plugins.printers.printer import PrinterError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from anyio import AsyncFile

    from mailslot_plugins.printers.ipp.codec import Response, Value
    from mailslot_plugins.printers.printer import PrinterOptions

PRINT_JOB: Final = 0x0002
VALIDATE_JOB: Final = 0x0004
CREATE_JOB: Final = 0x0005
SEND_DOCUMENT: Final = 0x0006
CANCEL_JOB: Final = 0x0008
GET_JOB_ATTRIBUTES: Final = 0x0009
GET_JOBS: Final = 0x000A
GET_PRINTER_ATTRIBUTES: Final = 0x000B

NOT_FOUND: Final = 0x0406
GONE: Final = 0x0407
OPERATION_NOT_SUPPORTED: Final = 0x0501
VERSION_NOT_SUPPORTED: Final = 0x0503

_VERSIONS: Final = ((2, 0), (1, 1))
_CHUNK_SIZE: Final = 64 * 1024
_DOCUMENT_TIMEOUT: Final = 3600.0
"""Seconds that sending a document may take."""

_UNPRINTABLE: Final[Mapping[int, str]] = {
    0x0408: "The printer does not accept a document of this size.",
    0x040A: "The printer does not accept documents of this format.",
    0x0410: "The printer cannot read the document.",
    0x0411: "The printer cannot read the document.",
    0x0412: "The printer cannot read the document.",
}
_RETRYABLE: Final[Mapping[int, str]] = {
    0x0405: "The printer waited too long for the document.",
    0x0500: "The printer has a fault.",
    0x0502: "The printer is not in service.",
    0x0504: "The printer has a fault.",
    0x0505: "The printer cannot print at the moment.",
    0x0506: "The printer does not accept documents at the moment.",
    0x0507: "The printer is busy.",
    0x050A: "The printer is switched off.",
}
_REFUSED: Final[Mapping[int, str]] = {
    0x0401: "The printer does not let this device print.",
    0x0402: "The printer requires a sign-in.",
    0x0403: "The printer does not let this device print.",
    0x0508: "The printer has cancelled the document.",
}


class IppStatusError(PrinterError):
    """A printer refused an operation.

    Attributes:
        status: the status code.
    """

    status: int = 0


def status_error(status: int, detail: str = "") -> IppStatusError:
    """Return the error for a status code above 0x00ff (RFC 8011 appendix B)."""
    retryable = status in _RETRYABLE
    cause = "printer_stopped" if retryable else "printer_refused"
    sentence = _RETRYABLE.get(status) or _REFUSED.get(status, "The printer refused the document.")
    if status in _UNPRINTABLE:
        cause, sentence = "document_unprintable", _UNPRINTABLE[status]
    detail_text = f"IPP status 0x{status:04x}{f', {detail}' if detail else ''}"
    error = IppStatusError(sentence, cause=cause, retryable=retryable, detail=detail_text)
    error.status = status
    return error


class Operations:
    """Operations on one printer, in the newest version of IPP that it supports.

    Every method raises `PrinterError`; `IppStatusError` if the printer refused.
    """

    def __init__(self, uri: str, options: PrinterOptions) -> None:
        self._uri = uri
        self._address = http_address(uri)
        self._options = options
        self._version = 0
        self._numbers = count(1)

    async def get_printer_attributes(self, names: Sequence[str]) -> Mapping[str, tuple[Value, ...]]:
        """Return attributes of the printer."""
        attributes = Attribute(Tag.KEYWORD, "requested-attributes", tuple(names))
        return (await self.execute(GET_PRINTER_ATTRIBUTES, [attributes])).group(Tag.PRINTER)

    async def get_job_attributes(self, number: int, owner: str) -> Mapping[str, tuple[Value, ...]]:
        """Return attributes of a job."""
        names = ("job-id", "job-name", "job-state", "job-state-reasons", "number-of-documents", "job-state-message")
        attributes = [
            Attribute(Tag.INTEGER, "job-id", (number,)),
            requesting_user(owner),
            Attribute(Tag.KEYWORD, _REQUESTED_ATTRIBUTES, names),
        ]
        return (await self.execute(GET_JOB_ATTRIBUTES, attributes)).group(Tag.JOB)

    async def find_job(self, token: str, owner: str) -> int | None:
        """Return the number of the job whose name begins with a token; None if there is none."""
        for which in ("not-completed", "completed"):
            attributes = [
                requesting_user(owner),
                Attribute(Tag.KEYWORD, "which-jobs", (which,)),
                Attribute(Tag.KEYWORD, _REQUESTED_ATTRIBUTES, ("job-id", "job-name")),
            ]
            for group in (await self.execute(GET_JOBS, attributes)).groups:
                name, number = group.attributes.get("job-name", ("",))[0], group.attributes.get("job-id", (None,))[0]
                if group.tag == Tag.JOB and str(name).startswith(token) and isinstance(number, int):
                    return number
        return None

    async def execute(
        self,
        operation: int,
        attributes: Sequence[Attribute] = (),
        job_attributes: Sequence[Attribute] = (),
        *,
        document: Path | None = None,
    ) -> Response:
        """Execute an operation.

        Args:
            operation: its code.
            attributes: operation attributes, in addition to those of every request.
            job_attributes: attributes of the job.
            document: the file to send.
        """
        while True:
            response = await self._post(operation, attributes, job_attributes, document)
            if response.status == VERSION_NOT_SUPPORTED and self._version + 1 < len(_VERSIONS):
                self._version += 1
                continue
            if response.status >= 0x100:
                message = response.group(Tag.OPERATION).get("status-message", ("",))[0]
                raise status_error(response.status, str(message)[:200])
            return response

    async def _post(
        self,
        operation: int,
        attributes: Sequence[Attribute],
        job_attributes: Sequence[Attribute],
        document: Path | None,
    ) -> Response:
        groups = [(Tag.OPERATION, [*operation_attributes(self._uri), *attributes])]
        if job_attributes:
            groups.append((Tag.JOB, list(job_attributes)))
        head = encode(operation, next(self._numbers), groups, version=_VERSIONS[self._version])
        timeout = self._options.timeout
        try:
            context = await tls_context_for(self._address, self._options)
            if document is None:
                return await post(self._address, head, context=context, timeout=timeout, total_timeout=2 * timeout)
            size = (await run_sync(document.stat)).st_size
            async with await open_file(document, "rb") as file:
                return await post(
                    self._address,
                    head,
                    context=context,
                    timeout=timeout,
                    total_timeout=_DOCUMENT_TIMEOUT,
                    document=_FileChunks(file),
                    size=size,
                )
        except PrinterError:
            raise
        except MailError as error:
            raise self._as_printer_error(error) from error

    def _as_printer_error(self, error: MailError) -> PrinterError:
        sentence = str(error)
        if "certificate verify failed" in error.detail.lower():
            sentence = untrusted_sentence(self._options)
        known = error.cause in {"printer_unreachable", "printer_stopped"}
        return PrinterError(
            sentence,
            stage=error.stage,
            cause=error.cause if known else "printer_unreachable",
            retryable=True,
            detail=error.detail,
        )


_REQUESTED_ATTRIBUTES: Final = "requested-attributes"


def requesting_user(name: str) -> Attribute:
    """Return the attribute with the user of a request."""
    return Attribute(Tag.NAME, "requesting-user-name", (cut_to_octets(name, 255) or "mailslot",))


class _FileChunks:
    """A file's octets in chunks. Not a generator, which would be left suspended if sending fails."""

    def __init__(self, file: AsyncFile[bytes]) -> None:
        self._file = file

    def __aiter__(self) -> _FileChunks:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._file.read(_CHUNK_SIZE)
        if not chunk:
            raise StopAsyncIteration
        return chunk
