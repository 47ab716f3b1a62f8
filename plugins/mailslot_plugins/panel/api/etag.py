"""Changes that somebody else has made meanwhile: ``ETag`` and ``If-Match`` (RFC 9110 sections 8.8.3 and 13.1.1)."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from mailslot_plugins.panel.problem import NotDoneError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request


def etag(document: Mapping[str, Any]) -> str:
    """Return the tag of a document that is answered with, which differs once the document does."""
    text = json.dumps(document, sort_keys=True)
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def unchanged(request: Request, current: Callable[[], Mapping[str, Any]]) -> Callable[[], None]:
    """Return what refuses a change where the document is not the one that its sender knows.

    Args:
        request: what was asked.
        current: returns the document as it is.
    """
    wanted = [tag.strip() for line in request.headers.getlist("if-match") for tag in line.split(",")]

    def check() -> None:
        if wanted and "*" not in wanted and etag(current()) not in wanted:
            sentence = "Somebody has changed this since: get it again, and change that."
            raise NotDoneError(412, sentence, key="If-Match")

    return check
