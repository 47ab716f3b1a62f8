"""Attacks on the panel without a sign-in, and requests that are not allowed even with one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.to_thread import run_sync

from mailslot.errors import InputError
from mailslot.slots import keys
from mailslot.slots.keys import Key
from mailslot.slots.section import DEVICE, Section
from mailslot.slots.settings_document import SettingsFileError
from mailslot.slots.settings_reader import MAX_OCTETS
from panel.browser_client import BrowserClient
from panel.running_panel import RunningPanel, run_panel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@pytest.fixture(scope="module")
async def panel(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[RunningPanel]:
    async with run_panel(tmp_path_factory.mktemp("panel")) as found:
        yield found


@pytest.fixture
async def client(panel: RunningPanel) -> AsyncGenerator[BrowserClient]:
    async with BrowserClient(panel.address) as found:
        yield found


@pytest.fixture
async def admin(panel: RunningPanel) -> AsyncGenerator[BrowserClient]:
    async with BrowserClient(panel.address) as found:
        assert (await found.sign_in()).status_code == 303
        yield found


async def test_parsing_cookies_is_cheap(client: BrowserClient) -> None:
    """CVE-2024-7592: unquoting one takes time that grows with the square of its backslashes."""
    quoted = await client.get("/sign-in", headers={"cookie": 'language="de"'})
    assert '<html lang="en"' in quoted.text
    with anyio.fail_after(120):
        answer = await client.get("/healthz", headers={"cookie": 'theme="' + r"\a" * 7_000 + '"'})
    assert answer.status_code == 200


async def test_long_addresses_are_cheap(client: BrowserClient) -> None:
    """A look into every folder of a path that has thousands of them."""
    assert (await client.get(f"/static/{'a/' * 10_000}")).status_code == 431
    assert (await client.get(f"/static/{'a/' * 5_000}")).status_code == 404


@pytest.mark.parametrize("charset", ["idna", "undefined", "raw_unicode_escape"])
async def test_only_urlencoded_forms_are_accepted(
    client: BrowserClient, charset: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What a part of a form is encoded in is not for its sender to choose among all that Python knows."""
    fields = {"csrf": await client.token(), "password": "\\ud800"}
    parts = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{fields[name]}\r\n' for name in fields
    )
    headers = {"content-type": f"multipart/form-data; boundary=x; charset={charset}"}
    answer = await client.post("/sign-in", content=f"{parts}--x--\r\n", headers=headers)
    assert answer.status_code == 403
    assert not caplog.records


async def test_secrets_are_not_echoed(admin: BrowserClient) -> None:
    headers = {"x-csrf-token": await admin.token("/administration")}
    answer = await admin.patch("/api/slots/alert.smtp/settings", json={"password": ["hunter2"]}, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["title"] == "password must be a text or null."
    for webhook in ("http://hooks.example/hunter2", "https://hooks.example/hunter2" + 2_000 * "x", "hunter2\0"):
        answer = await admin.patch("/api/sections/device", json={"webhook": webhook}, headers=headers)
        assert answer.status_code == 422
        assert answer.json()["title"].startswith(("The setting webhook must be", "webhook must have"))
        assert "hunter2" not in answer.text


async def test_settings_cannot_exceed_the_readable_size(panel: RunningPanel, admin: BrowserClient) -> None:
    """Else, one setting too many leaves a file with which the device does not start again."""
    settings = panel.device.records.settings
    before = settings.path.read_bytes() if settings.path.exists() else b""
    section = Section("notes", {f"note{number}": Key("a text", keys.text) for number in range(MAX_OCTETS // 900)})
    with pytest.raises(SettingsFileError, match="larger than"):
        await run_sync(settings.change_section, section, dict.fromkeys(section.keys, "x" * 1000))
    with pytest.raises(InputError, match="a text on one line"):
        await run_sync(settings.change_section, DEVICE, {"name": "x" * 1001})
    assert (settings.path.read_bytes() if settings.path.exists() else b"") == before
    assert (await admin.get("/")).status_code == 200
