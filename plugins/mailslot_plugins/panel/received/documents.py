"""The documents of received mail as responses. They come from anybody, so a browser must not run anything in them.

Only files that are pictures by their octets are shown in the browser. Everything else is saved: HTML and SVG could run
scripts with the rights of the panel, and the type that a mail declares is not trusted.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from anyio.to_thread import run_sync
from starlette.responses import StreamingResponse

from mailslot.errors import InputError
from mailslot.oauth.shielding import shielded
from mailslot.service.received import open_mail_file
from mailslot_plugins.intake.mail_documents import take_documents
from mailslot_plugins.panel.render import device_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from io import FileIO
    from pathlib import Path

    from anyio import CapacityLimiter
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from mailslot.spool.incoming import Incoming
    from mailslot_plugins.intake.mail_documents import MailDocument

_POLICY: Final = {"content-security-policy": "sandbox; default-src 'none'; frame-ancestors 'none'"}
_BINARY: Final = "application/octet-stream"
_PICTURES: Final = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))
_TYPES: Final = (
    *_PICTURES,
    (b"%PDF-", "application/pdf"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
)
_PIECE: Final = 65_536
"""Octets that are read and sent at a time."""


async def documents_of(request: Request, mail: Incoming) -> list[MailDocument]:
    """Return the documents in a mail, without their files.

    Raises:
        InputError: it is no longer kept, or cannot be parsed.
        MailError: it cannot be read.
    """
    async with _taken_apart(request, mail, ()) as documents:
        return documents


async def document_response(request: Request, mail: Incoming, number: int, *, shown: bool = False) -> FileResponse:
    """Return a document of a mail: to be saved, or, if it is a picture, to be shown.

    Args:
        request: the request.
        mail: the mail.
        number: the number of the document in its mail, from 1.
        shown: whether a picture is shown.

    Raises:
        InputError: there is no such document, or the mail is no longer kept or cannot be parsed.
        MailError: it cannot be read.
    """
    async with _taken_apart(request, mail, (number,)) as documents:
        if not 0 < number <= len(documents):
            raise InputError(f"There is no document {number} in this mail.", stage="spool", cause="unknown_mail")
        document = documents[number - 1]
        # It can be read after its folder was removed.
        file = await shielded(lambda: run_sync(_open, document.path))
    kind = next((kind for signature, kind in _TYPES if document.head.startswith(signature)), _BINARY)
    disposition = "inline" if shown and is_picture(document) else "attachment"
    name = quote(document.name, safe="")
    return FileResponse(file, kind, f"{disposition}; filename*=UTF-8''{name}")


async def message_response(request: Request, mail: Incoming) -> FileResponse:
    """Return a mail unchanged, to be saved.

    Raises:
        InputError: it is no longer kept.
        MailError: it cannot be read.
    """
    file = await open_mail_file(device_of(request).spool.ledger, mail)
    return FileResponse(file, "message/rfc822", f'attachment; filename="mail-{mail.id}.eml"')


def is_picture(document: MailDocument) -> bool:
    """Return whether a browser may show a document."""
    return document.head.startswith(tuple(signature for signature, _ in _PICTURES))


@asynccontextmanager
async def _taken_apart(request: Request, mail: Incoming, wanted: tuple[int, ...]) -> AsyncGenerator[list[MailDocument]]:
    """Yield the documents of a mail, one mail at a time, since this takes memory and disk space."""
    device = device_of(request)
    limiter: CapacityLimiter = request.app.state.document_limiter
    async with limiter, device.working_folder() as folder:
        yield await take_documents(device.spool.ledger, mail, folder, wanted)


def _open(path: Path) -> FileIO:
    return path.open("rb", buffering=0)


class FileResponse(StreamingResponse):
    """An open file as a response, which closes it.

    Args:
        file: the file.
        media_type: its type.
        disposition: its Content-Disposition.
    """

    def __init__(self, file: FileIO, media_type: str, disposition: str) -> None:
        self._file = file
        headers: Mapping[str, str] = {
            **_POLICY,
            "content-disposition": disposition,
            "content-length": str(os.fstat(file.fileno()).st_size),
            "content-type": media_type,
        }
        super().__init__(self._pieces(), headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        with self._file:
            await super().__call__(scope, receive, send)

    async def _pieces(self) -> AsyncGenerator[bytes]:
        while piece := await run_sync(self._file.read, _PIECE):
            yield piece
