"""The connection test in the panel: stage by stage, and the right sentence for whoever looks."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.to_thread import run_sync

from diagnosis.device import Device
from diagnosis.ways import SMTP, WAYS, Way, says
from mailslot.diagnosis.catalogue import actor_name, explain
from mailslot.diagnosis.diagnosis import Diagnosis
from mailslot.diagnosis.history import History
from mailslot_plugins.panel.slots.labels import label
from mailslot_plugins.sandbox import Fault
from panel.house import overflow, shoot

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
    from panel.house import House
    from panel.visitor import Visitor

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


async def press(visitor: Visitor, **fields: str) -> str:
    """Press the button, and return the page once the test has ended."""
    assert (await visitor.submit(PAGE, **fields)).status_code == 303
    with anyio.fail_after(120):
        while "/cancel" in (page := (await visitor.get(PAGE)).text):  # noqa: ASYNC110 - as a browser does
            await anyio.sleep(0.02)
    return page


def usual() -> list[Way]:
    """Return a way to each of the usual faults."""
    ways = {way.cause: way for way in reversed(WAYS) if way.slot == SMTP and way.plays.name == "Dovecot and Postfix"}
    return [*map(ways.__getitem__, USUAL), Way("smtp_auth_disabled", "sign_in", says("sign_in", DISABLED))]


@pytest.mark.parametrize("way", usual(), ids=str)
async def test_a_fault_is_said_in_the_language_of_whoever_looks(
    way: Way, device: Device, visitor: Visitor, sandbox: Sandbox
) -> None:
    await way.prepare(device, sandbox)
    await press(visitor)
    [newest] = await History(device.home).last("smtp", 1)
    assert (newest.cause, newest.stage) == (way.cause, way.stage)
    for language in ("en", "de"):
        page = unescape((await visitor.get(PAGE, headers={"accept-language": language})).text)
        facts = dict(newest.facts)
        if "missing" in facts:
            facts["missing"] = label(facts["missing"], "SMTP", language)
        said = explain(Diagnosis(newest.cause, facts), language)
        assert f'<h2 id="now" class="sentence">{said.message}</h2>' in page
        assert said.advice in page
        assert said.actor is not None
        assert actor_name(said.actor, language) in page
        assert (f'href="/slots/{SMTP}/token"' in page) is said.token_helps
        assert f'lang="{language}"' in page
        for secret in device.secrets:
            assert secret not in page


async def test_what_is_missing_is_called_as_the_form_calls_it(
    device: Device, visitor: Visitor, sandbox: Sandbox
) -> None:
    await device.use(SMTP, sandbox, server=None)
    await press(visitor)
    page = await visitor.get(PAGE, headers={"accept-language": "de"})
    assert "Primärer Server ist nicht gesetzt" in page.text


async def test_stages_appear_as_they_happen(device: Device, house: House, sandbox: Sandbox, browser: Browser) -> None:
    await device.use(SMTP, sandbox)
    device.set(SMTP, timeout=120)
    before = await History(device.home).last("smtp")
    sandbox.faults.append(Fault("EHLO", nth=2, delay=10))

    def act(page: Page) -> list[Any]:
        house.sign_in(page, PAGE)
        page.click(".again button")
        page.wait_for_selector("[data-stage=greeting].ok")
        seen = [page.locator(".stage").count(), page.locator(".stage.busy").count()]
        shoot(page, "test-running", schemes=("light",))
        # Somebody else presses the button, too, and sees the same test.
        other = page.context.new_page()
        other.goto(f"{house.address}/slots/network.quick")
        other.click("[aria-labelledby=test] form button")
        other.wait_for_selector("[data-stage=greeting].ok")
        page.wait_for_selector(".result[data-cause=ok]")
        other.wait_for_selector(".result[data-cause=ok]")
        shoot(page, "test-passed")
        return [*seen, page.inner_text("#spoken"), overflow(page)]

    stages, busy, spoken, wide = await browser.visit(act)
    assert stages < 7
    assert busy == 1
    assert spoken == "The connection works."
    assert wide == []
    assert len(await History(device.home).last("smtp")) == len(before) + 1


async def test_a_test_can_be_cancelled_without_javascript(
    device: Device, house: House, sandbox: Sandbox, browser: Browser
) -> None:
    await device.use(SMTP, sandbox, timeout=60)
    before = await History(device.home).last("smtp")
    sandbox.faults.append(Fault("greeting", delay=60))

    def act(page: Page) -> str:
        assert page.context.browser is not None
        with page.context.browser.new_context(java_script_enabled=False) as profile:
            plain = profile.new_page()
            house.sign_in(plain, PAGE)
            plain.click(".again button")
            plain.wait_for_selector("[data-stage=greeting].busy")
            plain.click("#cancel")
            plain.wait_for_selector(".notice.warning")
            said = plain.inner_text(".notice.warning")
            sandbox.faults.clear()
            plain.click(".again button")
            # The page loads itself anew until the test has ended.
            plain.wait_for_selector(".result[data-cause=ok]")
            return said

    assert await browser.visit(act) == "The test was cancelled."
    assert len(await History(device.home).last("smtp")) == len(before) + 1


async def test_the_picture_tells_what_it_shows(device: Device, visitor: Visitor, sandbox: Sandbox) -> None:
    await device.use(SMTP, sandbox)
    await press(visitor)
    await device.use(SMTP, sandbox, server=None)
    page = await press(visitor)
    tests = (await History(device.home).last("smtp"))[:30]
    passed = sum(each.ok for each in tests)
    assert f"{passed} passed, {len(tests) - passed} failed." in page
    picture = page[page.index('<svg class="history"') :].partition("</svg>")[0]
    assert picture.count('rect class="passed"') == passed
    assert picture.count('rect class="failed"') == picture.count('path class="failed"') == len(tests) - passed
    assert page.count("<tr>") - 1 == min(len(tests), 10)


async def test_a_message_arrives_in_dovecot_by_postfix(
    visitor: Visitor, device: Device, ca: CA, provider: Provider, dovecot: Dovecot, postfix: Postfix
) -> None:
    user = "daemon@example.test"
    device.trust(ca.cert_pem.bytes())
    endpoint, usual = postfix.submission, {"authentication": "oauth2", "account": user, "provider": "custom"}
    await run_sync(
        lambda: device.point_to(
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
    await device.keep("alert.smtp", provider.token())
    dovecot.empty(user)
    path = "/slots/alert.smtp/test"
    await visitor.submit(path, send="yes")
    with anyio.fail_after(120):
        while not dovecot.messages(user):  # noqa: ASYNC110 - Postfix tells nobody
            await anyio.sleep(0.02)
        while "/cancel" in (page := (await visitor.get(path)).text):  # noqa: ASYNC110 - as a browser does
            await anyio.sleep(0.02)
    assert "A message was sent and accepted for delivery" in page
    assert re.search(r'data-stage="send">.*?passed', page, re.DOTALL)
    assert b"Subject: mailslot: connection test" in dovecot.messages(user)[0]
