"""A panel below a path of a larger site: adds the path as a prefix to the addresses in its pages and redirects.

So the pages of a device, including those of pipelines, need not know where they are served.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from starlette.datastructures import MutableHeaders

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SHARED: Final = ("static/", "sign-out", "preferences")
"""The first parts of paths that belong to the whole site, and so get no prefix."""

_HEADERS: Final = ("location", "hx-redirect")


def add_root(page: str, root: str) -> str:
    """Return a page whose links, forms and reloads lead to the panel below a path.

    Templates escape quotation marks in inserted values, so only attributes are found.

    Args:
        page: the HTML.
        root: the path, such as ``/tenants/acme/devices/copier``; empty for a panel with a host of its own.
    """
    return _addresses(root).sub(rf"\g<0>{root}", page) if root else page


@lru_cache(maxsize=256)
def _addresses(root: str) -> re.Pattern[str]:
    others = "|".join(map(re.escape, ("/", *SHARED, f"{root[1:]}/")))
    return re.compile(rf'\s(?:(?:href|src|action|formaction|hx-[a-z]+)="|content="[0-9.]+; url=)(?=/(?!{others}))')


class RootMiddleware:
    """Middleware that adds the prefix to redirects.

    Args:
        app: the next application.
        root: the path below which the panel is.
    """

    def __init__(self, app: ASGIApp, root: str) -> None:
        self._app = app
        self._root = root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""

        async def send_with_root(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name in _HEADERS:
                    path = headers.get(name, "")
                    if path.startswith("/") and not path.startswith(("//", f"{self._root}/")):
                        headers[name] = self._root + path
            await send(message)

        await self._app(scope, receive, send_with_root)
