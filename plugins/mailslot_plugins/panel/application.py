"""The panel as an ASGI application."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from anyio import CapacityLimiter
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from mailslot.errors import MailError
from mailslot_plugins.panel.api.openapi import load_groups
from mailslot_plugins.panel.api.operation import make_routes
from mailslot_plugins.panel.pipelines import load_pages
from mailslot_plugins.panel.problem import problem_response
from mailslot_plugins.panel.render import render, text
from mailslot_plugins.panel.security.guard import middleware
from mailslot_plugins.panel.security.paths import API
from mailslot_plugins.panel.sentences import translated
from mailslot_plugins.panel.token.callback import LoopbackRedirects
from mailslot_plugins.panel.translations import LanguageMiddleware

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from mailslot.service.device import Device
    from mailslot_plugins.panel.background import BackgroundTasks
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
        exception_handlers={HTTPException: _show_http_error, MailError: _show_mail_error},
    )
    app.state.device = device
    app.state.tasks = tasks
    app.state.pages = pages
    app.state.api_groups = api_groups
    app.state.document_limiter = CapacityLimiter(1)
    return app


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
