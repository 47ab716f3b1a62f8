"""What a caller does right before a message's end goes out, such as noting on a disk that it may be out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class HookError(Exception):
    """The caller failed; not the connection, whatever the error's class says.

    Attributes:
        reason: what the caller raised.
    """

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


class BeforeEndHook:
    """A caller's function, with its errors marked as the caller's.

    Args:
        function: what is done; None for nothing.
    """

    def __init__(self, function: Callable[[], Awaitable[None]] | None = None) -> None:
        self._function = function

    async def __call__(self) -> None:
        """Do it.

        Raises:
            NotEndedError: it failed.
        """
        if self._function is None:
            return
        try:
            await self._function()
        except Exception as error:
            raise HookError(error) from error
