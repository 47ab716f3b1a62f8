"""A panel below a path of a larger site: its pages and redirects name their own paths, and here the prefix is added.

So the pages of a device, and those that pipelines bring, are the same wherever they are served.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from starlette.datastructures import MutableHeaders

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SHARED: Final = ("static/", "sign-out", "preferences")
"""What follows the slash in the paths that belong to the whole site."""

_HEADERS: Final = ("location", "hx-redirect")


def add_root(page: str, root: str) -> str:
    """Return a page whose links, forms and reloads lead to the panel below a path.

    In what templates have inserted, quotation marks are escaped, so only attributes are found.

    Args:
        page: the HTML.
        root: the path, such as ``/tenants/acme/devices/copier``; empty for a panel that has a host for itself.
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
