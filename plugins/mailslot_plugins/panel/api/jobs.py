"""``/api/jobs`` and ``/api/received``: the queue, and fetched mail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args
from urllib.parse import urlencode

from anyio.to_thread import run_sync
from starlette.responses import FileResponse

from mailslot.service.json_documents import job_document, mail_document
from mailslot.service.received import describe_mail, received_mails
from mailslot.slots.slot import PROTOCOLS
from mailslot.spool.incoming import MailState
from mailslot.spool.job import STATES
from mailslot_plugins.intake.thumbnails import Thumbnails
from mailslot_plugins.panel.api.json_schema import ID, STRING, enum_of, list_of, schema_ref
from mailslot_plugins.panel.api.operation import Operation, ResponseSpec, json_response
from mailslot_plugins.panel.api.path_parameters import number_from_path
from mailslot_plugins.panel.api.schemas import slot_id_schema
from mailslot_plugins.panel.problem import ProblemError
from mailslot_plugins.panel.send.acceptance import accept_documents
from mailslot_plugins.panel.send.form_data import MEDIA_TYPE, is_form_data
from mailslot_plugins.panel.send.idempotency import HEADER, KEY_SCHEMA, idempotency_key, request_identity
from mailslot_plugins.panel.send.reception import Received, receive_documents
from mailslot_plugins.panel.send.senders import document_senders, form_schema

if TYPE_CHECKING:
    from starlette.responses import Response

    from mailslot_plugins.panel.api.operation import Call

_DEFAULT_LIMIT: Final = 100
_IDEMPOTENCY_HEADER: Final = {
    **KEY_SCHEMA,
    "description": "A text in quotation marks, new for each request that is to send something new: the same request "
    "with the same key is answered with the same job, also after a restart. Another request with the same key is "
    "refused with 422.",
}
_POP_RECORD: Final = slot_id_schema(record for record, protocol in PROTOCOLS.items() if protocol == "POP")
_LIMIT: Final = {
    "type": "integer",
    "minimum": 1,
    "maximum": 1000,
    "description": f"Default: {_DEFAULT_LIMIT}.",
}


async def list_jobs(call: Call) -> Response:
    """Return the newest jobs."""
    query = call.query
    limit: int = query.get("limit", _DEFAULT_LIMIT)
    jobs = await call.device.spool.jobs(
        states=query.get("state"), pipeline=query.get("pipeline"), limit=limit + 1, before=query.get("before")
    )
    headers: dict[str, str] = {}
    if len(jobs) > limit:
        next_query = urlencode({**query, "before": jobs[limit - 1].id}, doseq=True)
        headers["Link"] = f'</api/jobs?{next_query}>; rel="next"'
    return json_response([job_document(job) for job in jobs[:limit]], headers=headers)


async def show_job(call: Call) -> Response:
    """Return one job."""
    return json_response(job_document(await call.device.spool.job(number_from_path(call, "job"))))


async def send_documents(call: Call) -> Response:
    """Send documents."""
    request, device = call.request, call.device
    if not is_form_data(request.headers.get("content-type", "")):
        raise ProblemError(415, f"Send a form, as {MEDIA_TYPE}.", key="Content-Type", headers={"Accept": MEDIA_TYPE})
    key, received = idempotency_key(request), Received()
    owner = "session" if request.state.key is None else request.state.key.id
    async with device.working_folder() as folder:
        await receive_documents(request, device.spool, folder, received)
        identity = None if key is None else request_identity(owner, key, received)
        first, *others = await accept_documents(device, received, folder, identity)
    headers = {"Location": f"/api/jobs/{first.id}"}
    if others:
        headers["Link"] = ", ".join(f'</api/jobs/{job.id}>; rel="related"' for job in others)
    return json_response(job_document(first), 201, headers)


async def retry_job(call: Call) -> Response:
    """Send a job again."""
    return json_response(job_document(await call.device.spool.retry(number_from_path(call, "job"))))


async def cancel_job(call: Call) -> Response:
    """Cancel a job."""
    return json_response(job_document(await call.device.spool.cancel(number_from_path(call, "job"))))


async def list_received(call: Call) -> Response:
    """Return the newest mails."""
    query = call.query
    mails = await received_mails(
        call.device.spool, query.get("record"), states=query.get("state"), limit=query.get("limit", _DEFAULT_LIMIT)
    )
    return json_response([mail_document(each) for each in mails])


async def show_received(call: Call) -> Response:
    """Return one mail."""
    return json_response(await _mail(call))


async def show_picture(call: Call) -> Response:
    """Return the picture of a mail's first page."""
    number = number_from_path(call, "mail")
    path = await run_sync(Thumbnails(call.device.home).path, await call.device.spool.ledger.mail(number))
    if path is None:
        raise ProblemError(404, f"There is no picture of mail {number}.", key="mail")
    return FileResponse(path, media_type="image/png")


async def retry_received(call: Call) -> Response:
    """Handle a mail again."""
    await call.device.spool.ledger.retry(number_from_path(call, "mail"))
    return json_response(await _mail(call))


async def _mail(call: Call) -> dict[str, Any]:
    spool = call.device.spool
    return mail_document(await describe_mail(spool, await spool.ledger.mail(number_from_path(call, "mail"))))


def _states(*states: str) -> dict[str, Any]:
    return {**list_of(enum_of(*states)), "description": "Only those in this state; may be repeated."}


_JOB: Final = {200: ResponseSpec("The job.", schema_ref("Job"))}
_MAIL: Final = {200: ResponseSpec("The mail.", schema_ref("Mail"))}

operations = (
    Operation(
        "GET",
        "/jobs",
        list_jobs,
        "List jobs, the newest first.",
        {
            200: ResponseSpec(
                "The jobs.", list_of(schema_ref("Job")), headers={"Link": "The next page, if there is one."}
            )
        },
        query={
            "state": _states(*STATES),
            "pipeline": {**STRING, "description": "Only those of this pipeline, such as scan."},
            "before": {**ID, "description": "Only those with a smaller number."},
            "limit": _LIMIT,
        },
    ),
    Operation("GET", "/jobs/{job}", show_job, "Show a job.", _JOB),
    Operation(
        "POST",
        "/jobs",
        send_documents,
        "Send documents as a scan or a fax: they are in the spool, and safe, once this answers.",
        {
            201: ResponseSpec(
                "The job, or the one that the same request has become before.",
                schema_ref("Job"),
                headers={
                    "Location": "The address of the job.",
                    "Link": "The other jobs, if a scan became several mails.",
                },
            )
        },
        headers={HEADER: _IDEMPOTENCY_HEADER},
        form=lambda: form_schema(document_senders().values()),
        conflicts=True,
    ),
    Operation("POST", "/jobs/{job}/retry", retry_job, "Send a job again.", _JOB, conflicts=True),
    Operation("POST", "/jobs/{job}/cancel", cancel_job, "Cancel a job.", _JOB, conflicts=True),
    Operation(
        "GET",
        "/received",
        list_received,
        "List fetched mail, the newest first.",
        {200: ResponseSpec("The mails.", list_of(schema_ref("Mail")))},
        query={
            "record": {**_POP_RECORD, "description": "Only mail of this record."},
            "state": _states(*get_args(MailState)),
            "limit": _LIMIT,
        },
    ),
    Operation("GET", "/received/{mail}", show_received, "Show a fetched mail.", _MAIL),
    Operation(
        "GET",
        "/received/{mail}/picture",
        show_picture,
        "Show the first page of a mail as a small picture.",
        {200: ResponseSpec("The picture.", media_type="image/png")},
    ),
    Operation("POST", "/received/{mail}/retry", retry_received, "Handle a mail again.", _MAIL, conflicts=True),
)
