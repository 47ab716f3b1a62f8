"""Noticing that something changed, in this process or another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mailslot.spool.database import Database

_PAUSE: Final = 0.2
"""Seconds between two looks: no event tells of another process, and a look costs a fraction of a millisecond."""


async def changes(database: Database) -> AsyncGenerator[None]:
    """Give at once, and then whenever anybody has committed something."""
    seen: tuple[int, int] | None = None
    while True:
        version = await anyio.to_thread.run_sync(database.version)
        if version != seen:
            seen = version
            yield
        else:
            await anyio.sleep(_PAUSE)
