"""A hook that runs right before the end of a message is sent, such as to record on disk that it may have been sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class HookError(Exception):
    """The hook failed, not the connection, whatever the type of its error.

    Attributes:
        reason: the exception that the hook raised.
    """

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


class BeforeEndHook:
    """A caller's function whose errors are wrapped in `HookError`.

    Args:
        function: the function; None for none.
    """

    def __init__(self, function: Callable[[], Awaitable[None]] | None = None) -> None:
        self._function = function

    async def __call__(self) -> None:
        """Run the hook.

        Raises:
            HookError: it failed.
        """
        if self._function is None:
            return
        try:
            await self._function()
        except Exception as error:
            raise HookError(error) from error
