"""An ASGI application that is loaded for its first request."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio
from anyio.to_thread import run_sync

from mailslot.service.log import describe_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

logger = logging.getLogger(__name__)


class LateApplication:
    """An application that is created at the first request; if that fails, the next request tries again.

    Args:
        make: creates it; called in a thread, one call at a time.
    """

    def __init__(self, make: Callable[[], ASGIApp]) -> None:
        self._make = make
        self._making = anyio.Lock()
        self._application: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        async with self._making:
            if self._application is None:
                try:
                    self._application = await run_sync(self._make)
                except Exception as error:
                    # The browser sees its connection end; how a connection ends is logged for engineers alone.
                    logger.error("The panel cannot be loaded: %s", describe_error(error))  # noqa: TRY400 - no traceback
                    raise
        await self._application(scope, receive, send)
