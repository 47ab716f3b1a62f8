"""Limits on the size and duration of requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope

MAX_HEAD: Final = 16 * 1024
"""Octets of a request's head."""

MAX_BODY: Final = 64 * 1024
"""Octets of a form, or of a document for the API."""

DEADLINE: Final = 10.0
"""Seconds within which the body must arrive."""

_MAX_DISCARDED: Final = 1024 * 1024


class TooLargeError(Exception):
    """The body is too large."""


class TooSlowError(Exception):
    """The body did not arrive in time."""


class DisconnectedError(Exception):
    """The client has disconnected."""


def head_size(scope: Scope) -> int:
    """Return the size of a request's head; the server limits only heads that arrive in several parts."""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    return len(scope["raw_path"]) + len(scope["query_string"]) + sum(len(name) + len(value) for name, value in headers)


async def read_body(receive: Receive) -> bytes:
    """Return the body of a request.

    Args:
        receive: the server's ``receive``.

    Raises:
        TooLargeError: it is larger than `MAX_BODY`.
        TooSlowError: it did not arrive within `DEADLINE`.
        DisconnectedError: the client has disconnected.
    """
    octets, come = bytearray(), 0
    try:
        with anyio.fail_after(DEADLINE):
            more = True
            # Too large a body is read for a while, since many browsers read no response before they have sent
            # everything.
            while more and come <= _MAX_DISCARDED:
                message: Message = await receive()
                if message["type"] != "http.request":
                    raise DisconnectedError
                chunk: bytes = message.get("body", b"")
                come += len(chunk)
                if come <= MAX_BODY:
                    octets += chunk
                more = message.get("more_body", False)
    except TimeoutError:
        raise TooSlowError from None
    if come > MAX_BODY:
        raise TooLargeError
    return bytes(octets)


def replay_body(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that first returns a body that was already read, and then the messages after it."""
    given = False

    async def give() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return give
