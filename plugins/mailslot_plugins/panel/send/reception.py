"""Receives documents from a connection into files, a piece at a time, so that memory use does not depend on them."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import anyio
from anyio.to_thread import run_sync

from mailslot.errors import InputError, MailError
from mailslot.message.filename import safe_name, unique_names
from mailslot.spool.errors import writing
from mailslot.spool.limits import format_size
from mailslot_plugins.panel.problem import ProblemError
from mailslot_plugins.panel.security.limits import DisconnectedError, TooSlowError
from mailslot_plugins.panel.security.upload import check_upload_token
from mailslot_plugins.panel.send.form_data import (
    FormDataError,
    FormDataReader,
    PartBegin,
    PartData,
    PartEnd,
)
from mailslot_plugins.sending.submission import SubmittedDocument

if TYPE_CHECKING:
    from io import BufferedWriter
    from pathlib import Path

    from starlette.requests import Request

    from mailslot.spool.spool import Spool
    from mailslot_plugins.panel.send.form_data import Event

FILE: Final = "file"
"""The name of the fields with documents."""

CSRF: Final = "csrf"

MAX_FILES: Final = 100
MAX_FIELDS: Final = 200
MAX_FIELD_OCTETS: Final = 64 * 1024
"""Octets of all fields together, apart from documents."""

MAX_SILENCE: Final = 30.0
"""Seconds without any octet after which the request fails."""

_CHECK_INTERVAL: Final = 16 * 1024 * 1024
"""Octets after which the free space is checked again."""

_MAX_DISCARDED: Final = 64 * 1024 * 1024
"""Octets that are read after an error, since many browsers show no response before they have sent everything."""


@dataclass(slots=True)
class Received:
    """Received documents and fields.

    Attributes:
        documents: the documents.
        digests: the SHA-256 of each document, in hexadecimal.
        fields: the other fields, with all their values.
    """

    documents: list[SubmittedDocument] = field(default_factory=list[SubmittedDocument])
    digests: list[str] = field(default_factory=list[str])
    fields: dict[str, list[str]] = field(default_factory=dict[str, list[str]])


async def receive_documents(request: Request, spool: Spool, folder: Path, received: Received) -> None:
    """Receive documents.

    Args:
        request: a request with an unread body of type ``multipart/form-data``.
        spool: the spool, whose limits apply.
        folder: the folder for the documents.
        received: gets the documents and fields, also those before an error.

    Raises:
        ProblemError: the body is not valid, or was cut short.
        InputError: the documents are too large, or too many.
        SpoolError: there is no room for them, or they cannot be written.
        CsrfError: the page's token does not come first.
        TooSlowError, DisconnectedError: the rest of the body did not arrive.
    """
    reception = _Reception(request, spool, folder, received)
    try:
        await reception.run()
    except (ProblemError, MailError):
        await reception.discard()
        raise
    finally:
        reception.close()


class _Reception:
    def __init__(self, request: Request, spool: Spool, folder: Path, received: Received) -> None:
        self._request = request
        self._spool = spool
        self._folder = folder
        self._received = received
        self._complete = False
        self._octets = self._next_check = self._field_octets = self._parts = 0
        self._names: list[str] = []
        self._part = PartBegin("", None)
        self._value = bytearray()
        self._file: BufferedWriter | None = None
        self._digest = hashlib.sha256()

    async def run(self) -> None:
        try:
            reader = FormDataReader(self._request.headers.get("content-type", ""))
            announced = self._request.headers.get("content-length", "")
            await self._spool.acceptance.check_room(int(announced) if announced.isdecimal() else 0)
            while not self._complete:
                octets = await self._receive()
                await self._check_size(len(octets))
                for event in reader.feed(octets):
                    await self._take(event)
        except FormDataError as error:
            raise ProblemError(400, str(error)) from error
        if not reader.complete:
            raise ProblemError(400, "What was sent ends too early.")
        check_upload_token(self._request, None)
        names = unique_names(self._names)
        self._received.documents[:] = [
            SubmittedDocument(each.path, name) for each, name in zip(self._received.documents, names, strict=True)
        ]

    async def discard(self) -> None:
        """Read the rest of the body, for a while."""
        discarded = 0
        with anyio.move_on_after(MAX_SILENCE), suppress(TooSlowError):
            while not self._complete and discarded < _MAX_DISCARDED:
                discarded += len(await self._receive())

    def close(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # such as from the last octets, on a full disk
                self._file.close()

    async def _receive(self) -> bytes:
        try:
            with anyio.fail_after(MAX_SILENCE):
                message = await self._request.receive()
        except TimeoutError:
            raise TooSlowError from None
        if message["type"] != "http.request":
            raise DisconnectedError
        self._complete = not message.get("more_body", False)
        octets: bytes = message.get("body", b"")
        return octets

    async def _check_size(self, more: int) -> None:
        self._octets += more
        self._spool.acceptance.check_size(self._octets)
        if self._octets >= self._next_check:
            await self._spool.acceptance.check_room()
            self._next_check = self._octets + _CHECK_INTERVAL

    async def _take(self, event: Event) -> None:
        match event:
            case PartBegin():
                await self._begin(event)
            case PartData() if self._file is not None:
                self._digest.update(event.octets)
                await run_sync(self._write, self._file, event.octets)
            case PartData():
                self._field_octets += len(event.octets)
                if self._field_octets > MAX_FIELD_OCTETS:
                    raise InputError(
                        f"The fields have more than {format_size(MAX_FIELD_OCTETS)} without the documents.",
                        stage="data",
                        cause="message_too_large",
                        key=self._part.name[:80],
                    )
                self._value += event.octets
            case PartEnd():
                await self._end()

    async def _begin(self, part: PartBegin) -> None:
        self._part, self._value = part, bytearray()
        self._parts += 1
        if self._parts > MAX_FILES + MAX_FIELDS or (part.name == FILE and len(self._names) >= MAX_FILES):
            raise InputError(
                f"At most {MAX_FILES} documents can be sent together.",
                stage="data",
                cause="message_too_large",
                key=FILE,
            )
        if part.name != CSRF:
            check_upload_token(self._request, None)
        if part.name != FILE or not part.filename:
            return
        path = self._folder / f"{len(self._names) + 1}"
        with writing(path):
            self._file = await run_sync(_create, path)
        self._digest = hashlib.sha256()
        self._names.append(safe_name(part.filename))
        self._received.documents.append(SubmittedDocument(path, self._names[-1]))

    async def _end(self) -> None:
        if self._file is not None:
            with writing(self._folder):
                await run_sync(self._file.close)
            self._file = None
            self._received.digests.append(self._digest.hexdigest())
            return
        name = self._part.name
        if name == FILE:
            if self._value:
                raise ProblemError(422, "file must be a file, with a name.", key=FILE)
            return  # a browser's field in which no file was chosen
        try:
            value = self._value.decode()
        except UnicodeDecodeError:
            raise ProblemError(422, f"{name[:80]} is not UTF-8.", key=name[:80]) from None
        if name == CSRF:
            check_upload_token(self._request, value)
        elif value.strip():
            self._received.fields.setdefault(name, []).append(value.strip())

    def _write(self, file: BufferedWriter, octets: bytes) -> None:
        with writing(self._folder):
            file.write(octets)


def _create(path: Path) -> BufferedWriter:
    return path.open("xb")
