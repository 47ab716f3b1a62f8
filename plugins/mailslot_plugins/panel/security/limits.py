"""Bounds on what a browser may send."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope

HEAD: Final = 16 * 1024
"""Octets of a request without its body."""

BODY: Final = 64 * 1024
"""Octets of a form, or of a document for the API."""

DEADLINE: Final = 10.0
"""Seconds within which all of it must have come."""

_DISCARDED: Final = 1024 * 1024


class TooLargeError(Exception):
    """More came than is taken."""


class TooSlowError(Exception):
    """Not all of it came in time."""


class LeftError(Exception):
    """The browser has left."""


def head(scope: Scope) -> int:
    """Return the octets of a request without its body; the server bounds only what has not come all at once."""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    return len(scope["raw_path"]) + len(scope["query_string"]) + sum(len(name) + len(value) for name, value in headers)


async def read_body(receive: Receive) -> bytes:
    """Return the body of a request.

    Args:
        receive: the server's.

    Raises:
        TooLargeError: it has more than `BODY`.
        TooSlowError: not all of it has come within `DEADLINE`.
        LeftError: nobody waits for an answer.
    """
    octets, come = bytearray(), 0
    try:
        with anyio.fail_after(DEADLINE):
            more = True
            # Who sends too much is heard out for a while, since many a browser reads no answer before it has sent all.
            while more and come <= _DISCARDED:
                message: Message = await receive()
                if message["type"] != "http.request":
                    raise LeftError
                piece: bytes = message.get("body", b"")
                come += len(piece)
                if come <= BODY:
                    octets += piece
                more = message.get("more_body", False)
    except TimeoutError:
        raise TooSlowError from None
    if come > BODY:
        raise TooLargeError
    return bytes(octets)


def again(body: bytes, receive: Receive) -> Receive:
    """Return what gives a body that was read to whoever asks next, and then what comes after it."""
    given = False

    async def give() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return give
