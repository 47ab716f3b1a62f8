"""``/api/jobs`` and ``/api/received``: what goes out, and what came in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args
from urllib.parse import urlencode

from anyio.to_thread import run_sync
from starlette.responses import FileResponse

from mailslot.service.json_documents import job_document, mail_document
from mailslot.service.received import describe_mail, received_mails
from mailslot.spool.incoming import MailState
from mailslot.spool.job import STATES
from mailslot_plugins.intake.thumbnails import Thumbnails
from mailslot_plugins.panel.api.operation import Gives, Operation, answer
from mailslot_plugins.panel.api.places import number_in
from mailslot_plugins.panel.api.schema import ID, TEXT, list_of, one_of, ref
from mailslot_plugins.panel.problem import NotDoneError
from mailslot_plugins.panel.received.page import RECORDS

if TYPE_CHECKING:
    from starlette.responses import Response

    from mailslot_plugins.panel.api.operation import Call

_USUAL: Final = 100
_LIMIT: Final = {"type": "integer", "minimum": 1, "maximum": 1000, "description": f"How many; {_USUAL} without it."}


async def list_jobs(call: Call) -> Response:
    """Answer with the newest jobs."""
    query = call.query
    limit: int = query.get("limit", _USUAL)
    jobs = await call.device.spool.jobs(
        states=query.get("state"), pipeline=query.get("pipeline"), limit=limit + 1, before=query.get("before")
    )
    headers: dict[str, str] = {}
    if len(jobs) > limit:
        further = urlencode({**query, "before": jobs[limit - 1].id}, doseq=True)
        headers["Link"] = f'</api/jobs?{further}>; rel="next"'
    return answer([job_document(job) for job in jobs[:limit]], headers=headers)


async def show_job(call: Call) -> Response:
    """Answer with one job."""
    return answer(job_document(await call.device.spool.job(number_in(call, "job"))))


async def retry_job(call: Call) -> Response:
    """Have a job sent again."""
    return answer(job_document(await call.device.spool.retry(number_in(call, "job"))))


async def cancel_job(call: Call) -> Response:
    """Have a job not sent."""
    return answer(job_document(await call.device.spool.cancel(number_in(call, "job"))))


async def list_received(call: Call) -> Response:
    """Answer with the newest mails."""
    query = call.query
    mails = await received_mails(
        call.device.spool, query.get("record"), states=query.get("state"), most=query.get("limit", _USUAL)
    )
    return answer([mail_document(each) for each in mails])


async def show_received(call: Call) -> Response:
    """Answer with one mail."""
    return answer(await _mail(call))


async def show_picture(call: Call) -> Response:
    """Answer with the picture of a mail's first page."""
    number = number_in(call, "mail")
    path = await run_sync(Thumbnails(call.device.home).path, await call.device.spool.ledger.mail(number))
    if path is None:
        raise NotDoneError(404, f"There is no picture of mail {number}.", key="mail")
    return FileResponse(path, media_type="image/png")


async def retry_received(call: Call) -> Response:
    """Have a mail handled again."""
    await call.device.spool.ledger.retry(number_in(call, "mail"))
    return answer(await _mail(call))


async def _mail(call: Call) -> dict[str, Any]:
    spool = call.device.spool
    return mail_document(await describe_mail(spool, await spool.ledger.mail(number_in(call, "mail"))))


def _states(*states: str) -> dict[str, Any]:
    return {**list_of(one_of(*states)), "description": "Only those in this state; may be repeated."}


_JOB: Final = {200: Gives("The job.", ref("Job"))}
_MAIL: Final = {200: Gives("The mail.", ref("Mail"))}

operations = (
    Operation(
        "GET",
        "/jobs",
        list_jobs,
        "List jobs, the newest first.",
        {200: Gives("The jobs.", list_of(ref("Job")), headers={"Link": "The next page, where there is one."})},
        query={
            "state": _states(*STATES),
            "pipeline": {**TEXT, "description": "Only those of this pipeline, such as scan."},
            "before": {**ID, "description": "Only those with a smaller number."},
            "limit": _LIMIT,
        },
    ),
    Operation("GET", "/jobs/{job}", show_job, "Show a job.", _JOB),
    Operation("POST", "/jobs/{job}/retry", retry_job, "Have a job sent again.", _JOB, conflicts=True),
    Operation("POST", "/jobs/{job}/cancel", cancel_job, "Have a job not sent.", _JOB, conflicts=True),
    Operation(
        "GET",
        "/received",
        list_received,
        "List the mail that was fetched, the newest first.",
        {200: Gives("The mails.", list_of(ref("Mail")))},
        query={
            "record": {**one_of(*RECORDS), "description": "Only mail of this record."},
            "state": _states(*get_args(MailState)),
            "limit": _LIMIT,
        },
    ),
    Operation("GET", "/received/{mail}", show_received, "Show a mail that was fetched.", _MAIL),
    Operation(
        "GET",
        "/received/{mail}/picture",
        show_picture,
        "Show the first page of a mail as a small picture.",
        {200: Gives("The picture.", media_type="image/png")},
    ),
    Operation("POST", "/received/{mail}/retry", retry_received, "Have a mail handled again.", _MAIL, conflicts=True),
)
