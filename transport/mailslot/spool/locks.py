"""Locks for delivering and polling, across tasks and processes."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from mailslot.spool.errors import SpoolError, busy_error
from mailslot.vault.errors import VaultError
from mailslot.vault.lock import process_lock

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path


@asynccontextmanager
async def exclusive_lock(path: Path, sentence: str, *, timeout: float) -> AsyncGenerator[None]:
    """Hold the lock at `path` while the block runs.

    Args:
        path: the lock file.
        sentence: the error message if it is held elsewhere.
        timeout: seconds to wait for it; 0 to try once.

    Raises:
        SpoolError: `spool_busy`, it is held elsewhere; `spool_unwritable`, the file cannot be opened.
    """
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(process_lock(path, timeout=timeout))
        except VaultError as error:
            if error.cause == "token_store_busy":
                raise busy_error(sentence, error.detail) from error
            raise SpoolError(str(error), cause="spool_unwritable", detail=error.detail) from error
        yield
