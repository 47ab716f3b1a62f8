"""Reading cookies."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection


def cookie(connection: HTTPConnection, name: str) -> str:
    """Return the value of a cookie; empty if there is none.

    Our cookies are not quoted, so nothing is unquoted: with many backslashes, some Python versions take minutes for
    that (CVE-2024-7592) and block the device.

    Args:
        connection: the request.
        name: its name; of several, the last one counts, since it has the shortest path, like ours (RFC 6265
            section 5.4).
    """
    found = ""
    for header in connection.headers.getlist("cookie"):
        for pair in header.split(";"):
            key, _, value = pair.partition("=")
            if key.strip() == name:
                found = value.strip()
    return found
