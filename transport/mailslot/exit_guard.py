"""Keep plugins from ending the program.

``SystemExit``, ``KeyboardInterrupt`` and other exceptions outside `Exception` are not caught by ``except Exception``,
and asyncio stops its loop when a task raises one of the first two. Code of plugins therefore runs under a guard that
turns them into an ordinary exception. The cancellation of the current task passes through. Ctrl-C is not affected: the
service receives it as a signal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, cast

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType


class PluginExitError(Exception):
    """A plugin raised an exception that would have ended the program; it is the ``__cause__``."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"A plugin raised {type(error).__name__}.")


def original_error(error: BaseException) -> BaseException:
    """Return the exception that a `PluginExitError` stands for; any other error is returned as it is."""
    return error.__cause__ if isinstance(error, PluginExitError) and error.__cause__ is not None else error


class ExitGuard:
    """A context manager from which only an `Exception` or a cancellation escapes.

    Raises:
        PluginExitError: anything else was raised in the context.
    """

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        if error is not None and _would_end_program(error):
            raise PluginExitError(error) from error
        return False


@contextmanager
def guard_tasks() -> Generator[None]:
    """Guard every asyncio task that is started in this context, including those that plugins start.

    On trio there is nothing to do: an exception propagates to the owner of the task's nursery.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        yield
        return
    before = loop.get_task_factory()

    def make_task(
        loop_of_task: asyncio.AbstractEventLoop,
        coroutine: Coroutine[Any, Any, Any],
        **options: Any,  # noqa: ANN401 - whatever asyncio hands over
    ) -> asyncio.Future[Any]:
        guarded = _GuardedCoroutine(coroutine)
        if before is None:
            return asyncio.Task(guarded, loop=loop_of_task, **options)
        return before(loop_of_task, guarded, **options)

    loop.set_task_factory(cast("Any", make_task))
    try:
        yield
    finally:
        loop.set_task_factory(before)


class _GuardedCoroutine(Coroutine[Any, Any, Any]):
    """Wraps a coroutine so that it cannot end asyncio's loop."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._work = coroutine

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - such as cr_frame, by which its state is known
        return getattr(self._work, name)

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._work.__await__()

    def send(self, value: Any) -> Any:  # noqa: ANN401 - a coroutine's
        return self._run(self._work.send, value)

    def throw(self, *error: Any) -> Any:  # noqa: ANN401 - a coroutine's
        return self._run(self._work.throw, *error)

    def close(self) -> None:
        self._work.close()

    @staticmethod
    def _run(step: Callable[..., Any], *values: Any) -> Any:  # noqa: ANN401 - a coroutine's
        try:
            return step(*values)
        except (KeyboardInterrupt, SystemExit) as error:
            raise PluginExitError(error) from error


def _would_end_program(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return any(_would_end_program(each) for each in group.exceptions)
    if isinstance(error, asyncio.CancelledError) and _is_foreign_cancellation():
        return True
    return not isinstance(error, (Exception, GeneratorExit, *_cancellation()))


def _is_foreign_cancellation() -> bool:
    """Tell whether a `CancelledError` comes from another task that this asyncio task has awaited."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return False
    return task is not None and not task.cancelling()


def _cancellation() -> tuple[type[BaseException], ...]:
    try:
        return (anyio.get_cancelled_exc_class(),)
    except anyio.NoEventLoopError:
        return ()
