"""Each task has a process of its own, forked from one that has loaded what it needs."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.to_thread import run_sync

from mailslot.spool.errors import SpoolError
from mailslot_plugins.intake import process
from mailslot_plugins.intake.fork_client import ForkServer
from mailslot_plugins.intake.mail import open_mail
from mailslot_plugins.intake.process import IntakeError, run_task
from shortage import no_descriptors
from spool.conftest import small_disk as small_disk  # noqa: PLC0414 - pytest finds the fixture by this name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENCODED = b"Content-Transfer-Encoding: base64\r\n\r\n"
MAIL = b"From: alice@example.com\r\nSubject: status\r\n\r\nstatus\r\n"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ForkServer]:
    server = ForkServer()
    monkeypatch.setattr(process, "_server", server)
    yield server
    server.forget()


@pytest.fixture
def mail(tmp_path: Path) -> Path:
    path = tmp_path / "mail.eml"
    path.write_bytes(MAIL)
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def pid_of(server: ForkServer) -> int:
    assert server._process is not None
    return server._process.pid


def forked_by(server: ForkServer) -> list[int]:
    pid = pid_of(server)
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def folder_of(pid: int) -> Path:
    return Path(f"/proc/{pid}/cwd").readlink()


def environment_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def descriptors_of(pid: int) -> set[int]:
    return {int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir()}


def runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def until(holds: Callable[[], bool]) -> None:
    """Wait until the processes, which tell of nothing, have come so far."""
    with anyio.fail_after(120):
        while not holds():  # noqa: ASYNC110 - as said
            await anyio.sleep(0.01)


async def open_pipe(folder: Path) -> None:
    """Run a task that waits for ever: what it opens is a pipe that nobody writes to."""
    os.mkfifo(folder / "pipe")
    await run_task("mail", {"path": str(folder / "pipe")}, folder)


async def refused(folder: Path) -> None:
    with pytest.raises(IntakeError, match="the program that reads it crashed"):
        await open_pipe(folder)


async def begun(server: ForkServer) -> int:
    """Return the process of the one task, once it has its folder, and so none of our descriptors."""
    await until(lambda: server._process is not None)
    await until(lambda: [folder_of(each) != Path("/") for each in forked_by(server)] == [True])
    return forked_by(server)[0]


async def test_many_tasks_take_one_start(server: ForkServer, mail: Path) -> None:
    """What took eighty milliseconds of processor time for each mail is done once; counted, not timed."""
    await open_mail(mail, mail.parent)
    first = pid_of(server)
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(open_mail, mail, mail.parent)
    assert pid_of(server) == first
    await until(lambda: not forked_by(server))


def test_a_mail_is_opened_with_what_is_there(mail: Path) -> None:
    """Whatever the forked process had to import, it would import for each mail."""
    code = """
import importlib, os, sys
from mailslot_plugins.intake import fork_server
for name in fork_server.PRELOADED:
    importlib.import_module(f"mailslot_plugins.intake.{name}")
from mailslot_plugins.intake.limits import Limits
from mailslot_plugins.intake.tasks import perform_task
before = set(sys.modules)
perform_task("mail", {"path": sys.argv[1]}, Limits())
print(sorted(set(sys.modules) - before))
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, str(mail)],
        cwd=mail.parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=900,
    )
    assert ran.stdout == "[]\n"


async def test_what_a_process_gets(server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILSLOT_SECRET", "geheim")
    async with anyio.create_task_group() as group:
        group.start_soon(open_pipe, tmp_path)
        pid = await begun(server)
        assert b"geheim" not in environment_of(pid)
        assert folder_of(pid) == tmp_path
        assert os.getsid(pid) == pid
        # The request, the result, the standard error, and a copy of the result's.
        await until(lambda: descriptors_of(pid) <= {0, 1, 2, 3})
        group.cancel_scope.cancel()


async def test_nothing_runs_on_after_a_cancellation(server: ForkServer, tmp_path: Path) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(open_pipe, tmp_path)
        pid = await begun(server)
        group.cancel_scope.cancel()
    assert not runs(pid)


async def test_a_task_that_kills_its_process_is_refused_alone(server: ForkServer, tmp_path: Path, mail: Path) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(refused, tmp_path)
        os.kill(await begun(server), signal.SIGKILL)
    first = pid_of(server)
    assert (await open_mail(mail, tmp_path)).subject == "status"
    assert pid_of(server) == first


async def test_a_server_that_has_ended_is_started_again(server: ForkServer, mail: Path) -> None:
    await open_mail(mail, mail.parent)
    first = pid_of(server)
    os.kill(first, signal.SIGKILL)
    assert server._process is not None
    await run_sync(server._process.wait)
    assert (await open_mail(mail, mail.parent)).subject == "status"
    assert pid_of(server) != first


async def test_a_server_that_ends_with_the_order_is_asked_again(server: ForkServer, mail: Path) -> None:
    await open_mail(mail, mail.parent)
    first = pid_of(server)
    # It stands still when it gets the order, and is gone before it has read it.
    os.kill(first, signal.SIGSTOP)
    async with anyio.create_task_group() as group:
        group.start_soon(open_mail, mail, mail.parent)
        await anyio.sleep(0.1)
        os.kill(first, signal.SIGKILL)
    assert pid_of(server) != first


async def test_only_the_server_that_has_ended_is_forgotten(server: ForkServer, mail: Path) -> None:
    """Several tasks may find that it has ended. The first one starts another, whose tasks the others must not kill."""
    await open_mail(mail, mail.parent)
    forked, ended = await run_sync(server.order, mail.parent)
    for each in forked:
        each.close()
    await run_sync(server.forget, ended)
    await open_mail(mail, mail.parent)
    running = pid_of(server)
    await run_sync(server.forget, ended)
    assert pid_of(server) == running


async def test_a_machine_without_descriptors_is_not_the_fault_of_a_mail(server: ForkServer, mail: Path) -> None:
    with no_descriptors(), pytest.raises(SpoolError, match="Nothing can be opened at the moment") as caught:
        await open_mail(mail, mail.parent)
    assert caught.value.retryable
    assert (await open_mail(mail, mail.parent)).subject == "status"


async def test_a_server_that_starts_no_process_is_not_the_fault_of_a_mail(
    server: ForkServer, mail: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", "/bin/true")
        with pytest.raises(SpoolError, match="Nothing can be opened at the moment"):
            await open_mail(mail, mail.parent)
    assert (await open_mail(mail, mail.parent)).subject == "status"


@pytest.mark.parametrize("size", [40_000, 4_000_000], ids=["nothing can be written", "the disk becomes full"])
async def test_a_full_disk_is_not_the_fault_of_a_mail(
    home: Path, small_disk: Callable[[str], None], tmp_path: Path, size: int
) -> None:
    """The disk has two megabytes; the mail is elsewhere."""
    text = base64.encodebytes(b"%PDF-1.4\n" + b"x" * size)
    path = tmp_path / "mail.eml"
    path.write_bytes(b"From: a@example.com\r\nContent-Type: application/pdf\r\n" + ENCODED + text)
    filler = home / "filler"
    filler.write_bytes(b"x" * (2_080_000 if size < 2_000_000 else 0))
    with pytest.raises(SpoolError, match="the disk is full") as caught:
        await open_mail(path, home)
    assert (caught.value.cause, caught.value.retryable) == ("spool_full", True)
    small_disk("size=16m")
    assert [part.kind for part in (await open_mail(path, home)).parts] == ["pdf"]


async def test_tasks_end_with_the_service(server: ForkServer, tmp_path: Path) -> None:
    """As where it is killed, so that nobody is left to end them."""
    async with anyio.create_task_group() as group:
        group.start_soon(refused, tmp_path)
        pid = await begun(server)
        assert server._orders is not None
        assert server._process is not None
        server._orders.close()
        await run_sync(server._process.wait)
        assert not runs(pid)
