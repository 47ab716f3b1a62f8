"""The demo's device, repaired with a browser only; and every page of it, checked for accessibility."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
from anyio.to_thread import run_sync

from mailslot_plugins.sandbox.demo import scanned_page
from mailslot_plugins.sandbox.demo_device import PASSWORD, populate_demo_device, set_up_demo_device
from mailslot_plugins.sandbox.sandbox import run_sandbox
from panel.accessibility import page_faults
from panel.running_panel import RunningPanel, run_panel, take_screenshots, whole_text

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from playwright.sync_api import Page

    from lab.browser import Browser

PAGES = (
    *("/", "/jobs", "/jobs?state=failed", "/jobs/1", "/jobs/1/cancel", "/received", "/received/1", "/alerts"),
    *("/slots/network.smtp", "/slots/print.pop", "/slots/status.pop", "/slots/fax.pop/test", "/slots/print.pop/test"),
    *("/slots/print.pop/token", "/slots/fax.pop/token", "/slots/fax.pop/token/delete"),
    *("/administration", "/settings/fax", "/settings/alerts", "/settings/device", "/nothing-here"),
)


@asynccontextmanager
async def demo(home: Path) -> AsyncGenerator[RunningPanel]:
    async with run_sandbox() as sandbox:
        await run_sync(home.mkdir)
        await run_sync(set_up_demo_device, home, sandbox)
        past = partial(populate_demo_device, sandbox=sandbox, page=scanned_page())
        async with run_panel(home, claimed=False, serves=True, before=past) as panel:
            yield panel


def token_line(page: Page, panel: RunningPanel, slot: str) -> str | None:
    page.goto(f"{panel.address}/slots/{slot}")
    return page.get_attribute("[data-token]", "data-token")


def agree(page: Page) -> None:
    """Allow it on the provider's page, and come back."""
    page.wait_for_url(re.compile(r"/authorize"))
    page.click("text=Allow")


def wait_for_token(page: Page) -> None:
    """Wait for the last version of the page; one before it may show the token, and is about to be replaced."""
    page.wait_for_selector("[data-step=done]")
    assert page.get_attribute("[data-token]", "data-token") == "Retrieved"


async def test_a_revoked_token_is_obtained_again_and_the_scan_is_sent(tmp_path: Path, browser: Browser) -> None:
    async with demo(tmp_path / "home") as panel:

        def repair(page: Page) -> None:
            page.set_viewport_size({"width": 800, "height": 480})
            panel.sign_in(page, password=PASSWORD)
            # Why the scan waits, found from the home page.
            page.wait_for_selector("text=1 job is waiting for this")
            assert "Token update failed. Please delete the token and obtain it again." in whole_text(page)
            page.click("text=Delivery note 4711")
            assert "Token update failed" in whole_text(page)
            page.click("main >> text=Get Token")
            page.click("button:has-text('Sign in')")
            agree(page)
            wait_for_token(page)
            page.wait_for_selector("[data-cause=ok]:has-text('The connection works.')")
            # It is tested at once, and the other two slots of the record have it, too.
            page.goto(f"{panel.address}/slots/network.quick/test")
            page.wait_for_selector("text=The connection works.")
            assert token_line(page, panel, "install.quick") == "Retrieved"
            assert token_line(page, panel, "print.pop") == "Not Retrieved"
            page.goto(f"{panel.address}/jobs/1")
            page.wait_for_selector(".badge.ok:has-text('sent')", timeout=120_000)

        def get_the_first(page: Page) -> None:
            page.set_viewport_size({"width": 390, "height": 844})
            panel.sign_in(page, "/slots/print.pop", password=PASSWORD)
            page.click("main >> text=Get Token")
            page.click("button:has-text('Sign in')")
            agree(page)
            wait_for_token(page)
            page.goto(f"{panel.address}/slots/print.pop")
            page.click("button:has-text('Check now')")
            page.goto(f"{panel.address}/received?record=print-pop")
            page.wait_for_selector(".mail:has(img.thumbnail):has-text('the plan for Monday')", timeout=120_000)

        def delete_one(page: Page) -> None:
            panel.sign_in(page, "/slots/install.quick", password=PASSWORD)
            page.click("main a:has-text('Delete')")
            assert "Quick Settings" in whole_text(page)
            page.click("main button:has-text('Delete')")
            page.wait_for_selector("[data-token='Not Retrieved']")
            lines = {slot: token_line(page, panel, slot) for slot in ("network.smtp", "network.quick", "fax.pop")}
            assert lines == {"network.smtp": "Not Retrieved", "network.quick": "Not Retrieved", "fax.pop": "Retrieved"}

        for act in (repair, get_the_first, delete_one):
            await browser.visit(act)


@pytest.mark.parametrize("anyio_backend", ["trio"], indirect=True)
async def test_every_page_is_accessible(tmp_path: Path, browser: Browser) -> None:
    found: list[str] = []

    def look(page: Page, path: str) -> None:
        found.extend(page_faults(page, path))
        take_screenshots(page, path.strip("/").replace("/", "-").replace("?", "-") or "home")

    async with demo(tmp_path / "home") as panel:

        def act(page: Page) -> None:
            page.goto(f"{panel.address}/sign-in")
            look(page, "/sign-in")
            panel.sign_in(page, password=PASSWORD)
            page.wait_for_selector(".tally.warning:has-text('held')")
            for path in PAGES:
                response = page.goto(panel.address + path)
                assert response is not None
                assert response.status == (404 if path == "/nothing-here" else 200), path
                look(page, path)

        await browser.visit(act)
    assert found == []
