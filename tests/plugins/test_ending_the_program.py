"""Plugins that raise SystemExit and the like: the service continues, and stops on request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.lowlevel
import pytest
from anyio.to_thread import run_sync

from mailslot.diagnosis.connection_test import check_connection as connection_test
from mailslot.exit_guard import ExitGuard, PluginExitError, guard_tasks
from mailslot.oauth.shielding import shielded
from mailslot.service.handling import handle_waiting
from mailslot.service.service import Service
from mailslot.service.systemd import ServiceManager
from mailslot.slots.slot import SlotDirectory
from mailslot_plugins.panel.background import BackgroundTasks
from service.polling_device import RECORD, RecordingPipeline, run_polling_device
from service.sending_device import FastClocks, run_sending_device

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from mailslot.service.device import Device
    from mailslot.service.pipeline import Handled
    from mailslot.spool.incoming import Incoming
    from plugins.conftest import Site

GENEROUS: Final = 60
"""Seconds for what takes a moment on a machine that has nothing else to do."""


class End(BaseException):
    """An exception that is no `Exception`, as libraries have them."""


ERRORS: Final = [KeyboardInterrupt, SystemExit, End]

PLUGINS = """
import functools
from contextlib import asynccontextmanager
import mailslot

class End(BaseException):
    pass

ERRORS = {"KeyboardInterrupt": KeyboardInterrupt, "SystemExit": SystemExit, "End": End}
calls = []

def end(where, name):
    calls.append((where, name))
    raise ERRORS[name]("hunter2")

class Session:
    def __init__(self, session, where, name):
        self._session, self._where, self._name = session, where, name
    def __getattr__(self, attribute):
        if attribute == self._where:
            return self._ends
        return getattr(self._session, attribute)
    async def _ends(self, *_, **__):
        end(self._where, self._name)

@asynccontextmanager
async def submit(name, endpoint, auth=None, /, **how):
    async with mailslot.connect_smtp(endpoint, auth, **how) as session:
        yield Session(session, "submit", name)

class Drop:
    options = {}
    def __init__(self, name):
        self._name = name
    def mailbox_id(self, options):
        return ""
    @asynccontextmanager
    async def open(self, profile, options, *, transcript=None, on_stage=None):
        async with mailslot.connect_pop3(profile.endpoint, profile.auth, ssl_context=profile.ssl_context) as session:
            yield Session(session, "listing", self._name)

class Source:
    def __init__(self, name):
        self._name = name
    async def token(self, *, force=False):
        end("token", self._name)
    async def forget(self):
        pass

for name in ERRORS:
    globals()["submit_" + name] = functools.partial(submit, name)
    globals()["drop_" + name] = Drop(name)
    globals()["source_" + name] = functools.partial(lambda name, settings: Source(name), name)
"""


@pytest.fixture
def plugins(site: Site) -> Any:
    """The module of the plugins above, installed."""
    site.module("acme_ends", PLUGINS)
    groups = {"submitters": "submit", "maildrops": "drop", "token_sources": "source"}
    lines: list[str] = []
    for group, what in groups.items():
        names = [f"{each.__name__.lower()} = acme_ends:{what}_{each.__name__}" for each in ERRORS]
        lines += [f"[mailslot.{group}]", *names]
    site.install("acme", "\n".join([*lines, ""]))
    return __import__("acme_ends")


async def in_a_coroutine(error: BaseException) -> None:
    raise error


async def in_a_task(error: BaseException) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(in_a_coroutine, error)


async def in_a_task_of_asyncio(error: BaseException) -> None:
    """One that nobody waits for."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise error from None
    task = asyncio.create_task(in_a_coroutine(error))
    while not task.done():
        await anyio.lowlevel.checkpoint()
    await task


async def in_a_thread(error: BaseException) -> None:
    def fail() -> None:
        raise error

    await run_sync(fail)


WAYS: Final = [in_a_coroutine, in_a_task, in_a_task_of_asyncio, in_a_thread]


class Ending(RecordingPipeline):
    """A pipeline that wants to end the program whenever it runs."""

    def __init__(self, way: Callable[[BaseException], Awaitable[None]], error: type[BaseException]) -> None:
        super().__init__(polls="")
        self._way, self._error = way, error
        self.runs = 0
        self.again = anyio.Event()

    async def run(self, device: Device) -> None:
        self.runs += 1
        if self.runs == 3:
            self.again.set()
            await anyio.sleep_forever()
        await self._way(self._error("hunter2"))


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("way", WAYS)
async def test_system_exit_in_a_pipeline(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    way: Callable[[BaseException], Awaitable[None]],
    error: type[BaseException],
) -> None:
    """It is restarted like any failing task; jobs are delivered meanwhile, and the service stops normally."""
    async with run_sending_device(tmp_path, FastClocks(100)) as (box, _):
        pipeline = Ending(way, error)
        job = await box.accept()

        async def stopped() -> None:
            await pipeline.again.wait()
            while (await box.job(job)).state != "sent":  # noqa: ASYNC110 - nobody tells
                await anyio.sleep(0.01)

        with anyio.fail_after(GENEROUS):
            await Service(box.device, [pipeline], ServiceManager(), worker=box.worker).run(stopped)
    failures = [record for record in caplog.records if getattr(record, "task", None) == "pipeline keeper"]
    assert len(failures) == 2
    assert error.__name__ in failures[0].getMessage() or "Group" in failures[0].getMessage()
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("error", ERRORS)
async def test_system_exit_while_handling_mail(tmp_path: Path, error: type[BaseException]) -> None:
    async def answer(mail: Incoming, subject: str) -> Handled:
        raise error

    async with run_polling_device(tmp_path) as box:
        box.keeper.answer = answer
        box.add("one", "two")
        report = await box.poll()
        assert [each.outcome for each in report.handled] == ["later", "later"]
        # It counts as a try, so that the third is the last.
        for seconds in (61, 661):
            box.clocks.set(seconds)
            handled = await handle_waiting(box.device, RECORD, box.keeper)
        assert {each.outcome for each in handled} == {"set aside"}
        assert f"{error.__name__}, raised at" in handled[0].note


@pytest.mark.parametrize("error", ERRORS)
async def test_system_exit_in_a_submitter(tmp_path: Path, plugins: Any, error: type[BaseException]) -> None:
    name = error.__name__
    async with run_sending_device(tmp_path, FastClocks(100)) as (box, _):
        await run_sync(box.device.records.change, "smtp", {"submitter": name.lower()}, {})
        job = await box.accept()
        stop = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(Service(box.device, [], ServiceManager(), worker=box.worker).run, stop.wait)
            with anyio.fail_after(GENEROUS):
                while (await box.job(job)).state != "deferred":  # noqa: ASYNC110 - nobody tells
                    await anyio.sleep(0.01)
            assert ("submit", name) in plugins.calls
            assert (await connection_test(box.device.connector, SlotDirectory().find("network.smtp"))).ok
            stop.set()


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize(("setting", "where"), [("maildrop", "listing"), ("token_source", "token")])
async def test_system_exit_in_a_maildrop_or_token_source(
    tmp_path: Path, plugins: Any, error: type[BaseException], setting: str, where: str
) -> None:
    async with run_polling_device(tmp_path) as box:
        box.set(**{setting: error.__name__.lower()})
        report = await box.poll()
        assert (where, error.__name__) in plugins.calls
        assert report.cause is not None
        assert "hunter2" not in f"{report}"
        result = await connection_test(box.device.connector, SlotDirectory().find("status.pop"))
        assert result.ok == (setting == "maildrop")


@pytest.mark.parametrize("error", ERRORS)
async def test_system_exit_in_shielded_work_and_panel_tasks(anyio_backend: str, error: type[BaseException]) -> None:
    async def end(_: object = None) -> None:
        raise error

    with pytest.raises(PluginExitError) as caught:
        await shielded(end)
    assert isinstance(caught.value.__cause__, error)
    work = BackgroundTasks()
    async with anyio.create_task_group() as group:
        group.start_soon(work.run)
        await anyio.wait_all_tasks_blocked()
        piece = work.start(("test",), None, end)
        with anyio.fail_after(GENEROUS):
            await piece.ended.wait()
        group.cancel_scope.cancel()


async def test_cancellation_propagates(anyio_backend: str) -> None:
    with anyio.CancelScope() as scope, ExitGuard():
        scope.cancel()
        await anyio.sleep_forever()
    assert scope.cancelled_caught
    with pytest.raises(GeneratorExit), ExitGuard():
        raise GeneratorExit
    with pytest.raises(ValueError, match="mine"), ExitGuard():
        raise ValueError("mine")


async def test_other_task_results_are_unchanged(anyio_backend: str) -> None:
    """Results, cancellation before and during the first step, and the state that asyncio reports."""
    with guard_tasks():
        got: list[int] = []

        async def give(value: int) -> None:
            await anyio.lowlevel.checkpoint()
            got.append(value)

        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(give, number)
        assert sorted(got) == [0, 1, 2]
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            group.cancel_scope.cancel()
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        if anyio_backend == "asyncio":
            task = asyncio.create_task(give(3), name="its name")
            assert task.get_name() == "its name"
            assert "give" in repr(task)
            await task
    if anyio_backend == "asyncio":
        assert asyncio.get_running_loop().get_task_factory() is None


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_foreign_cancelled_error_is_an_error(anyio_backend: str) -> None:
    """A task group takes it for one of its own, and would end every other task."""
    assert anyio_backend == "asyncio"
    other = asyncio.create_task(asyncio.sleep(3600))
    other.cancel()
    with pytest.raises(PluginExitError, match="CancelledError"), ExitGuard():
        await other
    with anyio.CancelScope() as scope:
        scope.cancel()
        with ExitGuard():
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    with anyio.move_on_after(0) as inner, ExitGuard():
        await anyio.sleep_forever()
    assert inner.cancelled_caught
