"""Security in a real browser: the first start, and attacks from pages of other sites."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from panel.running_panel import PASSWORD, overflowing_elements, run_panel, take_screenshots

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import ConsoleMessage, Page

    from lab.browser import Browser

pytestmark = pytest.mark.lab

EVIL = "http://evil.example/"


@pytest.fixture(scope="module", params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Once is enough: the browser knows nothing of event loops."""
    return str(request.param)


def strict(page: Page) -> list[str]:
    """Collect what the browser complains of, such as what the policy forbids."""
    complaints: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            complaints.append(message.text)

    page.on("console", heard)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return complaints


async def test_the_first_start(tmp_path: Path, browser: Browser) -> None:
    async with run_panel(tmp_path, claimed=False) as panel:

        def start(page: Page) -> None:
            complaints = strict(page)
            page.goto(panel.address)
            take_screenshots(page, "first-start-1-password")
            page.fill("#password", PASSWORD)
            page.fill("#again", f"{PASSWORD}!")
            page.click("main button")
            # What was wrong is said beside its field, and is part of the field for those who do not see.
            assert page.locator("#again").get_attribute("aria-invalid") == "true"
            assert page.input_value("#password") == ""
            complaints.clear()  # Chromium complains of the status, 422
            page.fill("#password", PASSWORD)
            page.fill("#again", PASSWORD)
            page.click("main button")
            page.fill("#name", "Copier 2")
            page.fill("#location", "Second floor, by the stairs")
            take_screenshots(page, "first-start-2-device")
            seen = [overflowing_elements(page)]
            page.click("main button")
            page.get_by_text("What is this for?").wait_for()
            seen.append(overflowing_elements(page))
            page.click("main a[href='/first-start/slot']")
            page.select_option("#provider", "microsoft365")
            page.fill("#account", "scanner@example.com")
            take_screenshots(page, "first-start-3-slot")
            seen.append(overflowing_elements(page))
            page.click("main button")
            page.get_by_text("could not be asked for the time").or_(page.get_by_text("clock of this device")).wait_for()
            take_screenshots(page, "first-start-4-next")
            seen.append(overflowing_elements(page))
            page.goto(f"{panel.address}/administration")
            page.fill("#key_name", "Fleet script")
            page.get_by_role("button", name="Create a key").click()
            page.get_by_text("Copy the key now").wait_for()
            take_screenshots(page, "administration")
            seen.append(overflowing_elements(page))
            with page.expect_download() as download:
                page.get_by_role("button", name="Download the report").click()
            assert download.value.suggested_filename == "mailslot-report.zip"
            page.get_by_role("button", name="Sign out", exact=True).click()
            page.get_by_text("You have signed out.").wait_for()
            take_screenshots(page, "sign-in")
            assert seen == [[], [], [], [], []]
            assert complaints == []

        await browser.visit(start)


async def test_other_sites_cannot_change_anything(tmp_path: Path, browser: Browser) -> None:
    async with run_panel(tmp_path) as panel:

        def attack(page: Page) -> None:
            panel.sign_in(page)
            cookies = page.context.cookies()
            assert {(cookie["httpOnly"], cookie["sameSite"]) for cookie in cookies} == {(True, "Lax"), (True, "Strict")}
            # A form on another page that is sent by itself, with a token or without.
            serve(page, f'<form method="post" action="{panel.address}/sign-out"><button>Win a prize</button></form>')
            page.goto(EVIL)
            with page.expect_navigation():
                page.click("button")
            assert page.url.startswith(panel.address)
            # Framed, so that a click is led astray.
            serve(page, f'<iframe src="{panel.address}/sign-in"></iframe>')
            page.goto(EVIL)
            page.wait_for_load_state("networkidle")
            assert all("csrf" not in frame.content() for frame in page.frames)
            # Read by a script.
            serve(page, f'<script src="{panel.address}/jobs"></script>')
            page.goto(EVIL)
            read = page.evaluate(
                f"fetch('{panel.address}/', {{credentials: 'include'}}).then(r => r.text()).catch(e => 'refused')"
            )
            assert read == "refused"
            page.goto(f"{panel.address}/administration")
            assert page.get_by_role("heading", name="Device", level=1, exact=True).is_visible()

        await browser.visit(attack)


async def test_the_session_survives_the_redirect_from_a_provider(tmp_path: Path, browser: Browser) -> None:
    """A link on another site, as at the end of a sign-in, comes with the cookie: the reason for Lax."""
    async with run_panel(tmp_path) as panel:

        def come_back(page: Page) -> None:
            panel.sign_in(page)
            serve(page, f'<a href="{panel.address}/administration">back</a>')
            page.goto(EVIL)
            page.click("a")
            page.wait_for_url(re.compile("/administration$"))
            assert page.get_by_role("heading", name="Device", level=1, exact=True).is_visible()

        await browser.visit(come_back)


def serve(page: Page, body: str) -> None:
    """Put a page onto another site."""
    page.unroute_all()
    page.route(f"{EVIL}**", lambda route: route.fulfill(body=f"<!doctype html>{body}", content_type="text/html"))


async def test_no_page_stays_in_the_browsers_cache(tmp_path: Path, browser: Browser) -> None:
    """After signing out, the button for going back shows nothing."""
    async with run_panel(tmp_path) as panel:

        def leave(page: Page) -> None:
            panel.sign_in(page, "/administration")
            page.get_by_role("button", name="Sign out", exact=True).click()
            page.get_by_text("You have signed out.").wait_for()
            page.go_back()
            page.wait_for_load_state("networkidle")
            assert page.url.partition("?")[0] == f"{panel.address}/sign-in"
            assert not page.get_by_role("heading", name="API keys").is_visible()

        await browser.visit(leave)
