"""A sandbox for each test, and clients for it that are not ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailslot_plugins.sandbox import DOVECOT, run_sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mailslot_plugins.sandbox import Personality, Sandbox


@pytest.fixture
def personality() -> Personality:
    """The personality of the sandbox; a test may parametrize it."""
    return DOVECOT


@pytest.fixture
async def sandbox(personality: Personality) -> AsyncIterator[Sandbox]:
    """A sandbox that must not have failed at the end."""
    async with run_sandbox(personality=personality) as running:
        yield running
        assert not running.errors
