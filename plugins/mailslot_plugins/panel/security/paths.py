"""The paths with special rules, and safe paths to redirect to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from starlette.requests import Request

SIGN_IN: Final = "/sign-in"
FIRST_START: Final = "/first-start"
API: Final = "/api/"
METRICS: Final = "/metrics"

PUBLIC: Final = frozenset({SIGN_IN, FIRST_START, "/preferences", "/healthz", "/oauth/callback"})
"""Paths that need no sign-in. The first start checks the setup code itself, and the callback checks the session in
which the sign-in was started."""

# Only a path on this host: browsers treat "//" and "/\" as the start of another host.
_HERE: Final = re.compile(r"/(?![/\\])[!-\[\]-~]{0,500}")


def safe_path(path: str) -> str:
    """Return a path if it is on this panel; otherwise the home page."""
    return path if _HERE.fullmatch(path) else "/"


def is_poll(request: Request) -> bool:
    """Return whether a page updates itself: only such requests come from htmx."""
    return request.method == "GET" and request.headers.get("hx-request") == "true"


def sign_in_address(request: Request, *, ended: bool = False) -> str:
    """Return the address of the sign-in page, with the requested page to return to.

    For the live part of a page, that is the whole page.

    Args:
        request: the request.
        ended: whether the session has ended, so that the sign-in page says so.
    """
    back = _back(request)
    parameters = [*([f"next={quote(back, safe='/')}"] if back != "/" else []), *(["ended=1"] if ended else [])]
    return f"{SIGN_IN}?{'&'.join(parameters)}" if parameters else SIGN_IN


def _back(request: Request) -> str:
    """Return the path to return to after the sign-in."""
    if request.method != "GET":
        return "/"
    if is_poll(request):
        try:
            page = urlsplit(request.headers.get("hx-current-url", ""))
        except ValueError:
            return "/"
        path, query = page.path, page.query
    else:
        path, query = (request.scope[part].decode("latin-1") for part in ("raw_path", "query_string"))
    return safe_path(f"{path}?{query}" if query else path)
