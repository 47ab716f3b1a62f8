"""``GET /``: what needs attention, the slots as in the device's menu, the queue and the last jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from mailslot_plugins.panel.home.attention import attention_items
from mailslot_plugins.panel.home.record_overview import record_overviews
from mailslot_plugins.panel.render import device_of, page_endpoint

if TYPE_CHECKING:
    from starlette.requests import Request


_JOBS: Final = 5


async def _context(request: Request) -> dict[str, Any]:
    device = device_of(request)
    records = await record_overviews(device)
    counts = await device.spool.count_by_state()
    return {
        "records": records,
        "items": await attention_items(device, records, request.state.language, request.app.state.pages),
        "anything_set": any(each.is_set for each in records),
        "counts": {
            "waiting": sum(counts[state] for state in ("queued", "sending", "deferred")),
            "held": counts["held"],
            "in_doubt": counts["in_doubt"],
            "failed": counts["failed"],
        },
        "jobs": await device.spool.jobs(limit=_JOBS),
    }


routes = [
    Route("/", page_endpoint("home/home.html", _context)),
    Route("/live", page_endpoint("home/live.html", _context)),
]
