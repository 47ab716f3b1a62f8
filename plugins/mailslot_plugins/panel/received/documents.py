"""The documents of received mail as responses. They come from anybody, so a browser must run nothing in them.

Only pictures, by their octets, are shown in the browser. Everything else is saved: HTML and SVG would run scripts with
the rights of the panel, and what a mail says about a type is not believed.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from anyio.to_thread import run_sync
from starlette.responses import Response, StreamingResponse

from mailslot.errors import InputError
from mailslot.service.mail_documents import mail_file, read_documents
from mailslot.spool.folder.files import stream_file
from mailslot_plugins.panel.render import device_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from anyio import CapacityLimiter
    from starlette.requests import Request

    from mailslot.service.mail_documents import MailDocument
    from mailslot.spool.incoming import Incoming

_POLICY: Final = {"content-security-policy": "sandbox; default-src 'none'; frame-ancestors 'none'"}
_BINARY: Final = "application/octet-stream"
_PICTURES: Final = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))
_TYPES: Final = (
    *_PICTURES,
    (b"%PDF-", "application/pdf"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
)


async def load_documents(request: Request, mail: Incoming) -> list[MailDocument]:
    """Return the documents in a mail; one mail at a time is taken apart, since all of it is in memory then.

    Raises:
        InputError: it is not kept any more, or too large to be taken apart.
        MailError: it cannot be read.
    """
    limiter: CapacityLimiter = request.app.state.document_limiter
    async with limiter, device_of(request).spool.ledger.local_file(mail):
        return await run_sync(read_documents, mail)


def find_document(documents: list[MailDocument], number: int) -> MailDocument:
    """Return a document by its number in its mail, from 1.

    Raises:
        InputError: there is none.
    """
    if not 0 < number <= len(documents):
        raise InputError(f"There is no document {number} in this mail.", stage="spool", cause="unknown_mail")
    return documents[number - 1]


def is_picture(document: MailDocument) -> bool:
    """Return whether a browser may show a document."""
    return document.content.startswith(tuple(signature for signature, _ in _PICTURES))


def document_response(document: MailDocument, *, shown: bool = False) -> Response:
    """Return a document: to be saved, or, if it is a picture, to be shown."""
    kind = next((kind for signature, kind in _TYPES if document.content.startswith(signature)), _BINARY)
    disposition = "inline" if shown and is_picture(document) else "attachment"
    name = quote(document.name, safe="")
    headers = {**_POLICY, "content-disposition": f"{disposition}; filename*=UTF-8''{name}", "content-type": kind}
    return Response(document.content, headers=headers)


def message_response(request: Request, mail: Incoming) -> Response:
    """Return a mail as it came, to be saved.

    Raises:
        InputError: it is not kept any more.
    """
    path = mail_file(mail)

    async def chunks() -> AsyncGenerator[bytes]:
        async with (
            device_of(request).spool.ledger.local_file(mail),
            aclosing(stream_file(path, 0, mail.size)) as pieces,
        ):
            async for piece in pieces:
                yield piece

    headers = {
        **_POLICY,
        "content-disposition": f'attachment; filename="mail-{mail.id}.eml"',
        "content-length": str(mail.size),
    }
    return StreamingResponse(chunks(), headers=headers, media_type="message/rfc822")
