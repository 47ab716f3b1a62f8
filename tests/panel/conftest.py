"""A panel over a sandbox for all tests of a file, and a client that is signed in. Files may define their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from panel.browser_client import BrowserClient
from panel.running_panel import RunningPanel, run_panel, sandbox_home

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from mailslot_plugins.sandbox import Sandbox


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("device") / "home"


@pytest.fixture(scope="module")
async def sandbox(anyio_backend: str, home: Path) -> AsyncIterator[Sandbox]:
    async with sandbox_home(home) as running:
        yield running


@pytest.fixture(scope="module")
async def panel(sandbox: Sandbox, home: Path) -> AsyncIterator[RunningPanel]:
    async with run_panel(home) as found:
        yield found


@pytest.fixture(scope="module")
async def client(panel: RunningPanel) -> AsyncIterator[BrowserClient]:
    """The administrator, who has signed in."""
    async with BrowserClient(panel.address) as found:
        await found.sign_in()
        yield found
