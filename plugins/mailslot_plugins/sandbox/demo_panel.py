"""The last part of the demo: the panel of a device that is connected to a sandbox."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import anyio
from rich.console import Console

from mailslot.cli.suggestion import suggested_command
from mailslot.home.folder import FolderHome
from mailslot.plugin import open_device
from mailslot.service.panel import find_panel
from mailslot.service.pipeline import find_pipelines
from mailslot.service.service import Service, wait_for_signal
from mailslot.service.systemd import ServiceManager
from mailslot_plugins.sandbox.demo_device import PASSWORD, populate_demo_device, set_up_demo_device
from mailslot_plugins.sandbox.sandbox import run_sandbox

if TYPE_CHECKING:
    from mailslot_plugins.sandbox.sandbox import Sandbox

_PORT: Final = 8725


async def run_demo_panel(page: Path) -> None:
    """Run a sandbox, and a device with its panel that is connected to it, until cancelled."""
    panel_of = find_panel()
    pipelines = find_pipelines()
    console = Console()
    with TemporaryDirectory(prefix="mailslot-demo-") as folder, _listener() as listener:
        async with run_sandbox() as sandbox:
            records = set_up_demo_device(Path(folder), sandbox)
            sections = [each.section for each in pipelines if each.section is not None]
            async with open_device(records, sections) as device:
                with console.status("Somebody signs in, a scan is accepted, a fax comes in …"):
                    await populate_demo_device(device, sandbox, page)
                panel = ("panel", partial(panel_of(device).serve, listener))
                service = Service(
                    device, pipelines, ServiceManager.from_environment({}, os.getpid()), extra_tasks=[panel]
                )
                address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
                # Signals are handled, so that the folder with its keys is deleted in any case.
                with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
                    stopped = partial(wait_for_signal, device, signals)
                    await service.run(stopped, partial(_print_instructions, console, address, sandbox, Path(folder)))


def _print_instructions(console: Console, address: str, sandbox: Sandbox, folder: Path) -> None:
    """Print what to try."""
    console.print(
        f"\nThe panel is open at [bold]{address}[/bold]   password: [bold]{PASSWORD}[/bold]\n\n"
        "  • Faxes and alarms work: press Connection Test.\n"
        "  • A scan waits, because the token for sending was revoked: see why, get it again, and watch it being sent.\n"
        "  • E-mail Print has never had a token: get one, then check for mail.\n"
    )
    console.print("Sign-ins go to the sandbox's provider, which accepts everybody. Press Ctrl-C to stop.\n")
    for name, endpoint in (
        ("submission", sandbox.smtp),
        ("", sandbox.smtps),
        ("POP3", sandbox.pop3),
        ("", sandbox.pop3s),
    ):
        console.print(f"  {name:12}{endpoint}", highlight=False)
    console.print(f"  {'home folder':12}{folder}\n", highlight=False)
    command = suggested_command(FolderHome(folder), "slots")
    if shutil.which("mailslot") is None and Path(sys.argv[0]).name == "mailslot":
        # In a checkout, the command is in .venv.
        command = command.replace("mailslot", shlex.quote(sys.argv[0]), 1)
    console.print(f"In another terminal: {command}", highlight=False, soft_wrap=True)


def _listener() -> socket.socket:
    """Return a socket that listens on loopback, on a fixed port if that is free."""
    try:
        return socket.create_server(("127.0.0.1", _PORT))
    except OSError:
        return socket.create_server(("127.0.0.1", 0))
