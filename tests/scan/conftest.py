"""A device with an account whose mail server does not exist, so that accepted mail stays in the spool."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailslot.service.device import Device, open_device
from mailslot.slots.records import Records
from mailslot_plugins.scan.section import SECTION
from scan.sample_documents import ACCOUNT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

SETTINGS = {"server": "127.0.0.1", "port": 9, "security": "none", "sender_address": ACCOUNT}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    Records(home).change("smtp", SETTINGS, {})
    return home


@pytest.fixture
def set_scan(home: Path) -> Callable[..., None]:
    """Sets the section ``[scan]``."""

    def change(**values: object) -> None:
        Records(home).settings.change_section(SECTION, values)

    return change


@pytest.fixture
async def device(home: Path) -> AsyncIterator[Device]:
    async with open_device(Records(home), [SECTION]) as device:
        yield device
