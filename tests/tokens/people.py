"""Implementations of `Person`: one that must not be used, a scripted one, and Chromium."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import httpx2

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.sync_api import Page

    from lab.browser import Browser
    from mailslot.oauth.flow import UserCode

USER = "scanner@example.com"


@dataclass
class NoPrompt:
    """A person whom no flow may ask for anything; records the messages."""

    told: list[str] = field(default_factory=list)

    async def show_address(self, address: str) -> None:
        raise AssertionError(address)

    async def show_code(self, code: UserCode) -> None:
        raise AssertionError(code)

    async def ask_pasted_address(self, address: str) -> str:
        raise AssertionError(address)

    async def show_message(self, text: str) -> None:
        self.told.append(text)


@dataclass
class ScriptedPerson(NoPrompt):
    """Does one thing with an address: opens it, or returns the text to paste."""

    act: Callable[[str], Awaitable[str | None]] | None = None
    addresses: list[str] = field(default_factory=list)

    async def show_address(self, address: str) -> None:
        assert self.act is not None
        self.addresses.append(address)
        await self.act(address)

    async def ask_pasted_address(self, address: str) -> str:
        assert self.act is not None
        self.addresses.append(address)
        return await self.act(address) or ""


@dataclass
class ChromiumUser(NoPrompt):
    """A person with a browser at the lab's provider.

    Attributes:
        browser: the browser.
        user: as whom to sign in; with any password.
        agrees: whether to consent.
        pages: what the last pages said.
    """

    browser: Browser = field(kw_only=True)
    user: str = "alice"
    agrees: bool = True
    pages: list[str] = field(default_factory=list)
    shown: list[UserCode] = field(default_factory=list)

    async def show_address(self, address: str) -> None:
        def act(page: Page) -> str:
            page.goto(address)
            self._sign_in(page)
            page.wait_for_url("http://127.0.0.1:*/?*")
            return page.inner_text("body")

        self.pages.append(await self.browser.visit(act))

    async def ask_pasted_address(self, address: str) -> str:
        def act(page: Page) -> str:
            # Nobody listens where the browser ends up, and that address stays in its address bar.
            with page.expect_event("requestfailed", lambda request: "state=" in request.url) as failed:
                page.goto(address)
                self._sign_in(page)
            return str(failed.value.url)

        return await self.browser.visit(act)

    async def show_code(self, code: UserCode) -> None:
        def act(page: Page) -> str:
            page.goto(code.verification_uri)
            page.fill("input[name=user_code]", code.user_code)
            page.click("text=Continue")
            assert code.user_code in page.inner_text("code")  # the person compares
            page.click("text=Continue")
            self._sign_in(page)
            page.wait_for_selector("text=/Success|interrupted/")
            return page.inner_text("body")

        self.shown.append(code)
        self.pages.append(await self.browser.visit(act))

    def _sign_in(self, page: Page) -> None:
        page.fill("input[name=login]", self.user)
        page.fill("input[name=password]", "any")
        page.click("button[type=submit]")
        page.wait_for_selector("text=Continue")
        page.click("text=Continue" if self.agrees else "text=[ Cancel ]")


async def until(done: Callable[[], bool]) -> None:
    """Wait until a condition is true."""
    with anyio.fail_after(120):
        while not done():  # noqa: ASYNC110 - it is another process
            await anyio.sleep(0.02)


async def get(address: str) -> httpx2.Response:
    """Get a page, as a browser would."""
    async with httpx2.AsyncClient(trust_env=False) as browser:
        return await browser.get(address)


async def sign_in(address: str, user: str = USER, decision: str = "allow", **form: str) -> str:
    """Sign in at the sandbox's page, and return where the browser is sent."""
    async with httpx2.AsyncClient(trust_env=False) as browser:
        page = await browser.get(address)
        assert page.status_code == 200
        assert "Decline" in page.text
        response = await browser.post(address, data={"user": user, "decision": decision, **form})
    assert response.status_code == 303
    return response.headers["location"]


async def enter_code(code: UserCode, user: str = USER, decision: str = "allow") -> None:
    """Enter a device's code at the sandbox's page."""
    async with httpx2.AsyncClient(trust_env=False) as browser:
        page = await browser.get(code.verification_uri, params={"user_code": code.user_code.lower()})
        assert "Decline" in page.text
        form = {"user": user, "decision": decision, "user_code": code.user_code}
        assert (await browser.post(code.verification_uri, data=form)).status_code == 200
