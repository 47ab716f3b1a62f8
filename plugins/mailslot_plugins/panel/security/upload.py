"""Uploads of documents: requests whose body is read by the page instead of the guard, since it may be large."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

import anyio

from mailslot_plugins.panel.security.limits import DEADLINE

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Message, Receive

_PATHS: Final = frozenset({"/api/jobs", "/send"})
_MULTIPART: Final = "multipart/form-data"
_MAX_DISCARDED: Final = 1024 * 1024


class CsrfError(Exception):
    """The form comes from a page of another session, or from another site."""


class UploadBody:
    """The body of an upload; a page may leave a part of it unread.

    Args:
        receive: the server's ``receive``.

    Attributes:
        complete: whether all of it has been read.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.complete = False

    async def receive(self) -> Message:
        """Return the next message."""
        message = await self._receive()
        self.complete = not message.get("more_body", False)
        return message

    async def discard(self) -> None:
        """Read the rest, for a while, since many programs read no response before they have sent everything."""
        discarded = 0
        with anyio.move_on_after(DEADLINE):
            while not self.complete and discarded <= _MAX_DISCARDED:
                discarded += len((await self.receive()).get("body", b""))


def is_upload(request: Request, path: str) -> bool:
    """Return whether a request is an upload, by its path on the panel."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return request.method == "POST" and path in _PATHS and media_type == _MULTIPART


def check_upload_token(request: Request, token: str | None) -> None:
    """Check the CSRF token of an upload, unless the guard could do so already.

    Args:
        request: the request.
        token: the token in the form; None if the form's first field was not the token.

    Raises:
        CsrfError: it is not that of the session.
    """
    if request.state.needs_token:
        expected: str = request.state.session.csrf
        if token is None or not hmac.compare_digest(token.encode(), expected.encode()):
            raise CsrfError
        request.state.needs_token = False
