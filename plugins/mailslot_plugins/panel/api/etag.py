"""``ETag`` and ``If-Match``, which detect concurrent changes (RFC 9110 sections 8.8.3 and 13.1.1)."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from mailslot_plugins.panel.problem import ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request


def etag(document: Mapping[str, Any]) -> str:
    """Return the entity tag of a document; it changes with the document."""
    text = json.dumps(document, sort_keys=True)
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def precondition(request: Request, current: Callable[[], Mapping[str, Any]]) -> Callable[[], None]:
    """Return a function that refuses a change if the document no longer matches the request's ``If-Match``.

    Args:
        request: the request.
        current: returns the current document.
    """
    wanted = [tag.strip() for line in request.headers.getlist("if-match") for tag in line.split(",")]

    def check() -> None:
        if wanted and "*" not in wanted and etag(current()) not in wanted:
            sentence = "Somebody has changed this in the meantime: get it again, and change the new version."
            raise ProblemError(412, sentence, key="If-Match")

    return check
