"""``POST /preferences``: language and colours of the panel, stored in the browser for a year."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.routing import Route

from mailslot_plugins.panel.render import THEMES, redirect
from mailslot_plugins.panel.security.paths import safe_path
from mailslot_plugins.panel.translations import COOKIE, LANGUAGES

if TYPE_CHECKING:
    from starlette.datastructures import FormData
    from starlette.requests import Request
    from starlette.responses import Response

_YEAR: Final = 365 * 86_400


async def choose(request: Request) -> Response:
    """Store the language and the colours in cookies, and return to the previous page."""
    form: FormData = request.state.form
    answer = redirect(request, safe_path(str(form.get("back", "/"))))
    for name, known in ((COOKIE, tuple(LANGUAGES)), ("theme", THEMES)):
        value = form.get(name)
        if isinstance(value, str) and value in known:
            secure = request.url.scheme == "https"
            answer.set_cookie(name, value, max_age=_YEAR, httponly=True, samesite="lax", secure=secure)
    return answer


routes = [Route("/preferences", choose, methods=["POST"])]
