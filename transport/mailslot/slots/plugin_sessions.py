"""Sessions that plugins open: an unexpected exception of a plugin becomes a `MailError` that names it."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from mailslot.entry_points import describe_error_location
from mailslot.errors import MailError
from mailslot.exit_guard import ExitGuard, original_error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager

    from mailslot.errors import Stage

S = TypeVar("S")


@asynccontextmanager
async def open_plugin_session(
    plugin: str,
    make: Callable[[Callable[[Stage], None]], AbstractAsyncContextManager[S]],
    on_stage: Callable[[Stage], None] | None,
) -> AsyncGenerator[S]:
    """Enter the session that a plugin opens.

    Args:
        plugin: what people call it, such as ``"submitter told"``.
        make: has it made, given what is to be called as each step begins.
        on_stage: whom to tell of each step; None for nobody.

    Raises:
        MailError: on entering: the plugin's own, or cause `unknown` for whatever else it raises.
    """
    stage: Stage = "resolve"

    def entered(name: Stage) -> None:
        nonlocal stage
        stage = name
        if on_stage is not None:
            on_stage(name)

    async with AsyncExitStack() as stack:
        try:
            with ExitGuard():
                session = await stack.enter_async_context(make(entered))
        except MailError:
            raise
        except Exception as error:  # noqa: BLE001 - a plugin is somebody else's, and may fail in any way
            raise MailError(
                f"The {plugin} failed: it has an error of its own.",
                stage=stage,
                cause="unknown",
                retryable=True,
                detail=describe_error_location(original_error(error)),
            ) from None
        yield session
