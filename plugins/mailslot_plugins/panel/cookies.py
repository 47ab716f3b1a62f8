"""Cookies as they came."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection


def cookie(connection: HTTPConnection, name: str) -> str:
    """Return the value of a cookie; empty where there is none.

    None of ours is quoted, and so none is unquoted: with many backslashes, some Pythons take minutes for that
    (CVE-2024-7592), while the device stands still.

    Args:
        connection: the request.
        name: which; of several, the last counts, since it has the shortest path (RFC 6265 section 5.4), as ours do.
    """
    found = ""
    for header in connection.headers.getlist("cookie"):
        for pair in header.split(";"):
            key, _, value = pair.partition("=")
            if key.strip() == name:
                found = value.strip()
    return found
