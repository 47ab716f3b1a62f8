"""Runs the panel of a fleet, and signs people in at oidc-provider as a browser would."""

from __future__ import annotations

import re
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html import unescape
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import anyio
import httpx2
from anyio.to_thread import run_sync

from mailslot.fleet.homes import FleetHomes
from mailslot.fleet.opening import FleetPlaces
from mailslot_plugins.panel.fleet.app import FleetPanel
from panel.browser_client import NO_TLS, BrowserClient

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from lab.postgres import Fleet
    from lab.provider import Provider

SETTINGS = """\
address = "{address}"
name = "Example Print Services"

[openid]
issuer = "{issuer}"
client_id = "fleet"
client_secret_file = "{secret}"
scopes = ["openid", "email", "groups"]

[[roles]]
value = "mailslot-fleet"
role = "fleet"

[[roles]]
value = "mailslot-tenant-{{tenant}}"
role = "tenant"

[[roles]]
value = "mailslot-readers"
role = "read-only"
"""

# What stands behind a plus sign in a login are the person's groups, in the lab's provider.
BOSS = "alice+mailslot-fleet"
READER = "carol+mailslot-readers"
NOBODY = "bob"


def of_tenant(tenant: str) -> str:
    """The login of somebody who works for one tenant."""
    return f"bob+mailslot-tenant-{tenant}"


@dataclass
class RunningFleetPanel:
    """A running panel.

    Attributes:
        address: its address.
        provider: where people sign in.
        listens: where this process of it listens; browsers do not know that.
    """

    address: str
    provider: Provider
    listens: str

    @asynccontextmanager
    async def person(self, login: str) -> AsyncGenerator[BrowserClient]:
        """Give a client in which somebody has signed in."""
        async with BrowserClient(self.address) as client:
            answer = await self.sign_in(client, login)
            assert answer.status_code == 303, answer.text
            yield client

    async def sign_in(self, client: BrowserClient, login: str, path: str = "/sign-in/start") -> httpx2.Response:
        """Sign in, and return the response of the panel to the browser that comes back."""
        return await client.get(await self.authorize((await client.get(path)).headers["location"], login))

    async def authorize(self, address: str, login: str) -> str:
        """Log in at the provider and consent; return the address to which it sends the browser back."""
        async with httpx2.AsyncClient(timeout=120, trust_env=False, verify=NO_TLS) as browser:
            while not address.startswith(self.address):
                answer = await browser.get(address)
                if not answer.is_redirect:
                    action = re.search(r'<form[^>]* action="([^"]+)"', answer.text)
                    prompt = re.search(r'name="prompt" value="([^"]+)"', answer.text)
                    assert action, answer.text
                    assert prompt, answer.text
                    fields = {"prompt": prompt[1], "login": login, "password": "x"}
                    answer = await browser.post(urljoin(address, unescape(action[1])), data=fields)
                address = urljoin(address, answer.headers["location"])
        return address

    async def sign_out_there(self, address: str) -> str:
        """Sign out at the provider; return the address to which it sends the browser back."""
        async with httpx2.AsyncClient(timeout=120, trust_env=False, verify=NO_TLS) as browser:
            page = await browser.get(address)
            fields = dict(re.findall(r'name="(xsrf|logout)" value="([^"]+)"', page.text))
            action = re.search(r' action="([^"]+)"', page.text)
            assert action, page.text
            answer = await browser.post(urljoin(address, unescape(action[1])), data={**fields, "logout": "yes"})
            return answer.headers["location"]


@asynccontextmanager
async def run_fleet_panel(
    fleet: Fleet, provider: Provider, folder: Path, settings: str = SETTINGS, *, address: str = ""
) -> AsyncGenerator[RunningFleetPanel]:
    """Run the panel of a fleet on a free port of 127.0.0.1; another process of it may have the address of the first."""
    secret, file = folder / "secret", folder / "panel.toml"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listens = f"http://127.0.0.1:{listener.getsockname()[1]}"
        address = address or listens
        await run_sync(secret.write_text, "fleet-secret\n")
        await run_sync(file.write_text, settings.format(address=address, issuer=provider.issuer, secret=secret))
        homes = FleetHomes(
            fleet.url, fleet.database, fleet.master, FleetPlaces(fleet.folder, fleet.folder / "master.key")
        )
        async with anyio.create_task_group() as group:
            group.start_soon(FleetPanel(homes, file).serve, listener)
            try:
                yield RunningFleetPanel(address, provider, listens)
            finally:
                group.cancel_scope.cancel()
