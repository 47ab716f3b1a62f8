"""Locks for delivering, polling and the like, across tasks and processes."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from mailslot.spool.errors import SpoolError, busy_error
from mailslot.vault.errors import VaultError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractAsyncContextManager


@asynccontextmanager
async def exclusive_lock(lock: AbstractAsyncContextManager[None], sentence: str) -> AsyncGenerator[None]:
    """Hold a lock while the block runs.

    Args:
        lock: the lock, such as `mailslot.vault.lock.process_lock`.
        sentence: the error message if it is held elsewhere.

    Raises:
        SpoolError: `spool_busy`, it is held elsewhere; `spool_unwritable`, it cannot be taken.
    """
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(lock)
        except VaultError as error:
            if error.cause == "token_store_busy":
                raise busy_error(sentence, error.detail) from error
            raise SpoolError(str(error), cause="spool_unwritable", detail=error.detail) from error
        yield
