"""Watching for changes by this or another process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mailslot.spool.database import Database

_PAUSE: Final = 0.2
"""Seconds between two checks: other processes send no events, and a check takes a fraction of a millisecond."""


async def watch_changes(database: Database) -> AsyncGenerator[None]:
    """Yield at once, and then after each commit by any process."""
    seen: tuple[int, int] | None = None
    while True:
        version = await anyio.to_thread.run_sync(database.version)
        if version != seen:
            seen = version
            yield
        else:
            await anyio.sleep(_PAUSE)
