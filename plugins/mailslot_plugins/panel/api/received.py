"""``/api/received``: fetched mail, and the documents in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args

from anyio.to_thread import run_sync
from starlette.responses import Response

from mailslot.service.json_documents import mail_document
from mailslot.service.received import describe_mail, received_mails
from mailslot.slots.slot import PROTOCOLS
from mailslot.spool.incoming import MailState
from mailslot_plugins.intake.thumbnails import Thumbnails
from mailslot_plugins.panel.api.jobs import DEFAULT_LIMIT, LIMIT, states_schema
from mailslot_plugins.panel.api.json_schema import list_of, schema_ref
from mailslot_plugins.panel.api.operation import Operation, ResponseSpec, json_response
from mailslot_plugins.panel.api.path_parameters import number_from_path
from mailslot_plugins.panel.api.schemas import slot_id_schema
from mailslot_plugins.panel.problem import ProblemError
from mailslot_plugins.panel.received.documents import document_response, documents_of, message_response

if TYPE_CHECKING:
    from mailslot.spool.incoming import Incoming
    from mailslot_plugins.panel.api.operation import Call, Handler

_POP_RECORD: Final = slot_id_schema(record for record, protocol in PROTOCOLS.items() if protocol == "POP")


async def list_received(call: Call) -> Response:
    """Return the newest mails."""
    query = call.query
    mails = await received_mails(
        call.device.spool, query.get("record"), states=query.get("state"), limit=query.get("limit", DEFAULT_LIMIT)
    )
    return json_response([mail_document(each) for each in mails])


async def show_received(call: Call) -> Response:
    """Return one mail."""
    return json_response(await _mail(call))


async def show_picture(call: Call) -> Response:
    """Return the picture of a mail's first page."""
    number = number_from_path(call, "mail")
    octets = await run_sync(Thumbnails(call.device.home).read, await call.device.spool.ledger.mail(number))
    if octets is None:
        raise ProblemError(404, f"There is no picture of mail {number}.", key="mail")
    return Response(octets, media_type="image/png")


async def list_documents(call: Call) -> Response:
    """Return the documents in a mail, without their contents."""
    documents = await documents_of(call.request, await _incoming(call))
    return json_response(
        [
            {"document": number, "name": each.name, "type": each.content_type, "size": each.size}
            for number, each in enumerate(documents, 1)
        ]
    )


async def get_document(call: Call) -> Response:
    """Return a document of a mail."""
    return await document_response(call.request, await _incoming(call), number_from_path(call, "document"))


async def get_message(call: Call) -> Response:
    """Return a mail unchanged."""
    return await message_response(call.request, await _incoming(call))


async def retry_received(call: Call) -> Response:
    """Handle a mail again."""
    await call.device.spool.ledger.retry(number_from_path(call, "mail"))
    return json_response(await _mail(call))


async def _incoming(call: Call) -> Incoming:
    return await call.device.spool.ledger.mail(number_from_path(call, "mail"))


async def _mail(call: Call) -> dict[str, Any]:
    spool = call.device.spool
    return mail_document(await describe_mail(spool, await _incoming(call)))


def _of_kept_mail(path: str, handler: Handler, summary: str, found: ResponseSpec) -> Operation:
    """Return an operation that reads the contents of a mail, as long as it is kept."""
    return Operation(
        "GET", f"/received/{{mail}}/{path}", handler, summary, {200: found}, reads_documents=True, conflicts=True
    )


_MAIL: Final = {200: ResponseSpec("The mail.", schema_ref("Mail"))}

operations = (
    Operation(
        "GET",
        "/received",
        list_received,
        "List fetched mail, the newest first.",
        {200: ResponseSpec("The mails.", list_of(schema_ref("Mail")))},
        query={
            "record": {**_POP_RECORD, "description": "Only mail of this record."},
            "state": states_schema(*get_args(MailState)),
            "limit": LIMIT,
        },
    ),
    Operation("GET", "/received/{mail}", show_received, "Show a fetched mail.", _MAIL),
    Operation(
        "GET",
        "/received/{mail}/picture",
        show_picture,
        "Show the first page of a mail as a small picture.",
        {200: ResponseSpec("The picture.", media_type="image/png")},
        reads_documents=True,
    ),
    _of_kept_mail(
        "documents",
        list_documents,
        "List the documents in a fetched mail that is kept: what waits to be handled, and what was set aside.",
        ResponseSpec("The documents.", list_of(schema_ref("MailDocument"))),
    ),
    _of_kept_mail(
        "documents/{document}",
        get_document,
        "Get a document of a fetched mail as a file.",
        ResponseSpec("The document.", media_type="*/*"),
    ),
    _of_kept_mail(
        "message",
        get_message,
        "Get a fetched mail as it came, as a file.",
        ResponseSpec("The mail.", media_type="message/rfc822"),
    ),
    Operation("POST", "/received/{mail}/retry", retry_received, "Handle a mail again.", _MAIL, conflicts=True),
)
