"""The ``Idempotency-Key``, with which a request can be repeated (draft-ietf-httpapi-idempotency-key-header)."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Final

from mailslot_plugins.panel.problem import ProblemError
from mailslot_plugins.sending.submission import RequestIdentity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request

    from mailslot_plugins.panel.api.json_schema import Schema
    from mailslot_plugins.panel.send.reception import Received

HEADER: Final = "Idempotency-Key"

# A string (RFC 9651 section 3.3.3), or the same without quotation marks, as many programs send it.
_VALUE: Final = re.compile(r' *(?:"((?:[ !#-\[\]-~]|\\["\\])*)"|([A-Za-z0-9._:/+=-]+)) *', re.ASCII)
_MAX_LENGTH: Final = 255

KEY_SCHEMA: Final[Schema] = {
    "type": "string",
    "pattern": r'^("[ !#-\[\]-~]+"|[A-Za-z0-9._:/+=-]+)$',
    "minLength": 1,
    "maxLength": _MAX_LENGTH,
}
"""The schema of the header."""


def idempotency_key(request: Request) -> str | None:
    """Return the key of a request; None if it has none.

    Raises:
        ProblemError: 400, it is not valid.
    """
    values = request.headers.getlist(HEADER)
    if not values:
        return None
    match = _VALUE.fullmatch(values[0]) if len(values) == 1 else None
    key = "" if match is None else re.sub(r"\\(.)", r"\1", match[1] or "") or match[2] or ""
    if not 0 < len(key) <= _MAX_LENGTH:
        raise ProblemError(
            400,
            f"{HEADER} must be one text in quotation marks, of 1 to {_MAX_LENGTH} ASCII characters.",
            key=HEADER,
        )
    return key


def request_identity(owner: str, key: str, received: Received) -> RequestIdentity:
    """Return the identity of a request.

    Args:
        owner: the client; other clients may use the same key for other requests.
        key: its key.
        received: its documents and fields.
    """
    return RequestIdentity(f"request-{_digest([owner, key])}", _digest(_content(received.fields, received)))


def _content(fields: Mapping[str, Sequence[str]], received: Received) -> list[object]:
    names = [document.name for document in received.documents]
    return [sorted((name, list(values)) for name, values in fields.items()), names, received.digests]


def _digest(value: list[object] | list[str]) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:40]
