"""Work that must not be interrupted once it has begun."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import anyio

from mailslot.exit_guard import ExitGuard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


async def shielded(work: Callable[[], Awaitable[T]]) -> T:
    """Run `work` to its end, whatever happens to the caller, and return or raise what it does.

    A caller that is cancelled meanwhile waits for the end, and is cancelled then or, on trio, where it waits next.
    That holds for asyncio's own `asyncio.Task.cancel` too, on which `asyncio.timeout` and `asyncio.wait_for` rest and
    which no cancel scope stops: it reaches the caller's task, while the work is in one of its own. So `work` must end
    by itself, and soon.
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
