"""The addresses that the door knows, and where a browser may be sent on to."""

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

OPEN: Final = frozenset({SIGN_IN, FIRST_START, "/preferences", "/healthz", "/oauth/callback"})
"""What anybody may ask for. The page of the first start looks for itself who may do it, and the end of a sign-in at a
provider, in whose session it was begun."""

# A path here and nothing else: browsers take "//" and "/\" for the beginning of another host.
_HERE: Final = re.compile(r"/(?![/\\])[!-\[\]-~]{0,500}")


def safe_path(path: str) -> str:
    """Return a path on this panel to go on to, as it was asked for; the home page for anything else."""
    return path if _HERE.fullmatch(path) else "/"


def is_poll(request: Request) -> bool:
    """Whether a page looks for news by itself: htmx asks for parts of pages, and nothing else."""
    return request.method == "GET" and request.headers.get("hx-request") == "true"


def to_sign_in(request: Request, *, ended: bool = False) -> str:
    """Return the address of the sign-in that leads back to where the browser was headed.

    A part of a page is of no use by itself, so what leads back is the page that it is a part of.

    Args:
        request: what was asked.
        ended: whether the session has ended meanwhile, which the sign-in says then.
    """
    back = _back(request)
    said = [*([f"next={quote(back, safe='/')}"] if back != "/" else []), *(["ended=1"] if ended else [])]
    return f"{SIGN_IN}?{'&'.join(said)}" if said else SIGN_IN


def _back(request: Request) -> str:
    """Return where a browser goes on once it has signed in."""
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
