"""The log of the staff's actions: each change and each view of received documents, with person, device and outcome."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Final

from starlette.requests import Request

from mailslot_plugins.panel.fleet.security import path_for_log
from mailslot_plugins.panel.fleet.sessions import staff_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SAFE: Final = frozenset({"GET", "HEAD"})
_DOCUMENTS: Final = re.compile(r"/tenants/[^/]+/devices/[^/]+/received/.")
_PLACE: Final = re.compile(r"/tenants/([^/]+)(?:/devices/([^/]+))?")

logger = logging.getLogger(__name__)


class AuditLog:
    """Middleware that logs requests; it comes after the guard, which logs its refusals itself.

    Args:
        app: the next application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        request = Request(scope)
        path, method = str(scope["path"]), request.method
        staff = staff_of(request.state.session)
        if staff is None or (method in _SAFE and not _DOCUMENTS.match(path)):
            await self._app(scope, receive, send)
            return
        place = _PLACE.match(path)
        extra: dict[str, object] = {"staff": staff.subject}
        if place is not None:
            extra |= {"tenant": place[1], "device": place[2]}

        async def send_and_log(message: Message) -> None:
            if message["type"] == "http.response.start":
                status = message["status"]
                logger.info("%s: %s %s", staff.name, method, path_for_log(path), extra={**extra, "http_status": status})
            await send(message)

        await self._app(scope, receive, send_and_log)
