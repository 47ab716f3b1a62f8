"""The panel: the pages of a device, and what answers on its address."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, ClassVar, Final

import anyio
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from mailslot.errors import MailError
from mailslot_plugins.panel.background import BackgroundTasks
from mailslot_plugins.panel.pipelines import load_pages
from mailslot_plugins.panel.problem import problem
from mailslot_plugins.panel.render import render, text
from mailslot_plugins.panel.section import PANEL
from mailslot_plugins.panel.security.guard import middleware
from mailslot_plugins.panel.security.paths import API
from mailslot_plugins.panel.security.security import Security
from mailslot_plugins.panel.server import announcement, serve
from mailslot_plugins.panel.token.callback import Answers
from mailslot_plugins.panel.translations import LanguageMiddleware

if TYPE_CHECKING:
    import socket

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from mailslot.service.device import Device
    from mailslot.slots.section import Section

PAGES: Final = (
    "first_start",
    "sign_in",
    "home",
    "slots",
    "token",
    "connection_test",
    "jobs",
    "received",
    "sections",
    "administration",
    "preferences",
    "monitoring",
    "api",
)
"""The folders whose module ``page`` has ``routes``; those of pipelines come after them."""


class Panel:
    """The panel of a device, which knows how to answer on a socket: `mailslot.service.panel.Panel`.

    Args:
        device: the device.

    Attributes:
        section: its table in ``mailslot.toml``.
    """

    section: ClassVar[Section] = PANEL

    def __init__(self, device: Device) -> None:
        self._device = device
        self._security = Security(device)

    async def announce(self, listener: socket.socket, *, terminal: bool) -> list[str]:
        """Return what whoever starts the service should know, a sentence each: where it is, and how to claim it.

        Args:
            listener: the socket of `serve`.
            terminal: whether only that person reads it, rather than a log.

        Raises:
            MailError: it cannot be served there.
        """
        return await announcement(self._device, self._security, listener, terminal=terminal)

    async def serve(self, listener: socket.socket) -> None:
        """Answer until cancelled.

        Args:
            listener: a TCP socket that listens; it stays open for another call.

        Raises:
            MailError: it cannot be served there.
        """
        work = BackgroundTasks()
        failure: Exception | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(work.run)
            try:
                # It loads what plugins bring.
                app = await run_sync(application, self._device, work, self._security)
                await serve(self._device, self._security, app, listener)
            except Exception as error:  # noqa: BLE001 - raised again below, outside of the task group
                failure = error
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure


def application(device: Device, work: BackgroundTasks, security: Security) -> Starlette:
    """Return what answers requests.

    Args:
        device: the device.
        work: what outlives a request.
        security: what guards it.
    """
    static = StaticFiles(packages=[("mailslot_plugins.panel", "static")])
    routes: list[BaseRoute] = [Mount("/static", static, name="static")]
    for folder in PAGES:
        routes += import_module(f"mailslot_plugins.panel.{folder}.page").routes
    pages = load_pages({route.path.split("/")[1] for route in routes if isinstance(route, Mount | Route)})
    for page in pages:
        routes += page.routes
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(Answers),
            Middleware(LanguageMiddleware, otherwise=lambda: device.identity.language),
            *middleware(security),
        ],
        exception_handlers={HTTPException: _show_trouble, MailError: _show_error},
    )
    app.state.device = device
    app.state.work = work
    app.state.pages = pages
    return app


async def _show_trouble(request: Request, error: Exception) -> Response:
    """Answer where there is no such page, or it may not be asked that way."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    key = "trouble_not_found" if status in {404, 405} else "trouble_other"
    sentence, headers = text(request, "layout", key), error.headers if isinstance(error, HTTPException) else None
    if request.scope["path"].startswith(API):
        return problem(status, sentence, headers=headers)
    page = render(request, "layout/trouble.html", status, sentence=sentence)
    page.headers.update(headers or {})
    return page


async def _show_error(request: Request, error: Exception) -> Response:
    """Answer where something could not be done, in its own sentence."""
    return render(request, "layout/trouble.html", 503, sentence=str(error))
