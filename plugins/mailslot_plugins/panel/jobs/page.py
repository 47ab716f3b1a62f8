"""``/jobs``: the queue with filters, one job with its story; send again, cancel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.routing import Route

from mailslot.errors import InputError
from mailslot.slots.slot import PROTOCOLS, slots_of
from mailslot.spool.job import STATES, TRANSITIONS, UNFINISHED
from mailslot_plugins.panel.explanations import explanation_of
from mailslot_plugins.panel.render import device_of, number_in, redirect, render, text

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
"""The states that people tell apart; together they are all."""

assert sorted(state for group in GROUPS.values() for state in group) == sorted(STATES)  # noqa: S101 - none is left out


async def list_jobs(request: Request) -> Response:
    """Answer with the newest jobs, of all kinds or of some."""
    return render(request, "jobs/list.html", **await _listed(request))


async def list_live(request: Request) -> Response:
    """Answer with the part of that which changes by itself."""
    return render(request, "jobs/live.html", **await _listed(request))


async def show(request: Request) -> Response:
    """Answer with one job."""
    return render(request, "jobs/job.html", **await _shown(request))


async def show_live(request: Request) -> Response:
    """Answer with the part of that which changes by itself."""
    return render(request, "jobs/story.html", **await _shown(request))


async def retry(request: Request) -> Response:
    """Have it sent again."""
    job = await _job(request)
    try:
        await device_of(request).spool.retry(job.id)
    except InputError as error:
        return redirect(request, f"/jobs/{job.id}", str(error), "error")
    return redirect(request, f"/jobs/{job.id}", text(request, "jobs", "is_sent_again"))


async def ask_cancel(request: Request) -> Response:
    """Ask whether it is really to be cancelled."""
    return render(request, "jobs/cancel.html", job=await _job(request))


async def cancel(request: Request) -> Response:
    """Have it not sent."""
    job = await _job(request)
    try:
        await device_of(request).spool.cancel(job.id)
    except InputError as error:
        return redirect(request, f"/jobs/{job.id}", str(error), "error")
    return redirect(request, f"/jobs/{job.id}", text(request, "jobs", "is_cancelled"))


async def _listed(request: Request) -> dict[str, Any]:
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
        "sentences": {job.id: _said(job, request) for job in jobs},
    }


async def _shown(request: Request) -> dict[str, Any]:
    job = await _job(request)
    moves = TRANSITIONS[job.state]
    said = None
    if job.cause and not job.delivering:
        said = explanation_of(job.cause, request.state.language, sentence=job.sentence)
    return {
        "job": job,
        "said": said,
        "slot": slots_of(job.via)[0] if job.via in PROTOCOLS else None,
        "can_retry": "retry" in moves and not job.delivering,
        "can_cancel": "cancel" in moves,
        "ended": job.state not in UNFINISHED,
        "refused": {
            each.address: explanation_of(each.cause, request.state.language).message
            for each in job.recipients
            if each.cause
        },
    }


async def _job(request: Request) -> Job:
    """Return the job that the address names.

    Raises:
        HTTPException: 404, there is none.
    """
    try:
        return await device_of(request).spool.job(number_in(request.path_params["job"]))
    except InputError:
        raise HTTPException(404) from None


def _said(job: Job, request: Request) -> str:
    if not job.cause or job.state in {"sent", "cancelled"} or job.delivering:
        return ""
    return explanation_of(job.cause, request.state.language, sentence=job.sentence).message


def _before(query: QueryParams) -> int | None:
    number = number_in(query.get("before", ""))
    return number if number > 0 else None


routes = [
    Route("/jobs", list_jobs),
    Route("/jobs/live", list_live),
    Route("/jobs/{job}", show),
    Route("/jobs/{job}/live", show_live),
    Route("/jobs/{job}/retry", retry, methods=["POST"]),
    Route("/jobs/{job}/cancel", ask_cancel),
    Route("/jobs/{job}/cancel", cancel, methods=["POST"]),
]
