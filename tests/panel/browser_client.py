"""An HTTP client that behaves like a browser: it keeps cookies, reads forms, and follows no redirects."""

from __future__ import annotations

import re
import ssl
from html import unescape
from typing import TYPE_CHECKING, Any

import httpx2

from panel.running_panel import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients that speak HTTP alone: one that knows the system's authorities takes 20 ms to make."""

_CSRF = re.compile(r'name="csrf" value="([0-9a-f]{64})"')
_QUOTED_TWICE = re.compile(r'<(?:[^<>"]|"[^"]*")* [a-z-]+=&#34;')
"""A tag with an attribute whose quotation marks were escaped by mistake."""


class BrowserClient(httpx2.AsyncClient):
    """A client of the panel.

    Args:
        address: the panel's address.
    """

    def __init__(self, address: str, **options: Any) -> None:
        super().__init__(base_url=address, **{"timeout": 120, "trust_env": False, "verify": NO_TLS, **options})
        self.headers["accept-language"] = "en"

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send a request, and check pages for broken attributes."""
        answer = await super().send(request, **options)
        if not options.get("stream") and answer.headers.get("content-type", "").startswith("text/html"):
            assert not _QUOTED_TWICE.search(answer.text), request.url
        return answer

    async def token(self, path: str = "/sign-in") -> str:
        """Return the CSRF token on a page."""
        found = _CSRF.search((await self.get(path)).text)
        assert found, path
        return found[1]

    async def submit(self, path: str, page: str = "", **fields: str) -> httpx2.Response:
        """Send a form from a page; by default, from `path` itself."""
        return await self.post(path, data={"csrf": await self.token(page or path), **fields})

    async def sign_in(self, password: str = PASSWORD, **more: str) -> httpx2.Response:
        """Sign in."""
        return await self.submit("/sign-in", password=password, **more)

    async def is_in(self, headers: Mapping[str, str] | None = None) -> bool:
        """Return whether the session is signed in."""
        answer = await self.get("/administration", headers=headers)
        assert answer.status_code in {200, 303}
        return answer.status_code == 200

    @property
    def session(self) -> str:
        """The id in the session's cookie."""
        [value] = [cookie.value for cookie in self.cookies.jar if re.search(r"mailslot-[0-9]+$", cookie.name)]
        assert value
        return value


def words(answer: httpx2.Response) -> str:
    """Return a page's text, without tags."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())
