"""A plugin that wants to end the program ends its own task.

``SystemExit``, ``KeyboardInterrupt`` and other exceptions that are no `Exception` pass by every ``except Exception``,
and asyncio lets the first two end its loop from whichever task they come. What comes of somebody else's code is
therefore turned into an ordinary exception, save for a cancellation of the task that it runs in. A person's Ctrl-C is
none of these: the service receives it as a signal.
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
    """Somebody else's code raised what would have ended the program; that is its cause."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"A plugin raised {type(error).__name__}.")


def raised(error: BaseException) -> BaseException:
    """Return what was raised at first, of an error that may be a `PluginExitError`."""
    return error.__cause__ if isinstance(error, PluginExitError) and error.__cause__ is not None else error


class Contained:
    """A context that lets out nothing but an `Exception` or a cancellation.

    Raises:
        PluginExitError: something else was raised in it.
    """

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        if error is not None and _would_end_the_program(error):
            raise PluginExitError(error) from error
        return False


@contextmanager
def contained_tasks() -> Generator[None]:
    """While in this context, no task of asyncio ends its loop, not even one that a plugin starts by itself.

    On trio there is nothing to do: what a task raises reaches whoever has opened its nursery.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        yield
        return
    before = loop.get_task_factory()

    def make(
        running: asyncio.AbstractEventLoop,
        work: Coroutine[Any, Any, Any],
        **options: Any,  # noqa: ANN401 - whatever asyncio hands over
    ) -> asyncio.Future[Any]:
        contained = _ContainedCoroutine(work)
        if before is None:
            return asyncio.Task(contained, loop=running, **options)
        return before(running, contained, **options)

    loop.set_task_factory(cast("Any", make))
    try:
        yield
    finally:
        loop.set_task_factory(before)


class _ContainedCoroutine(Coroutine[Any, Any, Any]):
    """A coroutine that asyncio can run without danger; in all else, it is the one that it holds."""

    def __init__(self, work: Coroutine[Any, Any, Any]) -> None:
        self._work = work

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


def _would_end_the_program(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return any(_would_end_the_program(each) for each in group.exceptions)
    if isinstance(error, asyncio.CancelledError) and _is_nobodys_wish():
        return True
    return not isinstance(error, (Exception, GeneratorExit, *_cancellation()))


def _is_nobodys_wish() -> bool:
    """Whether nobody has cancelled this task of asyncio's: it has waited for another one that was."""
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
