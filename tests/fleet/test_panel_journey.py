"""In Chromium: a person signs in, finds the device that needs somebody, and sees on its panel what is wrong."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from anyio.to_thread import run_sync

from fleet.running_panel import BOSS, READER, run_fleet_panel
from fleet.test_directory import held_job, set_up
from lab.postgres import Fleet
from mailslot.slots.records import Records
from mailslot.slots.section import DEVICE
from mailslot_plugins.panel.explanations import explanation_of
from mailslot_plugins.panel.translations import LANGUAGES
from panel.accessibility import page_faults
from panel.running_panel import SIZES, overflowing_elements, take_screenshots, whole_text

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from lab.browser import Browser
    from lab.provider import Provider

PLACES = ("Ground floor, by the stairs", "Second floor", "Warehouse")


async def test_from_the_sign_in_to_what_is_wrong(
    postgres: Any, provider: Provider, browser: Browser, tmp_path: Path
) -> None:
    fleet = Fleet(postgres.create_database(), tmp_path)
    for tenant in ("acme", "bolt"):
        for number, place in enumerate(PLACES, 1):
            home = await run_sync(fleet.add_device, tenant)
            if number < 3 or tenant == "acme":
                await set_up(home, account=f"scan{number}@{tenant}.example.com")
            name = {"name": f"Copier {number} of {tenant}", "location": place}
            await run_sync(Records(home).settings.change_section, DEVICE, name)
            if (tenant, number) == ("bolt", 2):
                await held_job(home)
    found: list[str] = []

    async with run_fleet_panel(fleet, provider, tmp_path) as panel:

        def look(page: Page, name: str) -> None:
            found.extend(page_faults(page, name))
            take_screenshots(page, f"fleet-{name}")

        def log_in(page: Page, login: str) -> None:
            page.click("main a.button.primary")
            page.fill("input[name=login]", login)
            page.fill("input[name=password]", "x")
            page.click("button[type=submit]")
            page.click("text=Continue")
            page.wait_for_url(re.compile(re.escape(panel.address)))

        def mend(page: Page) -> None:
            page.goto(panel.address)
            look(page, "sign-in")
            log_in(page, BOSS)
            look(page, "devices")
            first = page.locator("tbody tr").first
            assert "Needs somebody" in first.inner_text()
            assert explanation_of("password_refused", "en").message in first.inner_text()
            assert "1 job is waiting for this" in first.inner_text()
            device = first.locator("a").get_attribute("href")
            for language in LANGUAGES:
                page.set_extra_http_headers({"accept-language": language})
                for path in ("/", "/tenants", device):
                    page.goto(f"{panel.address}{path}")
                    for size, (width, height) in SIZES.items():
                        page.set_viewport_size({"width": width, "height": height})
                        found.extend(f"{each} at {size}, {language}, {path}" for each in overflowing_elements(page))
            page.set_extra_http_headers({"accept-language": "en"})
            page.goto(f"{panel.address}/tenants")
            look(page, "tenants")
            page.click("main a:has-text('bolt')")
            page.fill("input[name=search]", "second")
            page.click("main button:has-text('Search')")
            page.wait_for_load_state()
            assert page.locator("tbody tr").count() == 1
            page.click("tbody a:has-text('Copier 2 of bolt')")
            assert whole_text(page, "h2.attention-title").strip() == "Needs attention"
            look(page, "device")
            page.click(".matter a.button")
            page.wait_for_url(re.compile("/tenants/bolt/devices/[^/]+/slots/network.smtp"))
            page.click("nav.tabs a:has-text('Jobs')")
            page.click("main a.job-link")
            assert "a page" in whole_text(page)
            page.click("main >> text=All devices")
            page.wait_for_load_state()
            assert page.locator("tbody tr").count() == 6
            # At the provider, too, which asks.
            page.click("text=Sign out")
            page.click("text=Yes, sign me out")
            page.get_by_text("You have signed out.").wait_for()
            look(page, "signed-out")
            page.click("main a.button.primary")
            page.locator("input[name=login]").wait_for()

        def only_look(page: Page) -> None:
            page.goto(panel.address)
            log_in(page, READER)
            page.click("tbody tr:first-child a")
            page.get_by_text("You may look at everything here").wait_for()
            look(page, "read-only")
            page.goto(f"{page.url}administration")
            page.click("main button:has-text('Save')")
            page.get_by_role("heading", level=1).wait_for()
            look(page, "refused")
            assert "You may look at everything here, but change nothing." in whole_text(page)

        await browser.visit(mend)
        await browser.visit(only_look)
    fleet.database.close()
    assert found == []
