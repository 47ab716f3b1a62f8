"""Parsing the body of a response, and rejecting pages that are not from a token service."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, NoReturn, cast

from mailslot.oauth.endpoint_url import host_of
from mailslot.oauth.token_error_table import Remedy
from mailslot.oauth.token_errors import TokenServiceError, shorten
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping


_REFRESH_TOKEN: Final = re.compile(rb'"refresh_token"\s{0,8}:\s{0,8}("(?:[^"\\]|\\.){1,65536}")')


def parse_json_object(body: bytes) -> dict[str, object] | None:
    """Return the members of the JSON object in a body; None if it is not a JSON object."""
    try:
        found: object = json.loads(body, parse_constant=_reject_constant)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, object]", found) if isinstance(found, dict) else None


def find_refresh_token(body: bytes) -> Secret | None:
    """Return the refresh token in a body that is truncated or otherwise not JSON; None if there is none.

    It matters because a provider that rotates refresh tokens has already revoked the old one.
    """
    try:
        found: object = json.loads(match[1]) if (match := _REFRESH_TOKEN.search(body)) else None
    except ValueError:
        return None
    return Secret(found) if isinstance(found, str) and found and found.isascii() and found.isprintable() else None


def reject_foreign_page(status: int, headers: Mapping[str, str], body: bytes, host: str) -> None:
    """Raise for a response that is not from the token service but from a captive portal, a proxy or another web server.

    Raises:
        TokenServiceError: cause `token_service_unreachable` for a redirect, `not_a_token_service` for a page.
    """
    if 300 <= status < 400:
        target = _redirect_target(headers.get("location", ""))
        raise _foreign_response(
            f"The token service {host} did not answer; the request was redirected{target}. The network may "
            "want somebody to sign in first, or the address is wrong.",
            status,
            f"HTTP {status}, Location: {shorten(headers.get('location', ''))}",
        )
    # An error page of the service's gateway only means that the service is busy.
    if status == 511 or (_is_page(status, headers, body) and status != 429 and status < 500):
        raise _foreign_response(
            f"What answers for {host} is not a token service: it sent a web page, such as a sign-in page. The network "
            "may want somebody to sign in first, or the address is wrong.",
            status,
            f"HTTP {status}, {shorten(headers.get('content-type', ''))}",
            cause="token_service_unreachable" if status == 511 else "not_a_token_service",
        )


def _is_page(status: int, headers: Mapping[str, str], body: bytes) -> bool:
    if body[:512].lstrip().lower().startswith((b"<!", b"<html")):
        return True
    if not body.strip():
        return False
    # Some services declare their JSON as HTML, which is PHP's default. This is accepted in a success, not in a refusal.
    return "html" in headers.get("content-type", "").lower() and not (200 <= status < 300 and parse_json_object(body))


def _reject_constant(constant: str) -> NoReturn:
    raise ValueError(constant)


def _redirect_target(location: str) -> str:
    try:
        host = host_of(location)
    except ValueError:
        host = ""
    return f" to {shorten(host.rpartition('@')[2])}" if host else ""


def _foreign_response(
    sentence: str, status: int, detail: str, cause: str = "token_service_unreachable"
) -> TokenServiceError:
    return TokenServiceError(sentence, cause=cause, remedy=Remedy.WAIT, status=status, detail=detail)
