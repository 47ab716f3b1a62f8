"""Who may deliver and who may poll: one at a time, over all tasks and processes."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from mailslot.spool.errors import SpoolError, busy
from mailslot.vault.errors import VaultError
from mailslot.vault.lock import process_lock

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path


@asynccontextmanager
async def exclusive(path: Path, sentence: str, *, timeout: float) -> AsyncGenerator[None]:
    """Hold the lock at `path` while the block runs.

    Args:
        path: the lock file.
        sentence: what to say where another holds it.
        timeout: how long to wait for that, in seconds; 0 tries once.

    Raises:
        SpoolError: `spool_busy`, another held it all the time; `spool_unwritable`, the file cannot be opened.
    """
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(process_lock(path, timeout=timeout))
        except VaultError as error:
            if error.cause == "token_store_busy":
                raise busy(sentence, error.detail) from error
            raise SpoolError(str(error), cause="spool_unwritable", detail=error.detail) from error
        yield
