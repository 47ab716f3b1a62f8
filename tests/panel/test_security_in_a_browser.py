"""What a real browser makes of it: the first start by hand, and pages elsewhere that try their luck."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from panel.house import PASSWORD, open_house, overflow, shoot

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
    async with open_house(tmp_path, claimed=False) as house:

        def start(page: Page) -> None:
            complaints = strict(page)
            page.goto(house.address)
            shoot(page, "first-start-1-password")
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
            shoot(page, "first-start-2-device")
            seen = [overflow(page)]
            page.click("main button")
            page.select_option("#provider", "microsoft365")
            page.fill("#account", "scanner@example.com")
            shoot(page, "first-start-3-slot")
            seen.append(overflow(page))
            page.click("main button")
            page.get_by_text("could not be asked for the time").or_(page.get_by_text("clock of this device")).wait_for()
            shoot(page, "first-start-4-next")
            seen.append(overflow(page))
            page.goto(f"{house.address}/administration")
            page.fill("#key_name", "Fleet script")
            page.get_by_role("button", name="Make a key").click()
            page.get_by_text("Copy the key now").wait_for()
            shoot(page, "administration")
            seen.append(overflow(page))
            with page.expect_download() as download:
                page.get_by_role("button", name="Download the report").click()
            assert download.value.suggested_filename == "mailslot-report.zip"
            page.get_by_role("button", name="Sign out", exact=True).click()
            page.get_by_text("You have signed out.").wait_for()
            shoot(page, "sign-in")
            assert seen == [[], [], [], []]
            assert complaints == []

        await browser.visit(start)


async def test_pages_elsewhere_get_nothing_done(tmp_path: Path, browser: Browser) -> None:
    async with open_house(tmp_path) as house:

        def attack(page: Page) -> None:
            house.sign_in(page)
            cookies = page.context.cookies()
            assert {(cookie["httpOnly"], cookie["sameSite"]) for cookie in cookies} == {(True, "Lax"), (True, "Strict")}
            # A form on another page that is sent by itself, with a token or without.
            serve(page, f'<form method="post" action="{house.address}/sign-out"><button>Win a prize</button></form>')
            page.goto(EVIL)
            with page.expect_navigation():
                page.click("button")
            assert page.url.startswith(house.address)
            # Framed, so that a click is led astray.
            serve(page, f'<iframe src="{house.address}/sign-in"></iframe>')
            page.goto(EVIL)
            page.wait_for_load_state("networkidle")
            assert all("csrf" not in frame.content() for frame in page.frames)
            # Read by a script.
            serve(page, f'<script src="{house.address}/jobs"></script>')
            page.goto(EVIL)
            read = page.evaluate(
                f"fetch('{house.address}/', {{credentials: 'include'}}).then(r => r.text()).catch(e => 'refused')"
            )
            assert read == "refused"
            page.goto(f"{house.address}/administration")
            assert page.get_by_role("heading", name="Administration", level=1).is_visible()

        await browser.visit(attack)


async def test_back_from_a_provider_the_session_is_still_there(tmp_path: Path, browser: Browser) -> None:
    """A link on another site, as at the end of a sign-in, comes with the cookie: the reason for Lax."""
    async with open_house(tmp_path) as house:

        def come_back(page: Page) -> None:
            house.sign_in(page)
            serve(page, f'<a href="{house.address}/administration">back</a>')
            page.goto(EVIL)
            page.click("a")
            page.wait_for_url(re.compile("/administration$"))
            assert page.get_by_role("heading", name="Administration", level=1).is_visible()

        await browser.visit(come_back)


def serve(page: Page, body: str) -> None:
    """Put a page onto another site."""
    page.unroute_all()
    page.route(f"{EVIL}**", lambda route: route.fulfill(body=f"<!doctype html>{body}", content_type="text/html"))


async def test_nothing_of_a_device_stays_in_the_browser(tmp_path: Path, browser: Browser) -> None:
    """After signing out, the button for going back shows nothing."""
    async with open_house(tmp_path) as house:

        def leave(page: Page) -> None:
            house.sign_in(page, "/administration")
            page.get_by_role("button", name="Sign out", exact=True).click()
            page.get_by_text("You have signed out.").wait_for()
            page.go_back()
            page.wait_for_load_state("networkidle")
            assert page.url.partition("?")[0] == f"{house.address}/sign-in"
            assert not page.get_by_role("heading", name="Keys to the API").is_visible()

        await browser.visit(leave)
