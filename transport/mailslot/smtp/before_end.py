"""A hook that runs right before the end of a message is sent, such as to record on disk that it may have been sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeAlias

    Hook: TypeAlias = Callable[[], Awaitable[None]]


class HookError(Exception):
    """The hook failed, not the connection, whatever the type of its error.

    Attributes:
        reason: the exception that the hook raised.
    """

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


async def run_hook(hook: Hook) -> None:
    """Run the hook.

    Raises:
        HookError: it failed.
    """
    try:
        await hook()
    except Exception as error:
        raise HookError(error) from error
