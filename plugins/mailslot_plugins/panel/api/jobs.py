"""``/api/jobs``: the queue, and sending documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from mailslot.service.json_documents import job_document
from mailslot.spool.job import STATES
from mailslot_plugins.panel.api.json_schema import ID, STRING, enum_of, list_of, schema_ref
from mailslot_plugins.panel.api.operation import Operation, ResponseSpec, json_response
from mailslot_plugins.panel.api.path_parameters import number_from_path
from mailslot_plugins.panel.problem import ProblemError
from mailslot_plugins.panel.send.acceptance import accept_documents
from mailslot_plugins.panel.send.form_data import MEDIA_TYPE, is_form_data
from mailslot_plugins.panel.send.idempotency import HEADER, KEY_SCHEMA, idempotency_key, request_identity
from mailslot_plugins.panel.send.reception import Received, receive_documents
from mailslot_plugins.panel.send.senders import document_senders, form_schema

if TYPE_CHECKING:
    from starlette.responses import Response

    from mailslot_plugins.panel.api.operation import Call

DEFAULT_LIMIT: Final = 100
_IDEMPOTENCY_HEADER: Final = {
    **KEY_SCHEMA,
    "description": "A text in quotation marks, new for each request that is to send something new: the same request "
    "with the same key is answered with the same job, also after a restart. Another request with the same key is "
    "refused with 422.",
}
LIMIT: Final = {
    "type": "integer",
    "minimum": 1,
    "maximum": 1000,
    "description": f"Default: {DEFAULT_LIMIT}.",
}


async def list_jobs(call: Call) -> Response:
    """Return the newest jobs."""
    query = call.query
    limit: int = query.get("limit", DEFAULT_LIMIT)
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


def states_schema(*states: str) -> dict[str, Any]:
    """Return the schema of the query parameter ``state``."""
    return {**list_of(enum_of(*states)), "description": "Only those in this state; may be repeated."}


_JOB: Final = {200: ResponseSpec("The job.", schema_ref("Job"))}

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
            "state": states_schema(*STATES),
            "pipeline": {**STRING, "description": "Only those of this pipeline, such as scan."},
            "before": {**ID, "description": "Only those with a smaller number."},
            "limit": LIMIT,
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
)
