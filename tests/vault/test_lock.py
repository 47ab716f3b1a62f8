"""The lock is exclusive, and a dead holder does not block."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest

from mailslot.vault.errors import VaultError
from mailslot.vault.lock import blocking_lock, process_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

HOLDER = """
import sys, time
from pathlib import Path
from mailslot.vault.lock import blocking_lock
with blocking_lock(Path(sys.argv[1]), timeout=300):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "locks" / "smtp.lock"


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Run another process that holds the lock until its input ends."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


async def is_free(path: Path) -> bool:
    try:
        async with process_lock(path, timeout=0):
            return True
    except VaultError:
        return False


async def test_tasks_exclude_each_other(path: Path) -> None:
    inside = most = done = 0

    async def work() -> None:
        nonlocal inside, most, done
        async with process_lock(path, timeout=300):
            inside += 1
            most = max(most, inside)
            await anyio.sleep(0.002)
            inside -= 1
            done += 1

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(work)
    assert (most, done) == (1, 10)


async def test_threads_and_tasks_exclude_each_other(path: Path) -> None:
    with blocking_lock(path, timeout=0):
        assert not await is_free(path)

        def wait() -> None:
            with blocking_lock(path, timeout=0.05):
                raise AssertionError

        with pytest.raises(VaultError):
            await anyio.to_thread.run_sync(wait)
    assert await is_free(path)


@pytest.mark.parametrize("timeout", [0, 0.2])
async def test_waiting_times_out(path: Path, timeout: float) -> None:
    async with process_lock(path, timeout=1):
        files = open_files()
        start = time.monotonic()
        with pytest.raises(VaultError, match=rf"in use by another .* within {timeout:g} seconds\.$") as caught:
            async with process_lock(path, timeout=timeout):
                raise AssertionError
        assert time.monotonic() - start >= timeout
        assert open_files() <= files
    assert caught.value.cause == "token_store_busy"
    assert caught.value.stage == "token"
    assert caught.value.retryable
    assert str(path) in caught.value.detail


async def test_the_timeout_limits_waiting_only(path: Path) -> None:
    async with process_lock(path, timeout=0.05):
        await anyio.sleep(0.15)


async def test_an_exception_releases_the_lock(path: Path) -> None:
    with pytest.raises(KeyError):
        async with process_lock(path, timeout=1):
            raise KeyError
    assert await is_free(path)


async def test_cancelled_while_waiting(path: Path) -> None:
    async with process_lock(path, timeout=1):
        files = open_files()
        with anyio.move_on_after(0.1) as scope:
            async with process_lock(path, timeout=300):
                raise AssertionError
        assert scope.cancelled_caught
        assert open_files() <= files
        assert not await is_free(path)
    assert await is_free(path)


async def test_cancelled_while_holding(path: Path) -> None:
    files = open_files()
    with anyio.CancelScope() as scope:
        async with process_lock(path, timeout=1):
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert open_files() <= files
    assert await is_free(path)


async def test_cancelled_before_acquiring(path: Path) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with process_lock(path, timeout=1):
            raise AssertionError
    assert await is_free(path)


async def test_waiting_does_not_block_the_event_loop(path: Path) -> None:
    async def wait() -> None:
        async with process_lock(path, timeout=300):
            raise AssertionError

    with holder(path):
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            for _ in range(100):
                await anyio.sleep(0.001)
            group.cancel_scope.cancel()


async def test_an_exited_holder_releases_the_lock(path: Path) -> None:
    with holder(path) as process:
        assert not await is_free(path)
        process.stdin.close()
        async with process_lock(path, timeout=300):
            pass


async def test_a_killed_holder_releases_the_lock(path: Path) -> None:
    with holder(path) as process:
        async with anyio.create_task_group() as group:
            held = anyio.Event()

            async def wait() -> None:
                async with process_lock(path, timeout=300):
                    held.set()

            group.start_soon(wait)
            await anyio.sleep(0.1)
            assert not held.is_set()
            process.send_signal(signal.SIGKILL)
            await held.wait()


def test_a_forked_child_does_not_hold_the_lock(path: Path) -> None:
    with blocking_lock(path, timeout=1):
        child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    with child, blocking_lock(path, timeout=0):
        assert child.poll() is None
        child.kill()


def test_the_lock_file_is_empty_and_kept(path: Path) -> None:
    for _ in range(2):
        with blocking_lock(path, timeout=0):
            pass
        assert path.read_bytes() == b""
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def folder_in_its_place(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


async def test_a_folder_instead_of_the_lock_file(folder_in_its_place: Path) -> None:
    with pytest.raises(VaultError) as caught:
        async with process_lock(folder_in_its_place, timeout=1):
            raise AssertionError
    assert caught.value.cause == "token_store_unwritable"
