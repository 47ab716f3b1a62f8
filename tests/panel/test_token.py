"""Get Token and Delete in the panel, as a person does it with Chromium: at oidc-provider, and at the sandbox."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

import pytest
from anyio.to_thread import run_sync

from mailslot.oauth.flow import UserCode
from mailslot.slots.records import Records
from mailslot_plugins.panel.translations import LANGUAGES
from mailslot_plugins.tokens import device as device_flow
from panel.running_panel import (
    SIZES,
    RunningPanel,
    overflowing_elements,
    run_panel,
    sandbox_home,
    take_screenshots,
    whole_text,
)

if TYPE_CHECKING:
    from pathlib import Path

    import trustme
    from playwright.sync_api import Page, Request

    from lab.browser import Browser
    from lab.dovecot import Dovecot
    from lab.postfix import Postfix
    from lab.provider import Provider
    from mailslot.oauth.grant import Grant

ALICE = "alice@example.test"
SHARED = ("network.smtp", "network.quick", "install.quick")


class Watched:
    """All that a browser was shown and where it went, save what provider and person gave each other."""

    def __init__(self, page: Page, panel: RunningPanel) -> None:
        self.seen: list[str] = []
        self._house = panel
        page.on("response", lambda response: self._hear(response.request))

    def _hear(self, request: Request) -> None:
        if request.url.startswith(self._house.address):
            self.seen.append(request.url)

    def look(self, page: Page) -> str:
        text = whole_text(page)
        self.seen += [page.url, page.content()]
        return text


def token_line(page: Page, panel: RunningPanel, slot: str) -> str:
    page.goto(f"{panel.address}/slots/{slot}/token")
    return str(page.get_attribute("[data-token]", "data-token"))


def choose(page: Page, method: str) -> None:
    page.click(f'.way:has([value="{method}"]) button')


def agree(page: Page, user: str = "alice") -> None:
    """Sign in at oidc-provider, and consent."""
    page.fill("input[name=login]", user)
    page.fill("input[name=password]", "any")
    page.click("button[type=submit]")
    page.click("text=Continue")


@pytest.fixture
def lab_home(tmp_path: Path, provider: Provider, dovecot: Dovecot, postfix: Postfix, ca: trustme.CA) -> Path:
    """A device whose settings lack nothing but the application."""
    home = tmp_path / "home"
    home.mkdir()
    ca.cert_pem.write_to_path(str(home / "ca.pem"))
    common: dict[str, object] = {
        "authentication": "oauth2",
        "ca_file": str(home / "ca.pem"),
        "provider": "custom",
        "issuer": provider.issuer,
        "account": ALICE,
        "scopes": "openid email offline_access mail.pop mail.send",
        "server": "localhost",
    }
    records = Records(home)
    records.change("smtp", {**common, "port": postfix.submission.port, "sender_address": ALICE}, {})
    for record in ("fax-pop", "print-pop"):
        records.change(record, {**common, "port": dovecot.pop3s.port, "security": "tls", "client_id": "panel"}, {})
    return home


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_get_and_delete_a_token(
    lab_home: Path,
    browser: Browser,
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(device_flow, "flow", device_flow.DeviceFlow(interval=0.3))  # oidc-provider names none

    async with run_panel(lab_home) as panel:
        seen: list[str] = []

        def act(page: Page) -> None:
            watched = Watched(page, panel)
            panel.sign_in(page, "/slots/network.quick/token")

            # The application first: how to register it, and its id, on the same page.
            assert "an application for this device must be registered" in watched.look(page)
            assert page.locator(".copied code").all_inner_texts() == [
                "http://127.0.0.1",
                "openid email offline_access mail.pop mail.send",
            ]
            take_screenshots(page, "token-application")
            page.click("text=Save")
            assert "The application’s ID is missing." in watched.look(page)
            page.fill("[name=client_id]", "panel")
            page.click("text=Save")
            assert "Saved. Now somebody can sign in." in watched.look(page)
            assert ALICE in watched.look(page)

            # In this browser, for the shared slots.
            choose(page, "browser")
            agree(page)
            page.wait_for_selector("[data-step=done]")
            assert page.url == f"{panel.address}/slots/network.quick/token"
            text = watched.look(page)
            assert "Service Settings (SMTP tab) and Network Quick Settings" in text
            assert ALICE in text
            take_screenshots(page, "token-retrieved")
            page.click("text=See the connection test")
            page.wait_for_selector("[data-cause]")
            assert page.get_attribute("[data-cause]", "data-cause") == "ok"
            assert [token_line(page, panel, slot) for slot in SHARED] == ["Retrieved"] * 3
            assert token_line(page, panel, "fax.pop") == "Not Retrieved"

            # By an address that another browser failed to open; somebody else signs in.
            choose(page, "paste")
            page.wait_for_selector("[name=address]")
            with page.context.browser.new_context() as elsewhere:  # type: ignore[union-attr] - it was launched
                other = elsewhere.new_page()
                with other.expect_event("requestfailed", lambda request: "state=" in request.url) as failed:
                    other.goto(str(page.get_attribute(".sign-in a.button", "href")))
                    agree(other, "bob")
            page.fill("[name=address]", page.url)
            page.click("text=Get the token")
            assert "That is a different address." in watched.look(page)
            take_screenshots(page, "token-paste")
            page.fill("[name=address]", failed.value.url)
            page.click("text=Get the token")
            page.wait_for_selector("[data-step=done]")
            text = watched.look(page)
            assert f"bob@example.test signed in, while the account is {ALICE}." in text
            assert token_line(page, panel, "print.pop") == "Not Retrieved"
            seen.extend(watched.seen)

        await browser.visit(act)

        def by_code(page: Page) -> UserCode:
            watched = Watched(page, panel)
            panel.sign_in(page, "/slots/print.pop/token")
            choose(page, "device")
            page.wait_for_selector(".user-code")
            # A script puts the time that is left in the place of the end.
            page.locator(".countdown", has_text=re.compile(r"^\s*\d+:\d\d\s*$")).wait_for()
            assert "Never enter a code that somebody else sent you." in watched.look(page)
            code = UserCode(page.inner_text(".user-code"), page.inner_text(".device-address"), None, 0)
            with page.context.browser.new_context() as phone:  # type: ignore[union-attr] - it was launched
                enter_code(phone.new_page(), code)
            page.wait_for_selector("[data-step=done]")  # by itself
            watched.look(page)
            seen.extend(watched.seen)
            return code

        await browser.visit(by_code)

        def delete(page: Page) -> None:
            watched = Watched(page, panel)
            panel.sign_in(page, "/slots/install.quick/token")
            page.click("text=Delete")
            assert "in Service Settings (SMTP tab) and Quick Settings, too" in watched.look(page)
            take_screenshots(page, "token-delete")
            page.click("button >> text=Delete")
            page.wait_for_selector("text=The provider was told")
            watched.look(page)
            take_screenshots(page, "token-deleted")
            assert [token_line(page, panel, slot) for slot in SHARED] == ["Not Retrieved"] * 3
            assert [token_line(page, panel, slot) for slot in ("fax.pop", "print.pop")] == ["Retrieved"] * 2
            seen.extend(watched.seen)

        smtp = await grant_of(panel, "smtp")
        assert smtp.access_token
        await browser.visit(delete)
        assert not provider.introspect(smtp.access_token.reveal())["active"]
        grants = [smtp, await grant_of(panel, "fax-pop"), await grant_of(panel, "print-pop")]
    assert [grant.flow for grant in grants] == ["browser", "paste", "device"]
    shown = "\n".join(seen) + caplog.text
    for grant in grants:
        assert grant.access_token
        assert grant.refresh_token
        assert grant.access_token.reveal() not in shown
        assert grant.refresh_token.reveal() not in shown


def enter_code(page: Page, code: UserCode) -> None:
    """Enter a code at oidc-provider, on another device."""
    page.goto(code.verification_uri)
    page.fill("input[name=user_code]", code.user_code)
    page.click("text=Continue")
    page.click("text=Continue")
    agree(page)
    page.wait_for_selector("text=/Success/")


async def grant_of(panel: RunningPanel, record: str) -> Grant:
    grant = await panel.device.records.tokens.store(record).load()
    assert grant is not None
    return grant


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_without_javascript_and_from_another_site(tmp_path: Path, browser: Browser) -> None:
    """The sandbox is called localhost and the panel 127.0.0.1, so that the answer comes from another site."""
    async with sandbox_home(tmp_path / "home") as sandbox, run_panel(tmp_path / "home") as panel:

        def act(page: Page) -> None:
            with page.context.browser.new_context(java_script_enabled=False) as plain:  # type: ignore[union-attr] - it was launched
                there = plain.new_page()
                panel.sign_in(there, "/slots/network.smtp/token")
                choose(there, "browser")
                there.click("text=Open the sign-in page")
                assert there.url.startswith(sandbox.issuer)
                there.click("text=Allow")
                there.wait_for_selector("[data-step=done]")
                assert there.url == f"{panel.address}/slots/network.smtp/token"

        await browser.visit(act)
        assert not sandbox.errors


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_pages_fit_in_every_language(tmp_path: Path, browser: Browser) -> None:
    home = tmp_path / "home"
    async with sandbox_home(home), run_panel(home) as panel:
        known = {"provider": "microsoft365", "issuer": None, "client_id": None}
        await run_sync(panel.device.records.change, "fax-pop", known, {})
        # With an application, all ways to sign in, and the warning of the last one.
        await run_sync(panel.device.records.change, "print-pop", {**known, "client_id": "panel"}, {})

        def fits(page: Page) -> None:
            for size in SIZES.values():
                page.set_viewport_size({"width": size[0], "height": size[1]})
                assert overflowing_elements(page) == [], page.url

        def act(page: Page) -> None:
            panel.sign_in(page)
            for language in LANGUAGES:
                page.context.add_cookies([{"name": "language", "value": language, "url": panel.address}])
                page.goto(f"{panel.address}/slots/fax.pop/token")
                assert page.get_attribute("html", "lang") == language
                fits(page)
                page.goto(f"{panel.address}/slots/print.pop/token")
                assert page.locator(".way .token-note").count() == 1
                fits(page)
                page.goto(f"{panel.address}/slots/network.smtp/token")
                fits(page)
                choose(page, "device")
                page.wait_for_selector(".user-code")
                fits(page)
                if language in {"en", "de"}:
                    take_screenshots(page, f"token-device-{language}")
                page.click(".sign-in form button")
            page.goto(f"{panel.address}/slots/fax.pop/token")
            take_screenshots(page, "token-microsoft")

        await browser.visit(act)
