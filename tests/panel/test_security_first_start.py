"""The first start: who may set the first password, and the state of the device afterwards."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.to_thread import run_sync

from mailslot.errors import InputError
from mailslot.service.device import open_device
from mailslot.slots.records import Records
from mailslot_plugins.panel.app import Panel
from mailslot_plugins.panel.section import PANEL
from mailslot_plugins.panel.security.security import Security
from mailslot_plugins.panel.server import announcement
from panel.browser_client import BrowserClient, words
from panel.running_panel import PASSWORD, RunningPanel, run_panel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

START = "/first-start"
BOTH = {"password": PASSWORD, "again": PASSWORD}
ELSEWHERE = {"x-forwarded-for": "192.0.2.9"}
"""What a proxy on this machine adds to a request from another."""


@pytest.fixture
async def unclaimed(anyio_backend: str, tmp_path: Path) -> AsyncGenerator[RunningPanel]:
    async with run_panel(tmp_path, claimed=False) as found:
        yield found


async def test_from_an_unclaimed_device_to_the_first_slot(unclaimed: RunningPanel) -> None:
    async with BrowserClient(unclaimed.address) as client:
        for path in ("/", "/sign-in", "/administration", f"{START}/device"):
            assert (await client.get(path)).headers["location"] == START
        assert (await client.get("/api/slots")).status_code == 401
        assert "Setup code" not in words(await client.get(START))
        short = await client.submit(START, password="short", again="short")
        assert (short.status_code, "at least 8 characters" in words(short)) == (422, True)
        assert 'aria-describedby="password-error' in short.text
        differs = await client.submit(START, password=PASSWORD, again=PASSWORD.upper())
        assert (differs.status_code, "The two passwords do not match." in words(differs)) == (422, True)
        planted = client.session
        claimed = await client.submit(START, **BOTH)
        assert claimed.headers["location"] == f"{START}/device"
        assert client.session != planted
        device = await client.submit(f"{START}/device", name="Copier 2", location="Second floor", language="de")
        assert device.headers["location"] == f"{START}/purpose"
        assert f'href="{START}/slot"' in (await client.get(f"{START}/purpose")).text
        assert (unclaimed.device.identity.name, unclaimed.device.identity.language) == ("Copier 2", "de")
        nobody = await client.submit(f"{START}/slot", provider="microsoft365", account="")
        assert (nobody.status_code, "Enter the account." in words(nobody)) == (422, True)
        own = await client.submit(f"{START}/slot", provider="custom", account="scanner@example.com")
        assert own.headers["location"] == "/slots/network.smtp"
        assert unclaimed.device.records.effective("smtp").account == "scanner@example.com"
        slot = await client.submit(f"{START}/slot", provider="microsoft365", account="scanner@example.com")
        assert slot.headers["location"] == f"{START}/done"
        settings = unclaimed.device.records.effective("smtp")
        assert (settings.account, settings.authentication) == ("scanner@example.com", "oauth2")
        assert (settings.server, settings.sender_address) == ("smtp.office365.com", "scanner@example.com")
    async with BrowserClient(unclaimed.address) as other:
        # What was somebody's stays theirs.
        assert (await other.get(START)).headers["location"] == f"{START}/device"
        assert (await other.get(f"{START}/device")).headers["location"].startswith("/sign-in")
        again = await other.post(START, data={"csrf": await other.token(), "password": "mine now", "again": "mine now"})
        assert again.headers["location"] == f"{START}/device"
        assert (await other.sign_in("mine now")).status_code == 422
        assert (await other.sign_in()).status_code == 303


async def test_setup_from_another_machine_needs_the_code(tmp_path: Path) -> None:
    """The code is told on the terminal, and never to a log."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with open_device(Records(tmp_path)) as device, anyio.create_task_group() as group:
            panel = Panel(device)
            [_, sentence] = await panel.announce(listener, terminal=True)
            [code] = re.findall(r"[A-Z2-9]{5}-[A-Z2-9]{5}", sentence)
            logged = " ".join(await panel.announce(listener, terminal=False))
            assert code not in logged
            assert "mailslot panel password" in logged
            group.start_soon(panel.serve, listener)
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            async with BrowserClient(address, headers=ELSEWHERE) as client:
                assert "Setup code" in words(await client.get(START))
                none = await client.submit(START, **BOTH)
                wrong = await client.submit(START, code="AAAAA-AAAAA", **BOTH)
                for answer in (none, wrong):
                    assert (answer.status_code, "Wrong code." in words(answer)) == (422, True)
                assert (await client.submit(START, code="ä", **BOTH)).status_code == 422
                # By now it waits a moment for its turn, and is not refused.
                right = await client.submit(START, code=f" {code.lower().replace('-', ' ')}", **BOTH)
                assert right.headers["location"] == f"{START}/device"
                assert await client.is_in()
            assert code not in " ".join(await panel.announce(listener, terminal=True))
            group.cancel_scope.cancel()


async def test_only_one_of_two_concurrent_setups_succeeds(unclaimed: RunningPanel) -> None:
    locations: list[str] = []

    async def claim(number: int) -> None:
        async with BrowserClient(unclaimed.address) as client:
            both = {"password": f"password {number}", "again": f"password {number}"}
            await client.submit(START, **both)
            locations.append("in" if await client.is_in() else "out")

    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(claim, number)
    assert sorted(locations) == ["in", "out", "out", "out"]


async def test_an_unreadable_hash_is_not_an_unclaimed_device(tmp_path: Path) -> None:
    (tmp_path / "panel").write_text("not a folder")
    async with run_panel(tmp_path, claimed=False) as panel, BrowserClient(panel.address) as client:
        for path in ("/", START):
            answer = await client.get(path)
            assert answer.status_code == 503
            assert "cannot be read" in answer.text


async def test_a_damaged_hash_says_what_to_do(tmp_path: Path) -> None:
    async with run_panel(tmp_path) as panel, BrowserClient(panel.address) as client:
        (tmp_path / "panel" / "password").write_text("damaged")
        answer = await client.sign_in()
        assert (answer.status_code, "mailslot panel password" in words(answer)) == (503, True)


async def test_the_announcement_of_a_panel_on_the_network(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as listener:
        async with open_device(Records(tmp_path)) as device:
            security = Security(device)
            result = await announcement(device, security, listener, terminal=False)
            assert re.fullmatch(rf"The panel is at https://[\d.]+:{listener.getsockname()[1]}/\.", result[0])
            assert security.certificate
            assert security.certificate.fingerprint in result[1]
            assert re.fullmatch(r"([0-9A-F]{2}:){31}[0-9A-F]{2}", security.certificate.fingerprint)
            await run_sync(device.records.settings.change_section, PANEL, {"certificate": "/nowhere/chain.pem"})
            with pytest.raises(InputError, match="set both, or neither"):
                await announcement(device, security, listener, terminal=False)
