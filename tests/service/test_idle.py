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

import virtual_time
from costs import threads_counted
from mailslot.service.device import open_device
from mailslot.service.pipeline import find_pipelines
from mailslot.service.service import Service
from mailslot.service.systemd import ServiceManager
from mailslot.slots.accounts import add_account
from mailslot.slots.gateway.entries import add_device, add_listener
from mailslot.slots.records import Records

if TYPE_CHECKING:
    from pathlib import Path

    import trustme

pytestmark = pytest.mark.virtual_time

SECONDS = 100.0
WAKE_UPS_A_SECOND = 2.0
"""Of the event loop by a timer. With the version of the spool read in a thread it was 13."""

THREADS_A_SECOND = 1.5
"""Calls that a worker thread is woken for, which wakes the event loop again."""


async def test_an_idle_service_sleeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipelines, jumps, calls = find_pipelines(), 0, 0

    def counted(jump: Any) -> Any:
        def jump_once_more(clock: Any, seconds: float) -> None:
            nonlocal jumps
            jumps += 1
            jump(clock, seconds)

        return jump_once_more

    async def a_while() -> None:
        nonlocal calls
        await anyio.sleep(30)
        # Each jump of virtual time is a wake-up by a timer.
        for clock in (virtual_time.JumpingLoop, trio.testing.MockClock):
            monkeypatch.setattr(clock, "jump", counted(clock.jump))
        with threads_counted() as threads:
            await anyio.sleep(SECONDS)
        monkeypatch.undo()
        calls = threads.calls

    sections = [each.section for each in pipelines if each.section is not None]
    async with open_device(Records(tmp_path), sections) as device:
        await Service(device, pipelines, ServiceManager()).run(a_while)
    assert 0 < jumps <= WAKE_UPS_A_SECOND * SECONDS
    assert 0 < calls <= THREADS_A_SECOND * SECONDS


FORBIDDEN = {
    *("typer", "rich", "pydantic", "pydantic_core", "tomlkit", "httpx2", "authlib", "joserfc", "cryptography"),
    *("starlette", "hypercorn", "jinja2", "argon2", "segno", "PIL", "pypdfium2", "xml.etree", "mailslot.testing"),
    *("psycopg", "procrastinate", "mailslot.fleet"),
}
"""What is loaded when somebody opens the panel, gets a token, sends a message or opens a document."""

OF_SESSIONS = {
    *("mailslot.smtp.server", "mailslot.pop3.server.session", "mailslot.sasl.server_core"),
    *("mailslot_plugins.gateway.servers", "mailslot_plugins.gateway.verdict", "mailslot_plugins.gateway.owner_notices"),
}
"""What listeners load when the first client comes."""

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
if listeners := int(sys.argv.pop(1)):
    from mailslot.diagnosis.gateway_log import GatewayLog
    note = GatewayLog.note_listening
    def noted(self, addresses, *more):
        note(self, addresses, *more)
        assert len(addresses) == listeners
        end()
    GatewayLog.note_listening = noted
else:
    Service.run = counted
from mailslot.cli import main
main()
"""


def modules_of_service(folder: Path, *options: str, listeners: int = 0) -> list[str]:
    """Return what a service has loaded: a while after its start, or once its listeners are open."""
    modules, home = folder / "modules", folder / "home"
    subprocess.run(
        [sys.executable, "-c", CODE, str(modules), str(listeners), "--home", str(home), "serve", *options],
        check=True,
        timeout=900,
        capture_output=True,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    found: list[str] = json.loads(modules.read_text())
    assert {name for name in found if {name, name.partition(".")[0]} & FORBIDDEN} == set()
    return found


@pytest.mark.parametrize(("panel", "most"), [(False, 613), (True, 632)], ids=["without", "with the panel"])
def test_modules_of_an_idle_service(panel: bool, most: int, tmp_path: Path) -> None:
    assert len(modules_of_service(tmp_path, *(["--listen", "127.0.0.1:0"] if panel else []))) <= most


def test_modules_of_listeners_to_which_nobody_has_connected(tmp_path: Path, certificate: trustme.LeafCert) -> None:
    pem = tmp_path / "own.pem"
    pem.write_bytes(certificate.private_key_and_cert_chain_pem.bytes())
    records = Records(tmp_path / "home")
    add_account(records, "office", "SMTP")
    add_account(records, "box", "POP")
    for protocol in ("smtp", "pop3"):
        options = {"listen": "127.0.0.1:0", "protocol": protocol}
        add_listener(records, f"{protocol}-clear", {**options, "security": "none"})
        add_listener(records, f"{protocol}-tls", {**options, "certificate": str(pem), "key": str(pem)})
    add_device(records, "hall", {"via": "account.office", "user": "hall"})
    add_device(records, "fax", {"via": "account.box", "user": "fax"}, recoverable=True)
    modules = modules_of_service(tmp_path, listeners=4)
    assert {name for name in modules if any(f"{name}.".startswith(f"{each}.") for each in OF_SESSIONS)} == set()
    assert len(modules) <= 637
