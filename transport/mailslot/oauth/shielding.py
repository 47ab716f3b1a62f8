"""Work that must not be interrupted once it has begun."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import anyio

from mailslot.exit_guard import ExitGuard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


async def shielded(work: Callable[[], Awaitable[T]]) -> T:
    """Run `work` to its end even if the caller is cancelled; return its result or raise its exception.

    A cancelled caller waits until the work has ended, and is cancelled then or, on trio, at its next checkpoint. This
    includes `asyncio.Task.cancel`, which `asyncio.timeout` and `asyncio.wait_for` use and which a cancel scope does not
    stop: it affects only the caller's task, and the work runs in another one. So `work` must have a short timeout.
    """
    results: list[T] = []
    errors: list[Exception] = []

    async def run() -> None:
        with anyio.CancelScope(shield=True):
            try:
                with ExitGuard():
                    results.append(await work())
            except Exception as error:  # noqa: BLE001 - raised below, so that no group wraps it
                errors.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
    if errors:
        raise errors[0]
    return results[0]
