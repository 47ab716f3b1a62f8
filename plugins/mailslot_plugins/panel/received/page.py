"""``/received``: fetched mail with a picture of its first page, its state and its documents; handle again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from anyio.to_thread import run_sync
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from mailslot.errors import InputError, MailError
from mailslot.service.received import describe_mail, received_mails
from mailslot_plugins.intake.thumbnails import Thumbnails
from mailslot_plugins.panel.received.documents import (
    document_response,
    documents_of,
    is_picture,
    message_response,
)
from mailslot_plugins.panel.render import device_of, page_endpoint, parse_number, redirect, render, text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request

    from mailslot.service.device import Device
    from mailslot.service.received import ReceivedMail
    from mailslot.spool.incoming import Incoming

_MAX_MAILS: Final = 100
"""Mails on the page."""


async def show(request: Request) -> Response:
    """Return one mail."""
    device = device_of(request)
    found = await describe_mail(device.spool, await _mail(request))
    pictures = await run_sync(_pictures, device, [found])
    slot = next(iter(device.slots.of(found.mail.record)), None)
    documents, readable = await _documents(request, found.mail)
    return render(
        request,
        "received/mail.html",
        found=found,
        has_picture=bool(pictures),
        slot=slot,
        documents=documents,
        readable=readable,
    )


async def show_document(request: Request) -> Response:
    """Return a document of a mail; it is shown if it is a picture, and saved otherwise or with ``save``."""
    mail = await _mail(request)
    try:
        number = parse_number(request.path_params["document"])
        return await document_response(request, mail, number, shown="save" not in request.query_params)
    except InputError:
        raise HTTPException(404) from None


async def show_message(request: Request) -> Response:
    """Return a mail unchanged, as a file."""
    try:
        return await message_response(request, await _mail(request))
    except InputError:
        raise HTTPException(404) from None


async def show_picture(request: Request) -> Response:
    """Return the picture of a mail's first page."""
    octets = await run_sync(Thumbnails(device_of(request).home).read, await _mail(request))
    if octets is None:
        raise HTTPException(404)
    return Response(octets, media_type="image/png")


async def retry(request: Request) -> Response:
    """Handle a mail again."""
    mail = await _mail(request)
    address = f"/received/{mail.id}"
    try:
        await device_of(request).spool.ledger.retry(mail.id)
    except InputError as error:
        return redirect(request, address, str(error), "error")
    return redirect(request, address, text(request, "received", "is_handled_again"))


async def _documents(request: Request, mail: Incoming) -> tuple[list[dict[str, Any]], bool]:
    """Return the documents in a mail for its page, and whether they could be read."""
    if mail.path is None:
        return [], True
    try:
        documents = await documents_of(request, mail)
    except MailError:
        return [], False
    return [{"name": each.name, "size": each.size, "is_picture": is_picture(each)} for each in documents], True


async def _list_context(request: Request) -> dict[str, Any]:
    device = device_of(request)
    requested = request.query_params.get("record", "")
    records = [record for record, protocol in device.slots.protocols.items() if protocol == "POP"]
    record = requested if requested in records else ""
    mails = await received_mails(device.spool, record or None, limit=_MAX_MAILS)
    return {
        "mails": mails,
        "pictures": await run_sync(_pictures, device, mails),
        "record": record,
        "records": records,
        "whole": len(mails) < _MAX_MAILS,
    }


def _pictures(device: Device, mails: Iterable[ReceivedMail]) -> set[int]:
    """Return the numbers of the mails that have a picture."""
    thumbnails = Thumbnails(device.home)
    return {each.mail.id for each in mails if thumbnails.has(each.mail)}


async def _mail(request: Request) -> Incoming:
    """Return the mail in the address.

    Raises:
        HTTPException: 404, there is no such mail.
    """
    try:
        return await device_of(request).spool.ledger.mail(parse_number(request.path_params["mail"]))
    except InputError:
        raise HTTPException(404) from None


routes = [
    Route("/received", page_endpoint("received/list.html", _list_context)),
    Route("/received/live", page_endpoint("received/live.html", _list_context)),
    Route("/received/{mail}", show),
    Route("/received/{mail}/page.png", show_picture),
    Route("/received/{mail}/documents/{document}", show_document),
    Route("/received/{mail}/message", show_message),
    Route("/received/{mail}/retry", retry, methods=["POST"]),
]
