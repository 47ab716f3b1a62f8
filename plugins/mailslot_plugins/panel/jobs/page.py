"""``/jobs``: the queue with filters, one job with its history; send again, cancel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.routing import Route

from mailslot.errors import InputError
from mailslot.spool.job import STATES, TRANSITIONS, UNFINISHED
from mailslot_plugins.panel.explanations import explanation_of
from mailslot_plugins.panel.jobs.notes import named_notes
from mailslot_plugins.panel.render import device_of, page_endpoint, parse_number, redirect, render, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.datastructures import QueryParams
    from starlette.requests import Request
    from starlette.responses import Response

    from mailslot.spool.job import Job, State

_PAGE: Final = 50
"""Jobs on a page."""

GROUPS: Final[Mapping[str, tuple[State, ...]]] = {
    "waiting": ("queued", "sending", "deferred"),
    "held": ("held",),
    "in_doubt": ("in_doubt",),
    "failed": ("failed",),
    "sent": ("sent",),
    "cancelled": ("cancelled",),
}
"""The filters, with the states that each one shows; together they cover all states."""

assert sorted(state for group in GROUPS.values() for state in group) == sorted(STATES)  # noqa: S101 - none is left out


async def retry(request: Request) -> Response:
    """Send a job again."""
    job = await _job(request)
    try:
        await device_of(request).spool.retry(job.id)
    except InputError as error:
        return redirect(request, f"/jobs/{job.id}", str(error), "error")
    return redirect(request, f"/jobs/{job.id}", text(request, "jobs", "is_sent_again"))


async def ask_cancel(request: Request) -> Response:
    """Ask for confirmation before a job is cancelled."""
    return render(request, "jobs/cancel.html", job=await _job(request))


async def cancel(request: Request) -> Response:
    """Cancel a job."""
    job = await _job(request)
    try:
        await device_of(request).spool.cancel(job.id)
    except InputError as error:
        return redirect(request, f"/jobs/{job.id}", str(error), "error")
    return redirect(request, f"/jobs/{job.id}", text(request, "jobs", "is_cancelled"))


async def _list_context(request: Request) -> dict[str, Any]:
    spool = device_of(request).spool
    query = request.query_params
    group, pipeline = query.get("state", ""), query.get("pipeline", "")
    states = GROUPS.get(group)
    jobs = await spool.jobs(states=states, pipeline=pipeline or None, limit=_PAGE + 1, before=_before(query))
    counts = await spool.count_by_state()
    return {
        "jobs": jobs[:_PAGE],
        "more": jobs[_PAGE - 1].id if len(jobs) > _PAGE else None,
        "first": "before" not in query,
        "group": group if states else "",
        "groups": {name: sum(counts[state] for state in each) for name, each in GROUPS.items()},
        "pipeline": pipeline,
        "pipelines": sorted({name for name, *_ in await spool.count_by_pipeline()}),
        "sentences": {job.id: _sentence(job, request) for job in jobs},
    }


async def _job_context(request: Request) -> dict[str, Any]:
    job = await _job(request)
    events = TRANSITIONS[job.state]
    explanation = None
    if job.cause and not job.delivering:
        explanation = explanation_of(job.cause, request.state.language, sentence=job.sentence)
    return {
        "job": job,
        "explanation": explanation,
        "slot": next(iter(device_of(request).slots.of(job.via)), None),
        "can_retry": "retry" in events and not job.delivering,
        "can_cancel": "cancel" in events,
        "notes": named_notes(job, device_of(request).slots.slots, request.state.language),
        "ended": job.state not in UNFINISHED,
        "refused": {
            each.address: explanation_of(each.cause, request.state.language).message
            for each in job.recipients
            if each.cause
        },
    }


async def _job(request: Request) -> Job:
    """Return the job in the address.

    Raises:
        HTTPException: 404, there is no such job.
    """
    try:
        return await device_of(request).spool.job(parse_number(request.path_params["job"]))
    except InputError:
        raise HTTPException(404) from None


def _sentence(job: Job, request: Request) -> str:
    if not job.cause or job.state in {"sent", "cancelled"} or job.delivering:
        return ""
    return explanation_of(job.cause, request.state.language, sentence=job.sentence).message


def _before(query: QueryParams) -> int | None:
    number = parse_number(query.get("before", ""))
    return number if number > 0 else None


routes = [
    Route("/jobs", page_endpoint("jobs/list.html", _list_context)),
    Route("/jobs/live", page_endpoint("jobs/live.html", _list_context)),
    Route("/jobs/{job}", page_endpoint("jobs/job.html", _job_context)),
    Route("/jobs/{job}/live", page_endpoint("jobs/story.html", _job_context)),
    Route("/jobs/{job}/retry", retry, methods=["POST"]),
    Route("/jobs/{job}/cancel", ask_cancel),
    Route("/jobs/{job}/cancel", cancel, methods=["POST"]),
]
