"""Runs a panel over a sandbox that imitates the provider and the mail servers, for tests with a browser or client."""

from __future__ import annotations

import os
import re
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.to_thread import run_sync
from argon2 import PasswordHasher

from mailslot.service.device import open_device
from mailslot.service.pipeline import find_pipelines
from mailslot.service.service import Service
from mailslot.service.systemd import ServiceManager
from mailslot.slots.records import Records
from mailslot.wire.secret import Secret
from mailslot_plugins.panel.app import Panel
from mailslot_plugins.panel.security import password as password_
from mailslot_plugins.sandbox.sandbox import run_sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from playwright.sync_api import Page

    from mailslot.service.device import Device
    from mailslot_plugins.sandbox.personality import Personality
    from mailslot_plugins.sandbox.sandbox import Sandbox

PASSWORD = "correct horse battery"
SIZES = {"phone": (390, 844), "panel": (800, 480), "desktop": (1280, 800)}
SCANNER = "scanner@example.com"


@dataclass
class RunningPanel:
    """A running panel.

    Attributes:
        address: its address, such as ``http://127.0.0.1:40001``.
        device: its device.
    """

    address: str
    device: Device

    def sign_in(self, page: Page, path: str = "/", password: str = PASSWORD) -> None:
        """Sign in as the administrator, and go on to a page."""
        page.goto(f"{self.address}/sign-in")
        page.fill("input[name=password]", password)
        page.click("main button")
        page.wait_for_url(re.compile(r"/$"))
        if path != "/":
            page.goto(self.address + path)


@asynccontextmanager
async def run_panel(
    home: Path,
    *,
    claimed: bool = True,
    serves: bool = False,
    before: Callable[[Device], Awaitable[None]] | None = None,
) -> AsyncGenerator[RunningPanel]:
    """Run the panel of a home folder on a free port of 127.0.0.1.

    Args:
        home: the folder.
        claimed: whether the administrator's password is set.
        serves: whether the service also delivers and polls.
        before: prepares the device before the panel is started.
    """
    if claimed:
        await run_sync(_set_password, home)
    pipelines = find_pipelines()
    sections = [each.section for each in pipelines if each.section is not None]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with open_device(Records(home), sections) as device, anyio.create_task_group() as group:
            if before is not None:
                await before(device)
            panel = partial(Panel(device).serve, listener)
            if serves:
                manager = ServiceManager.from_environment({}, os.getpid())
                group.start_soon(
                    Service(device, pipelines, manager, extra_tasks=[("panel", panel)]).run, anyio.sleep_forever
                )
            else:
                group.start_soon(panel)
            try:
                yield RunningPanel(f"http://127.0.0.1:{listener.getsockname()[1]}", device)
            finally:
                group.cancel_scope.cancel()


def _set_password(home: Path) -> None:
    """Store a hash that takes next to no time to make and, as it says so itself, to verify."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(password_, "_hasher", lambda: PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        password_.Password(home).set(Secret(PASSWORD))


@asynccontextmanager
async def sandbox_home(home: Path, personality: Personality | None = None) -> AsyncGenerator[Sandbox]:
    """Run a sandbox, and set up the records for it, without tokens."""
    options: dict[str, Any] = {} if personality is None else {"personality": personality}
    async with run_sandbox(**options) as sandbox:
        await run_sync(set_up, home, sandbox)
        yield sandbox


def set_up(home: Path, sandbox: Sandbox) -> None:
    """Write the settings for a device in a sandbox."""
    home.mkdir(parents=True, exist_ok=True)
    authority = home / "ca.pem"
    authority.write_bytes(sandbox.ca_pem)
    common: dict[str, object] = {
        "authentication": "oauth2",
        "ca_file": str(authority),
        "issuer": sandbox.issuer,
        "client_id": sandbox.provider.register("panel").id,
        "account": SCANNER,
    }
    smtp: Mapping[str, object] = {
        **common,
        "server": "localhost",
        "port": sandbox.smtp.port,
        "security": "starttls",
        "sender_address": SCANNER,
    }
    pop = {**common, "server": "localhost", "port": sandbox.pop3s.port, "security": "tls"}
    records = Records(home)
    records.change("smtp", smtp, {})
    records.change("alert-smtp", smtp, {})
    for record in ("fax-pop", "print-pop", "status-pop"):
        records.change(record, pop, {})


def whole_text(page: Page, selector: str = "main") -> str:
    """Return what a page says once it is whole; after a click, no more than its first octets need have come."""
    page.wait_for_load_state()
    return page.inner_text(selector)


def take_screenshots(page: Page, name: str, *, schemes: tuple[str, ...] = ("light", "dark")) -> None:
    """Take pictures of a page in all sizes, where MAILSLOT_SCREENSHOTS names a folder."""
    folder = os.environ.get("MAILSLOT_SCREENSHOTS")
    if not folder:
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    before = page.viewport_size
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        for scheme in schemes:
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type] - light or dark
            page.screenshot(path=f"{folder}/{name}-{size}-{scheme}.png", full_page=size != "panel")
    if before:
        page.set_viewport_size(before)


def overflowing_elements(page: Page) -> list[str]:
    """Return the elements that are wider than the page, by tag and class, once it is there with its style sheets."""
    page.wait_for_load_state()
    return page.evaluate(
        """() => [...document.querySelectorAll("main *")]
            .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1
                && !e.closest(".scroll, .dialogue, .hidden"))
            .map(e => `${e.tagName}.${e.className}`)"""
    )
