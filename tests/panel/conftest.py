"""A panel for all tests of a file, over a sandbox, and the administrator in front of it; a file may have its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from panel.house import House, open_house, sandbox_home
from panel.visitor import Visitor

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
async def house(sandbox: Sandbox, home: Path) -> AsyncIterator[House]:
    async with open_house(home) as found:
        yield found


@pytest.fixture(scope="module")
async def visitor(house: House) -> AsyncIterator[Visitor]:
    """The administrator, who has signed in."""
    async with Visitor(house.address) as found:
        await found.sign_in()
        yield found
