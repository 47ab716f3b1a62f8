"""``/``: the devices, with those that need attention first; ``/tenants``; and ``/healthz``."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from anyio.to_thread import run_sync
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mailslot.errors import MailError
from mailslot.fleet.postgres.directory import NEEDS_SOMEBODY, DeviceSearch
from mailslot_plugins.panel.explanations import explanation_of
from mailslot_plugins.panel.fleet.context import fleet_of
from mailslot_plugins.panel.fleet.sessions import staff_of
from mailslot_plugins.panel.render import page_endpoint, parse_number
from mailslot_plugins.panel.translations import translate

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping

    from starlette.requests import Request

    from mailslot.fleet.postgres.directory import DeviceState, ListedDevice

logger = logging.getLogger(__name__)

GROUPS: Final[Mapping[str, tuple[DeviceState, ...]]] = {
    "attention": NEEDS_SOMEBODY,
    "failing": ("failing", "late", "expiring", "failed"),
    "new": ("not_set_up",),
    "well": ("ok",),
}
"""The headings of the lists, and the states below each."""

_GROUP_OF: Final = {state: group for group, states in GROUPS.items() for state in states}


async def _devices(request: Request) -> dict[str, Any]:
    wanted = _wanted(request)
    directory = fleet_of(request).directory
    page = await run_sync(directory.devices, wanted)
    return {
        "wanted": wanted,
        "page": page,
        "group": next((name for name, states in GROUPS.items() if states == wanted.states), ""),
        "group_of": _GROUP_OF,
        "counts": _group_counts(page.counts),
        "total": page.counts.total(),
        "explanations": {(each.tenant, each.device): _explanation(each, request) for each in page.devices},
        "address": partial(_address, "/", request),
        "works": await run_sync(directory.has_workers),
    }


async def _tenants(request: Request) -> dict[str, Any]:
    wanted = _wanted(request)
    page = await run_sync(fleet_of(request).directory.tenants, wanted)
    return {
        "wanted": wanted,
        "page": page,
        "groups": GROUPS,
        "group_counts": _group_counts,
        "address": partial(_address, "/tenants", request),
    }


async def show_health(request: Request) -> Response:
    """Return whether the database responds; the reason is only logged, since anybody may request this."""
    try:
        await run_sync(fleet_of(request).directory.has_workers)
    except MailError as error:
        logger.warning("The fleet's panel does not work: %s", error)
        return JSONResponse({"status": "failing"}, status_code=503)
    return JSONResponse({"status": "ok"})


def _wanted(request: Request) -> DeviceSearch:
    """Return the search in the query, limited to the tenants that the person may see."""
    query = request.query_params
    staff = staff_of(request.state.session)
    return DeviceSearch(
        frozenset() if staff is None else staff.sees,
        query.get("tenant", ""),
        query.get("search", "").strip(),
        GROUPS.get(query.get("state", "")),
        page=max(1, parse_number(query.get("page", ""))),
    )


def _group_counts(counts: Counter[DeviceState]) -> dict[str, int]:
    return {group: sum(counts[state] for state in states) for group, states in GROUPS.items()}


def _explanation(device: ListedDevice, request: Request) -> str:
    if device.cause is None:
        return translate("fleet", "late", request.state.language) if device.state == "late" else ""
    return explanation_of(device.cause, request.state.language).message


def _address(path: str, request: Request, **changes: object) -> str:
    """Return the address of a list with changed parameters; the page number is kept only if it is among them."""
    kept = {name: request.query_params.get(name, "") for name in ("tenant", "search", "state")}
    parameters = {name: str(value) for name, value in {**kept, **changes}.items() if value}
    return f"{path}?{urlencode(parameters)}" if parameters else path


routes = [
    Route("/", page_endpoint("fleet/devices.html", _devices)),
    Route("/tenants", page_endpoint("fleet/tenants.html", _tenants)),
    Route("/healthz", show_health),
]
