"""A token service and a device's home folder, and a watch over everything secret that passes between them."""

from __future__ import annotations

import io
import logging
from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

import pytest

from refresh import device
from refresh.device import FakeClocks
from refresh.service import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from refresh.service import Service


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def clocks() -> FakeClocks:
    return FakeClocks()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service; nothing it issues may be found afterwards in a log, a file or an error."""
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    device.ERRORS.clear()
    try:
        with serving() as service:
            yield service
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    told = log.getvalue() + "".join(device.ERRORS)
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert "connect_tcp" in told or not service.state.asked, "nothing was logged, so nothing was proved"
    for secret in [*service.issued, *filter(None, [service.secret])]:
        for form in (
            secret,
            quote_plus(secret),
            *(b64encode(b" " * n + secret.encode())[4:-4].decode() for n in range(3)),
        ):
            assert form not in told
            assert form.encode() not in kept
