"""What an idle service costs: wake-ups and loaded modules, which are counted, since neither depends on the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trio.testing
from anyio._core._eventloop import get_async_backend

import virtual_time
from mailslot.service.device import open_device
from mailslot.service.pipeline import find_pipelines
from mailslot.service.service import Service
from mailslot.service.systemd import ServiceManager
from mailslot.slots.records import Records

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.virtual_time

SECONDS = 100.0
WAKE_UPS_A_SECOND = 2.0
"""Of the event loop by a timer. With the version of the spool read in a thread it was 13."""

THREADS_A_SECOND = 1.5
"""Calls that a worker thread is woken for, which wakes the event loop again."""


class Counts:
    """How often something was called."""

    def __init__(self) -> None:
        self.jumps = self.threads = 0

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        """Count the jumps of virtual time, each of which is a wake-up by a timer, and the calls in threads."""
        for clock in (virtual_time.JumpingLoop, trio.testing.MockClock):
            patch.setattr(clock, "jump", self._counted(clock.jump))
        backend = get_async_backend()
        run: Any = backend.run_sync_in_worker_thread

        async def counted(*arguments: Any, **options: Any) -> Any:
            self.threads += 1
            return await run(*arguments, **options)

        patch.setattr(backend, "run_sync_in_worker_thread", counted)

    def _counted(self, jump: Any) -> Any:
        def counted(clock: Any, seconds: float) -> None:
            self.jumps += 1
            jump(clock, seconds)

        return counted


async def test_an_idle_service_sleeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipelines, counts = find_pipelines(), Counts()

    async def a_while() -> None:
        await anyio.sleep(30)
        counts.watch(monkeypatch)
        await anyio.sleep(SECONDS)
        monkeypatch.undo()

    sections = [each.section for each in pipelines if each.section is not None]
    async with open_device(Records(tmp_path), sections) as device:
        await Service(device, pipelines, ServiceManager()).run(a_while)
    assert 0 < counts.jumps <= WAKE_UPS_A_SECOND * SECONDS
    assert 0 < counts.threads <= THREADS_A_SECOND * SECONDS


FORBIDDEN = {
    *("typer", "rich", "pydantic", "pydantic_core", "tomlkit", "httpx2", "authlib", "joserfc", "cryptography"),
    *("starlette", "hypercorn", "jinja2", "argon2", "segno", "PIL", "pypdfium2", "xml.etree", "mailslot.testing"),
    *("psycopg", "procrastinate", "mailslot.fleet"),
}
"""What is loaded when somebody opens the panel, gets a token, sends a message or opens a document."""

CODE = """
import atexit, json, os, signal, sys, threading
def end():
    json.dump(sorted(sys.modules), open(at, "w"))
    os.kill(os.getpid(), signal.SIGTERM)
at = sys.argv.pop(1)
sys.argv[0] = "mailslot"
from mailslot.service.service import Service
run = Service.run
async def counted(self, stopped, ready, ending):
    def tell():
        ready()
        # The tasks of the service have begun by then.
        import anyio.from_thread, asyncio
        asyncio.get_running_loop().call_later(5, end)
    await run(self, stopped, tell, ending)
Service.run = counted
from mailslot.cli import main
main()
"""


@pytest.mark.parametrize(("panel", "most"), [(False, 610), (True, 630)], ids=["without", "with the panel"])
def test_modules_of_an_idle_service(panel: bool, most: int, tmp_path: Path) -> None:
    listen = ["--listen", "127.0.0.1:0"] if panel else []
    subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path / "modules"), "--home", str(tmp_path / "home"), "serve", *listen],
        check=True,
        timeout=900,
        capture_output=True,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    modules = json.loads((tmp_path / "modules").read_text())
    found = {name for name in modules if {name, name.partition(".")[0]} & FORBIDDEN}
    assert found == set()
    assert len(modules) <= most
