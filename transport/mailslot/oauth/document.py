"""What is in a body: a JSON object, or a page that no token service writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NoReturn, cast

from mailslot.oauth.address import host_of
from mailslot.oauth.faults import Kind, TokenServiceError, words

if TYPE_CHECKING:
    from collections.abc import Mapping


def parse(body: bytes) -> dict[str, object] | None:
    """Return the members of the JSON object in a body; None where it holds none, whatever it holds."""
    try:
        found: object = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, object]", found) if isinstance(found, dict) else None


def refuse_stranger(status: int, headers: Mapping[str, str], body: bytes, host: str) -> None:
    """Refuse what somebody answered who is not the token service: a captive portal, a proxy, a web server.

    Raises:
        TokenServiceError: cause `token_service_unreachable`.
    """
    if 300 <= status < 400:
        there = _target(headers.get("location", ""))
        raise _stranger(
            f"The token service {host} did not answer; the request was redirected{there}. The network may "
            "want somebody to sign in first, or the address is wrong.",
            status,
            f"HTTP {status}, Location: {words(headers.get('location', ''))}",
        )
    page = "html" in headers.get("content-type", "").lower() or body[:512].lstrip().lower().startswith(
        (b"<!", b"<html")
    )
    # A gateway's error page is an answer of the service's own side: busy, and nothing else.
    if status == 511 or (page and status != 429 and status < 500):
        raise _stranger(
            f"A web page came where the token service {host} should have answered. The network may want somebody "
            "to sign in first, or the address is wrong.",
            status,
            f"HTTP {status}, {words(headers.get('content-type', ''))}",
        )


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _target(location: str) -> str:
    try:
        host = host_of(location)
    except ValueError:
        host = ""
    return f" to {words(host.rpartition('@')[2])}" if host else ""


def _stranger(sentence: str, status: int, detail: str) -> TokenServiceError:
    return TokenServiceError(
        sentence, cause="token_service_unreachable", kind=Kind.PASSING, status=status, detail=detail
    )
