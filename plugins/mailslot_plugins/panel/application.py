"""The panel as an ASGI application."""

from __future__ import annotations

from functools import cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from anyio import CapacityLimiter
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from mailslot.errors import MailError
from mailslot_plugins.panel.api.openapi import load_groups
from mailslot_plugins.panel.api.operation import make_routes
from mailslot_plugins.panel.frame import Frame, Tab
from mailslot_plugins.panel.pipelines import load_pages, pipeline_text
from mailslot_plugins.panel.problem import problem_response
from mailslot_plugins.panel.render import render, text
from mailslot_plugins.panel.root import RootMiddleware
from mailslot_plugins.panel.security.guard import middleware
from mailslot_plugins.panel.security.paths import API
from mailslot_plugins.panel.sentences import translated
from mailslot_plugins.panel.token.callback import LoopbackRedirects
from mailslot_plugins.panel.translations import SHARED_FOLDER, LanguageMiddleware, translate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from mailslot.fleet.postgres.database import DeviceId
    from mailslot.service.device import Device
    from mailslot_plugins.panel.background import BackgroundTasks
    from mailslot_plugins.panel.pipelines import PipelinePage
    from mailslot_plugins.panel.security.security import Security

PAGES: Final = (
    "first_start",
    "sign_in",
    "home",
    "slots",
    "token",
    "connection_test",
    "jobs",
    "send",
    "received",
    "sections",
    "administration",
    "preferences",
    "monitoring",
    "api",
)
"""The folders whose module ``page`` has ``routes``. The pages of pipelines are added to them."""

_OWN_ACCESS: Final = frozenset({"first_start", "sign_in", "preferences", "api"})
"""The folders with the device's own sign-in and keys, which its panel in a fleet lacks."""


def application(device: Device, tasks: BackgroundTasks, security: Security) -> Starlette:
    """Return the ASGI application."""
    static = StaticFiles(packages=[("mailslot_plugins.panel", "static")])
    routes: list[BaseRoute] = [Mount("/static", static, name="static")]
    for folder in PAGES:
        routes += import_module(f"mailslot_plugins.panel.{folder}.page").routes
    api_groups = load_groups()
    routes += make_routes(operation for group in api_groups for operation in group.operations)
    pages = load_pages({route.path.split("/")[1] for route in routes if isinstance(route, Mount | Route)})
    for page in pages:
        routes += page.routes
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(LoopbackRedirects),
            Middleware(LanguageMiddleware, otherwise=lambda: device.identity.language),
            *middleware(security),
        ],
        exception_handlers=EXCEPTION_HANDLERS,
    )
    app.state.api_groups = api_groups
    _set_state(app, device, tasks, pages)
    return app


def device_application(device: Device, tasks: BackgroundTasks, root: str, place: DeviceId) -> Starlette:
    """Return the panel of a device in a fleet, with the fleet's guard and sign-in.

    Args:
        device: the device.
        tasks: its tasks in the background.
        root: the path below which it is served.
        place: the device's id.
    """
    routes, pages = _routes_in_fleet()
    middleware_ = [Middleware(RootMiddleware, root=root)]
    app = Starlette(routes=routes, middleware=middleware_, exception_handlers=EXCEPTION_HANDLERS)
    _set_state(app, device, tasks, pages, root, place)
    return app


@cache
def _routes_in_fleet() -> tuple[list[BaseRoute], list[PipelinePage]]:
    """Return the routes that the panels of all devices of a fleet share, and the pages of pipelines."""
    routes: list[BaseRoute] = []
    for folder in PAGES:
        if folder not in _OWN_ACCESS:
            module = import_module(f"mailslot_plugins.panel.{folder}.page")
            routes += getattr(module, "routes_in_fleet", module.routes)
    pages = load_pages({route.path.split("/")[1] for route in routes if isinstance(route, Mount | Route)})
    for page in pages:
        routes += page.routes
    return routes, pages


def _set_state(
    app: Starlette,
    device: Device,
    tasks: BackgroundTasks,
    pages: list[PipelinePage],
    root: str = "",
    place: DeviceId | None = None,
) -> None:
    app.state.frame = Frame(lambda: device.identity, partial(_tabs, pages), root, place)
    app.state.device = device
    app.state.tasks = tasks
    app.state.pages = pages
    app.state.document_limiter = CapacityLimiter(1)


def _tabs(pages: list[PipelinePage], language: str) -> list[Tab]:
    def name(key: str) -> str:
        return translate(SHARED_FOLDER, key, language)

    return [
        Tab("/", "home", name("nav_home")),
        Tab("/jobs", "jobs", name("nav_jobs")),
        Tab("/received", "inbox", name("nav_received")),
        *(Tab(page.address, page.icon, pipeline_text(page.name, "title", language) or page.name) for page in pages),
        Tab("/administration", "gear", name("nav_administration")),
    ]


async def _show_http_error(request: Request, error: Exception) -> Response:
    """Return the error page for an unknown page or an unsupported method."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    key = "trouble_not_found" if status in {404, 405} else "trouble_other"
    sentence, headers = text(request, "layout", key), error.headers if isinstance(error, HTTPException) else None
    if request.scope["path"].startswith(API):
        return problem_response(status, sentence, headers=headers)
    page = render(request, "layout/trouble.html", status, sentence=sentence)
    page.headers.update(headers or {})
    return page


async def _show_mail_error(request: Request, error: Exception) -> Response:
    """Return the error page for a `MailError`."""
    return render(request, "layout/trouble.html", 503, sentence=translated(str(error), request.state.language))


EXCEPTION_HANDLERS: Final[Mapping[Any, Callable[[Request, Exception], Awaitable[Response]]]] = {
    HTTPException: _show_http_error,
    MailError: _show_mail_error,
}
"""The responses to exceptions of pages."""
