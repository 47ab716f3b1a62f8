"""Get Token and Delete, request by request: invalid responses, and sign-ins that fail."""

from __future__ import annotations

import math
import re
from contextlib import asynccontextmanager
from dataclasses import replace
from html import unescape
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest
from anyio.to_thread import run_sync

from mailslot.oauth.location import Location
from mailslot.wire.secret import Secret
from mailslot_plugins.panel.token import view
from mailslot_plugins.panel.token.state import TokenState, token_state
from mailslot_plugins.sandbox import PORTAL, WebFault
from panel.browser_client import BrowserClient, words
from panel.running_panel import RunningPanel, run_panel, sandbox_home, set_up
from tokens.people import sign_in

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from mailslot.service.device import Device
    from mailslot_plugins.sandbox import Sandbox

PAGE = "/slots/network.smtp/token"
NOBODY = "This sign-in is not expected"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One is enough for what pages say and do; the flows and the panel's tasks have tests on both."""
    return "asyncio"


@pytest.fixture(scope="module")
async def home(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
async def sandbox(home: Path) -> AsyncGenerator[Sandbox]:
    async with sandbox_home(home) as running:
        yield running
        assert not running.errors


@pytest.fixture(scope="module")
async def panel(home: Path, sandbox: Sandbox) -> AsyncGenerator[RunningPanel]:
    async with run_panel(home) as found:
        yield found


@pytest.fixture(scope="module")
async def admin(panel: RunningPanel) -> AsyncGenerator[BrowserClient]:
    async with signed_in(panel) as found:
        yield found


@asynccontextmanager
async def signed_in(panel: RunningPanel) -> AsyncGenerator[BrowserClient]:
    async with BrowserClient(panel.address) as found:
        assert (await found.sign_in()).status_code == 303
        yield found


async def begin(admin: BrowserClient, method: str, page: str = PAGE) -> str:
    """Begin a sign-in, and return the address that is to be opened; empty where it came to nothing before."""
    assert (await admin.submit(page, way=method)).headers["location"] == page
    text = await settled(admin, page, 'data-step="preparing"')
    found = re.search(r'class="button primary" href="(http://localhost:[^"]*)"', text)
    return unescape(found[1]) if found else ""


async def settled(admin: BrowserClient, page: str = PAGE, while_: str = 'data-step="fetching"') -> str:
    """Return the page once it says no longer that something goes on."""
    with anyio.fail_after(120):
        while True:
            text = (await admin.get(page)).text
            if while_ not in text and 'data-step="fetching"' not in text:
                return text
            await anyio.sleep(0.02)


async def forget(panel: RunningPanel, admin: BrowserClient) -> None:
    await admin.submit(f"{PAGE}/delete")
    await settled(admin, while_="being deleted")
    assert await nothing_there(panel)


async def lines(panel: RunningPanel) -> dict[str, str]:
    settings = await run_sync(panel.device.records.settings.load)
    return {
        record: (await panel.device.records.tokens.status(record, own_address, panel.device.now()))[0]
        for record, own_address in settings.items()
    }


async def nothing_there(panel: RunningPanel) -> bool:
    return set((await lines(panel)).values()) == {"Not Retrieved"}


def path_of(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.path or '/'}?{parts.query}"


async def test_a_copied_home(panel: RunningPanel, admin: BrowserClient) -> None:
    answer = path_of(await sign_in(await begin(admin, "browser")))
    await admin.get(answer)
    await settled(admin)
    store = panel.device.records.tokens.store("smtp")
    assert 'action="/slots/network.smtp/token/moved"' not in (await admin.get(PAGE)).text
    grant = await store.load()
    assert grant is not None
    elsewhere = Location((), None, "/elsewhere/locks/smtp.lock", 1)
    await store.save(replace(grant, location=elsewhere, refresh_token=Secret("of the first device")))
    shown = await admin.get(PAGE)
    assert "copied from" in words(shown)
    assert 'action="/slots/network.smtp/token/moved"' in shown.text
    assert (await admin.submit(f"{PAGE}/moved", page=PAGE)).headers["location"] == PAGE
    shown = await admin.get(PAGE)
    assert "renewed here from now on" in words(shown)
    assert "copied from" not in words(shown)
    await forget(panel, admin)


async def test_the_connection_is_tested_and_the_result_appears_here(panel: RunningPanel, admin: BrowserClient) -> None:
    async def obtain() -> str:
        answer = path_of(await sign_in(await begin(admin, "browser")))
        await admin.get(answer)
        await settled(admin)
        return await settled(admin, while_="every 500ms")

    assert 'data-cause="ok"' in await obtain()
    before = (await run_sync(panel.device.records.settings.load))["smtp"]
    await run_sync(panel.device.records.change, "smtp", {"server": "nowhere.invalid"}, {})
    try:
        page = await obtain()
    finally:
        await run_sync(panel.device.records.change, "smtp", {"server": before.server}, {})
    assert 'data-cause="name_not_found"' in page
    result = page[page.index('class="test-result"') :]
    assert 'class="advice"' in result
    assert "Who must act" in result
    assert 'class="button primary" href="/slots/network.smtp' in result
    await forget(panel, admin)


async def test_a_response_counts_once_for_its_session_and_slot(panel: RunningPanel, admin: BrowserClient) -> None:
    address = await begin(admin, "browser")
    asked = parse_qs(urlsplit(address).query)
    assert asked["redirect_uri"] == [panel.address]  # as it is registered, without a path
    assert asked["code_challenge_method"] == ["S256"]
    answer = path_of(await sign_in(address))

    async def is_refused(browser: BrowserClient, path: str) -> None:
        refused = await browser.get(path)
        assert refused.status_code == 400
        assert NOBODY in words(refused)
        assert await nothing_there(panel)

    async with BrowserClient(panel.address) as other_browser:
        await is_refused(other_browser, answer)
    async with signed_in(panel) as other:
        await is_refused(other, answer)
        assert "is in progress in another browser" in words(await other.get(PAGE))
        assert address not in unescape((await other.get(PAGE)).text)
        assert (await other.submit(f"{PAGE}/cancel", PAGE)).status_code == 303  # which is not theirs to leave
    [state] = asked["state"]
    for path in (
        answer.replace(state, state[:-1] + "_"),
        answer.replace(f"state={state}", "state="),
        f"{answer}&state={state}",
        f"{answer}&code=another",
        answer.replace("code=", "kode="),
    ):
        if path.startswith("/?") and "kode" in path:
            assert (await admin.get(path)).status_code == 200  # is no answer, and shows the home page
        else:
            await is_refused(admin, path)

    taken = await admin.get(answer)
    assert (taken.status_code, taken.headers["location"]) == (303, PAGE)
    await settled(admin)
    assert (await lines(panel)) == {
        record: "Retrieved" if record == "smtp" else "Not Retrieved" for record in await lines(panel)
    }
    again = await admin.get(answer)
    assert again.status_code == 400
    assert NOBODY in words(again)
    await forget(panel, admin)


async def test_a_page_that_is_made_while_the_sign_in_ends(
    panel: RunningPanel, admin: BrowserClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = await begin(admin, "browser")

    async def end_after_reading(device: Device, record: str) -> TokenState:
        state = await token_state(device, record)
        monkeypatch.undo()
        await admin.get(path_of(await sign_in(address)))
        await settled(admin)
        return state

    monkeypatch.setattr(view, "token_state", end_after_reading)
    text = (await admin.get(PAGE)).text
    assert 'data-step="done"' in text
    assert 'data-token="Retrieved"' in text
    await forget(panel, admin)


async def test_a_response_of_another_issuer_ends_the_sign_in(
    panel: RunningPanel, admin: BrowserClient, sandbox: Sandbox
) -> None:
    answer = path_of(await sign_in(await begin(admin, "browser")))
    assert (await admin.get(re.sub("iss=.*", "iss=https%3A%2F%2Fevil.example", answer))).status_code == 303
    text = await settled(admin)
    assert "The provider’s response to the sign-in cannot be used." in text
    assert "not from the provider that was asked" in text
    assert (await admin.get(answer)).status_code == 400
    assert await nothing_there(panel)


async def test_a_declined_authorization(panel: RunningPanel, admin: BrowserClient) -> None:
    answer = path_of(await sign_in(await begin(admin, "browser"), decision="deny"))
    await admin.get(answer)
    assert "The sign-in was declined at the provider." in await settled(admin)
    text = words(await admin.get(PAGE, headers={"accept-language": "de"}))
    assert "Die Anmeldung wurde beim Anbieter abgelehnt." in text
    assert "Code anzeigen" in text  # the ways are there again
    await admin.submit(f"{PAGE}/cancel", PAGE)
    assert "declined" not in words(await admin.get(PAGE))
    assert await nothing_there(panel)


async def test_a_response_to_another_loopback_name(panel: RunningPanel, admin: BrowserClient) -> None:
    """Microsoft knows localhost alone, and a browser that was called by 127.0.0.1 has its cookie there."""
    answer = path_of(await sign_in(await begin(admin, "browser")))
    async with BrowserClient(panel.address.replace("127.0.0.1", "localhost")) as same_browser:
        sent_on = await same_browser.get(answer)
        assert sent_on.status_code == 303
        assert sent_on.headers["location"].startswith(f"{panel.address}/oauth/callback?")
        assert (await same_browser.get("/?code=x&state=y")).status_code == 400
    assert await nothing_there(panel)
    assert (await admin.get(path_of(sent_on.headers["location"]))).headers["location"] == PAGE
    assert "Retrieved" in await settled(admin)
    await forget(panel, admin)


@pytest.mark.parametrize("method", ["browser", "device", "paste"])
async def test_an_unreachable_provider(
    panel: RunningPanel, admin: BrowserClient, sandbox: Sandbox, method: str
) -> None:
    sandbox.token_service.faults.append(WebFault("metadata", answer=PORTAL))
    try:
        assert not await begin(admin, method)
    finally:
        sandbox.token_service.faults.clear()
    page = await admin.get(PAGE)
    assert 'data-step="failed"' in page.text
    assert "sign in" in words(page)  # to the network
    assert "Show the code" in page.text
    assert await nothing_there(panel)


async def test_no_page_waits_for_a_silent_provider(panel: RunningPanel, admin: BrowserClient, sandbox: Sandbox) -> None:
    sandbox.token_service.faults.append(WebFault("metadata", delay=math.inf))
    sandbox.token_service.faults.append(WebFault("revoke", delay=math.inf))
    try:
        with anyio.fail_after(120):
            assert (await admin.submit(PAGE, way="device")).status_code == 303
            assert "Contacting the provider" in (await admin.get(PAGE)).text
            assert (await admin.get(f"{PAGE}/progress?seen=preparing")).status_code == 204
            assert (await admin.submit(f"{PAGE}/cancel", PAGE)).status_code == 303
            assert "data-step" not in (await admin.get(PAGE)).text
    finally:
        sandbox.token_service.faults.clear()


async def test_a_deletion_without_confirmed_revocation(
    panel: RunningPanel, admin: BrowserClient, sandbox: Sandbox
) -> None:
    await admin.get(path_of(await sign_in(await begin(admin, "browser"))))
    await settled(admin)
    asking = words(await admin.get(f"{PAGE}/delete"))
    assert "It is deleted here, and therefore in Quick Settings and Network Quick Settings, too." in asking
    assert (await lines(panel))["smtp"] == "Retrieved"  # asking changes nothing
    sandbox.token_service.faults.append(WebFault("revoke", act=False))
    try:
        await admin.submit(f"{PAGE}/delete")
        text = await settled(admin, while_="being deleted")
    finally:
        sandbox.token_service.faults.clear()
    assert "The token has been deleted on this device." in text
    assert "The provider was not told." in text
    assert await nothing_there(panel)
    assert "There is no token to delete." in words(await admin.get(f"{PAGE}/delete"))


async def test_an_expired_device_code(panel: RunningPanel, admin: BrowserClient, sandbox: Sandbox) -> None:
    authorizations = sandbox.token_service.authorizations
    authorizations.interval = 0.1
    try:
        await begin(admin, "device")
        device = authorizations.devices[-1]
        assert device.user_code in (await admin.get(PAGE)).text
        device.expires_at = 0.0
        assert "The code expired" in await settled(admin, while_='data-step="code"')
    finally:
        authorizations.interval = 5.0
    assert await nothing_there(panel)


async def test_a_cancelled_or_replaced_sign_in(panel: RunningPanel, admin: BrowserClient) -> None:
    first = await begin(admin, "browser")
    await admin.submit(f"{PAGE}/cancel", PAGE)
    assert "data-step" not in (await admin.get(PAGE)).text
    assert (await admin.get(path_of(await sign_in(first)))).status_code == 400
    own_address = await begin(admin, "browser")
    async with signed_in(panel) as other:
        other_address = await begin(other, "browser", "/slots/install.quick/token")
        assert "is in progress in another browser" in words(await admin.get(PAGE))
        assert (await admin.get(path_of(await sign_in(own_address)))).status_code == 400
        progress = await admin.get(f"{PAGE}/progress?seen=address")
        assert progress.headers["hx-redirect"] == PAGE
        assert (await other.get(path_of(await sign_in(other_address)))).headers[
            "location"
        ] == "/slots/install.quick/token"
        await settled(other)
    assert (await lines(panel))["smtp"] == "Retrieved"
    await forget(panel, admin)


async def test_pasted_addresses(panel: RunningPanel, admin: BrowserClient) -> None:
    address = await begin(admin, "paste")
    good = await sign_in(address)
    form = f"{PAGE}/paste"
    for pasted, obstacle in (
        ("", "The address is incomplete"),
        (address, "a different address"),
        (good.partition("&state")[0], "The end of that address is missing"),
        (good.replace("state=", "state=x"), "belongs to another sign-in"),
        (panel.address + "/?code=x&state=y", "a different address"),
    ):
        refused = await admin.submit(form, PAGE, address=pasted)
        assert refused.status_code == 422
        assert obstacle in words(refused)
        assert 'aria-invalid="true"' in refused.text
        assert "code=" not in re.sub("<code>.*?</code>|data-copies=.*?>|href=.*?>", "", refused.text)
        assert await nothing_there(panel)
    assert (await admin.submit(form, PAGE, address=f" <{good}>\n")).headers["location"] == PAGE
    assert "Retrieved" in await settled(admin)
    assert (await admin.submit(form, PAGE, address=good)).status_code == 303
    assert "That sign-in has ended." in words(await admin.get(PAGE))
    await forget(panel, admin)


async def settled_way(admin: BrowserClient, page: str, method: str) -> str:
    assert not await begin(admin, method, page)
    return await settled(admin, page)


async def test_client_credentials(panel: RunningPanel, admin: BrowserClient, sandbox: Sandbox) -> None:
    page = "/slots/status.pop/token"
    sandbox.provider.register("robot", "robots' secret", ["scanner@example.com"])
    assert 'value="app"' not in (await admin.get(page)).text  # without a secret, it cannot
    assert (await admin.submit(page, way="app")).status_code == 303
    assert "This way to sign in is no longer available" in words(await admin.get(page))
    form = f"{page}/application"

    missing = await admin.submit(form, page, client_id=" ", client_secret="robots' secret")
    assert missing.status_code == 422
    assert "robots" not in missing.text  # never shown again
    wrong = await admin.submit(form, page, client_id="robot", scopes='a "b"', client_secret="robots' secret")
    assert wrong.status_code == 422
    assert 'value="robot"' in wrong.text
    assert 'aria-describedby="scopes-error' in wrong.text
    saved = await admin.submit(form, page, client_id="robot", client_secret="guessed")
    assert saved.headers["location"] == page
    shown = await admin.get(page)
    assert "Set, but never shown." in words(shown)
    assert "guessed" not in shown.text
    failed = await settled_way(admin, page, "app")
    assert "did not accept" in failed
    assert "guessed" not in failed

    await admin.submit(form, page, client_id="robot", client_secret="robots' secret")
    assert 'data-step="done"' in await settled_way(admin, page, "app")
    assert (await lines(panel))["status-pop"] == "Retrieved"
    await admin.submit(f"{page}/delete")
    await settled(admin, page, while_="being deleted")
    await admin.submit(form, page, client_id="panel", forget_secret="on")
    assert "Only if the provider gave you one." in words(await admin.get(page))


async def test_tokens_from_elsewhere(panel: RunningPanel, admin: BrowserClient, sandbox: Sandbox) -> None:
    page, file = "/slots/print.pop/token", panel.device.home / "token"
    await run_sync(panel.device.records.change, "print-pop", {"token_source": f"file {file}"}, {})
    try:
        assert "The settings name a token source (file)" in words(await admin.get(page))
        failed = await settled_way(admin, page, "source")
        assert 'data-step="failed"' in failed
        assert "cannot be read" in failed
        token = sandbox.provider.issue("scanner@example.com").value.reveal()
        await run_sync(file.write_text, token)
        await run_sync(file.chmod, 0o600)
        done = await settled_way(admin, page, "source")
        assert "The source returned a token" in done
        assert token not in done
        assert (await lines(panel))["print-pop"] == "Not Retrieved"
    finally:
        await run_sync(panel.device.records.change, "print-pop", {"token_source": None}, {})


@pytest.mark.parametrize(
    ("change", "obstacle"),
    [
        ({"authentication": "none"}, "does not sign in with OAuth 2.0"),
        ({"issuer": None}, "Choose the provider first"),
        ({"account": None}, "Set the account name first"),
        ({"client_id": None}, "an application for this device must be registered"),
    ],
)
async def test_settings_that_prevent_signing_in(
    panel: RunningPanel, admin: BrowserClient, change: dict[str, object], obstacle: str
) -> None:
    page = "/slots/alert.smtp/token"
    before = (await run_sync(panel.device.records.settings.load))["alert-smtp"]
    await run_sync(panel.device.records.change, "alert-smtp", change, {})
    try:
        text = words(await admin.get(page))
        assert obstacle in text
        assert "Show the code" not in text
        assert (await admin.submit(page, way="device")).status_code == 303
        assert "This way to sign in is no longer available" in words(await admin.get(page))
    finally:
        restored = {key: getattr(before, key) for key in change}
        await run_sync(panel.device.records.change, "alert-smtp", restored, {})


async def test_an_unknown_slot(admin: BrowserClient) -> None:
    assert (await admin.get("/slots/x.smtp/token")).status_code == 404


async def test_a_restart_discards_pending_sign_ins(tmp_path: Path, sandbox: Sandbox) -> None:
    await run_sync(set_up, tmp_path, sandbox)
    async with run_panel(tmp_path) as panel, signed_in(panel) as admin:
        answer = path_of(await sign_in(await begin(admin, "browser")))
    async with run_panel(tmp_path, claimed=False) as panel, signed_in(panel) as admin:
        assert NOBODY in words(await admin.get(answer))
        assert "Show the code" in (await admin.get(PAGE)).text
        assert await nothing_there(panel)
