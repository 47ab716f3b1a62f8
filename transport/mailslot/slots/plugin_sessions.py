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
    """Enter the session of a plugin.

    Args:
        plugin: its kind and name for people, such as ``"submitter aiosmtplib"``.
        make: makes the session; its argument is the `on_stage` to pass to the plugin.
        on_stage: called when each stage begins; None to call nothing.

    Raises:
        MailError: on entering: the plugin's own error, or one with the cause `unknown` for any other exception.
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
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            raise MailError(
                f"The {plugin} failed: it has an error of its own.",
                stage=stage,
                cause="unknown",
                retryable=True,
                detail=describe_error_location(original_error(error)),
            ) from None
        yield session
