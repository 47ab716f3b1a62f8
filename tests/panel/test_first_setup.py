"""A slot set up from nothing, with a provider that mailslot does not know, as a person does it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from anyio.to_thread import run_sync

from mailslot.slots.records import Records
from mailslot_plugins.sandbox.sandbox import run_sandbox
from panel.running_panel import SCANNER, run_panel

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from lab.browser import Browser

MOST_ACTIONS = 12


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_slot_works_after_twelve_actions(tmp_path: Path, browser: Browser) -> None:
    home = tmp_path / "home"
    async with run_sandbox() as sandbox:
        await run_sync(home.mkdir)
        await run_sync((home / "ca.pem").write_bytes, sandbox.ca_pem)
        # Trust in an authority of one's own is set on the device; that of a public one needs nothing.
        await run_sync(Records(home).change, "smtp", {"ca_file": str(home / "ca.pem")}, {})
        client = sandbox.provider.register("panel").id
        entered = {
            "issuer": sandbox.issuer,
            "client_id": client,
            "scopes": f"{sandbox.personality.smtp.scope} offline_access",
            "account": SCANNER,
            "server": "localhost",
            "port": str(sandbox.smtp.port),
        }
        async with run_panel(home) as panel:

            def act(page: Page) -> int:
                actions = 0

                def click(selector: str) -> None:
                    nonlocal actions
                    actions += 1
                    page.click(selector)

                panel.sign_in(page)
                click("[data-record=smtp] a.button:has-text('Set up')")
                actions += 1
                page.select_option("#provider", "custom")
                page.wait_for_selector("#issuer")
                for key, value in entered.items():
                    actions += 1
                    page.fill(f"#{key}", value)
                click(".save button")
                click("main >> text=Get Token")
                click("button:has-text('Sign in')")
                page.wait_for_url(re.compile(r"/authorize"))
                click("text=Allow")
                page.wait_for_selector("[data-cause=ok]:has-text('The connection works.')")
                return actions

            assert await browser.visit(act) <= MOST_ACTIONS
