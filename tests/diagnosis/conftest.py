"""A device, and a sandbox in front of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from diagnosis.device import Device
from mailslot_plugins.sandbox import DOVECOT, run_sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from mailslot_plugins.sandbox import Personality, Sandbox


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path / "home")


@pytest.fixture
def personality() -> Personality:
    """What the sandbox imitates; a test may parametrize it."""
    return DOVECOT


@pytest.fixture
async def sandbox(personality: Personality) -> AsyncIterator[Sandbox]:
    """A sandbox; the test fails if the sandbox had an internal error."""
    async with run_sandbox(personality=personality) as running:
        yield running
        assert not running.errors
