"""The connection test in the panel: live progress, and the right sentence in the browser's language."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest
from anyio.to_thread import run_sync

from diagnosis.device import Device
from diagnosis.scenarios import SCENARIOS, SMTP, Scenario, with_reply
from mailslot.diagnosis.catalogue import actor_name, explain
from mailslot.diagnosis.diagnosis import Diagnosis
from mailslot.diagnosis.history import History
from mailslot.diagnosis.remedy import settings_to_change
from mailslot_plugins.panel.slots.labels import label
from mailslot_plugins.sandbox import Fault
from panel.running_panel import overflowing_elements, take_screenshots

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.sync_api import Page
    from trustme import CA

    from lab.browser import Browser
    from lab.dovecot import Dovecot
    from lab.postfix import Postfix
    from lab.provider import Provider
    from mailslot_plugins.sandbox import Sandbox
    from panel.browser_client import BrowserClient
    from panel.running_panel import RunningPanel

USUAL = (
    *("not_configured", "name_not_found", "connection_refused", "tls_port_mismatch", "certificate_untrusted"),
    *("token_not_retrieved", "token_update_failed", "consent_missing", "token_refused", "password_refused"),
)
"""What is wrong most often, beside what Microsoft switches off."""

DISABLED = "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant."
PAGE = f"/slots/{SMTP}/test"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One is enough for a page; the slots' own tests run on the other."""
    return "trio"


@pytest.fixture
async def device(sandbox: Sandbox, home: Path) -> AsyncIterator[Device]:
    """The device behind the panel; what a test breaks is whole again after it."""
    found, tls = Device(home), sandbox.tls
    await found.records.tokens.store("smtp").delete()
    yield found
    sandbox.faults.clear()
    sandbox.token_service.faults.clear()
    sandbox.tls = tls


async def press(client: BrowserClient, **fields: str) -> str:
    """Press the button, and return the page once the test has ended."""
    assert (await client.submit(PAGE, **fields)).status_code == 303
    with anyio.fail_after(120):
        while "/cancel" in (page := (await client.get(PAGE)).text):  # noqa: ASYNC110 - as a browser does
            await anyio.sleep(0.02)
    return page


def usual() -> list[Scenario]:
    """Return a way to each of the usual faults."""
    scenarios = {
        scenario.cause: scenario
        for scenario in reversed(SCENARIOS)
        if scenario.slot == SMTP and scenario.personality.name == "Dovecot and Postfix"
    }
    return [
        *map(scenarios.__getitem__, USUAL),
        Scenario("smtp_auth_disabled", "sign_in", with_reply("sign_in", DISABLED)),
    ]


@pytest.mark.parametrize("scenario", usual(), ids=str)
async def test_errors_are_in_the_language_of_the_browser(
    scenario: Scenario, device: Device, client: BrowserClient, sandbox: Sandbox
) -> None:
    await scenario.prepare(device, sandbox)
    await press(client)
    [newest] = await History(device.home).last("smtp", 1)
    assert (newest.cause, newest.stage) == (scenario.cause, scenario.stage)
    for language in ("en", "de"):
        page = unescape((await client.get(PAGE, headers={"accept-language": language})).text)
        facts = dict(newest.facts)
        if "missing" in facts:
            facts["missing"] = label(facts["missing"], "SMTP", language)
        explanation = explain(Diagnosis(newest.cause, facts), language)
        assert f'<h2 id="now" class="sentence">{explanation.message}</h2>' in page
        assert explanation.advice in page
        assert explanation.actor is not None
        assert actor_name(explanation.actor, language) in page
        assert (f'href="/slots/{SMTP}/token"' in page) is explanation.token_helps
        for setting in () if explanation.token_helps else settings_to_change(newest.cause, newest.facts):
            assert f'href="/slots/{SMTP}#{setting.partition("=")[0]}"' in page
        assert f'lang="{language}"' in page
        for secret in device.secrets:
            assert secret not in page


async def test_a_missing_setting_has_the_name_of_its_field(
    device: Device, client: BrowserClient, sandbox: Sandbox
) -> None:
    await device.set_up_slot(SMTP, sandbox, server=None)
    await press(client)
    page = await client.get(PAGE, headers={"accept-language": "de"})
    assert "Primärer Server ist nicht gesetzt" in page.text


async def test_a_result_that_is_older_than_the_settings_is_marked(
    device: Device, client: BrowserClient, sandbox: Sandbox
) -> None:
    await device.set_up_slot(SMTP, sandbox, server="nowhere.invalid")
    marked = "older than the settings"
    assert marked not in await press(client)
    device.set(SMTP, server="localhost")
    for path in (PAGE, f"/slots/{SMTP}", "/"):
        assert marked in (await client.get(path)).text
    assert "the settings have changed since" in (await client.get("/")).text
    assert marked not in await press(client)


async def test_stages_appear_as_they_happen(
    device: Device, panel: RunningPanel, sandbox: Sandbox, browser: Browser
) -> None:
    await device.set_up_slot(SMTP, sandbox)
    device.set(SMTP, timeout=120)
    before = await History(device.home).last("smtp")
    go_on, token = anyio.Event(), anyio.lowlevel.current_token()
    sandbox.faults.append(Fault("EHLO", nth=2, until=go_on))

    def act(page: Page) -> list[Any]:
        panel.sign_in(page, PAGE)
        page.click(".again button")
        page.wait_for_selector("[data-stage=greeting].ok")
        seen = [page.locator(".stage").count(), page.locator(".stage.busy").count()]
        take_screenshots(page, "test-running", schemes=("light",))
        # Somebody else presses the button, too, and sees the same test.
        other = page.context.new_page()
        other.goto(f"{panel.address}/slots/network.quick")
        other.click("[aria-labelledby=test] form button")
        other.wait_for_selector("[data-stage=greeting].ok")
        anyio.from_thread.run_sync(go_on.set, token=token)
        page.wait_for_selector(".result[data-cause=ok]")
        other.wait_for_selector(".result[data-cause=ok]")
        take_screenshots(page, "test-passed")
        return [*seen, page.inner_text("#spoken"), overflowing_elements(page)]

    stages, busy, announced, wide = await browser.visit(act)
    assert stages < 7
    assert busy == 1
    assert announced == "The connection works."
    assert wide == []
    assert len(await History(device.home).last("smtp")) == len(before) + 1


async def test_a_test_can_be_cancelled_without_javascript(
    device: Device, panel: RunningPanel, sandbox: Sandbox, browser: Browser
) -> None:
    await device.set_up_slot(SMTP, sandbox, timeout=60)
    before = await History(device.home).last("smtp")
    sandbox.faults.append(Fault("greeting", delay=60))

    def act(page: Page) -> str:
        assert page.context.browser is not None
        with page.context.browser.new_context(java_script_enabled=False) as profile:
            plain = profile.new_page()
            panel.sign_in(plain, PAGE)
            plain.click(".again button")
            plain.wait_for_selector("[data-stage=greeting].busy")
            plain.click("#cancel")
            plain.wait_for_selector(".notice.warning")
            outcome = plain.inner_text(".notice.warning")
            sandbox.faults.clear()
            plain.click(".again button")
            # The page loads itself anew until the test has ended.
            plain.wait_for_selector(".result[data-cause=ok]")
            return outcome

    assert (await browser.visit(act)).strip() == "The test was cancelled."
    assert len(await History(device.home).last("smtp")) == len(before) + 1


async def test_the_chart_has_a_text_alternative(device: Device, client: BrowserClient, sandbox: Sandbox) -> None:
    await device.set_up_slot(SMTP, sandbox)
    await press(client)
    await device.set_up_slot(SMTP, sandbox, server=None)
    page = await press(client)
    tests = (await History(device.home).last("smtp"))[:30]
    passed = sum(each.ok for each in tests)
    assert f"{passed} passed, {len(tests) - passed} failed." in page
    picture = page[page.index('<svg class="history"') :].partition("</svg>")[0]
    assert picture.count('rect class="passed"') == passed
    assert picture.count('rect class="failed"') == picture.count('path class="failed"') == len(tests) - passed
    assert page.count("<tr>") - 1 == min(len(tests), 10)


async def test_a_message_arrives_in_dovecot_by_postfix(
    client: BrowserClient, device: Device, ca: CA, provider: Provider, dovecot: Dovecot, postfix: Postfix
) -> None:
    user = "daemon@example.test"
    device.trust(ca.cert_pem.bytes())
    endpoint, usual = postfix.submission, {"authentication": "oauth2", "account": user, "provider": "custom"}
    await run_sync(
        lambda: device.set_endpoint(
            "alert.smtp",
            endpoint,
            **usual,
            sender_address=user,
            issuer=provider.issuer,
            client_id="panel",
            scopes="mail.send",
            ca_file=device.home / "ca.pem",
            timeout=120,
        )
    )
    await device.store_token("alert.smtp", provider.token())
    dovecot.empty(user)
    path = "/slots/alert.smtp/test"
    await client.submit(path, send="yes")
    with anyio.fail_after(120):
        while not dovecot.messages(user):  # noqa: ASYNC110 - Postfix tells nobody
            await anyio.sleep(0.02)
        while "/cancel" in (page := (await client.get(path)).text):  # noqa: ASYNC110 - as a browser does
            await anyio.sleep(0.02)
    assert "A message was sent and accepted for delivery" in page
    assert re.search(r'data-stage="send">.*?passed', page, re.DOTALL)
    assert b"Subject: mailslot: connection test" in dovecot.messages(user)[0]
