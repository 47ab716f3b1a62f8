"""The settings of a slot in the panel: entering, correcting and saving them, and concurrent changes."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.to_thread import run_sync

from diagnosis.device import Device
from mailslot.net.endpoint import Security
from mailslot.slots.accounts import add_account
from mailslot.slots.settings import KEYS, SECRETS
from mailslot.slots.slot import SLOTS
from mailslot_plugins.panel.slots.labels import label
from mailslot_plugins.panel.translations import LANGUAGES
from panel.browser_client import words
from panel.running_panel import overflowing_elements, take_screenshots, whole_text

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page, Route

    from lab.browser import Browser
    from mailslot.slots.records import ChangeResult
    from mailslot_plugins.sandbox import Sandbox
    from panel.browser_client import BrowserClient
    from panel.running_panel import RunningPanel

SHARED, FAX, ALERT = "/slots/network.smtp", "/slots/fax.pop", "/slots/alert.smtp"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One is enough for a page; the connection test's own tests run on the other."""
    return "asyncio"


@pytest.fixture
def device(home: Path) -> Device:
    """The device behind the panel, as somebody with a terminal has it."""
    return Device(home)


async def fields(client: BrowserClient, path: str) -> dict[str, str]:
    """Return what a browser would send of the form on a page."""
    form = (await client.get(path)).text.partition('id="settings"')[2].partition("</form>")[0]
    inputs = re.findall(r'<input[^>]*? name="([^"]+)" (?:type="\w+" )?value="([^"]*)"', form)
    chosen = re.findall(r'<select id="(\w+)".*?<option value="([^"]*)" selected', form, re.DOTALL)
    return {name: unescape(value) for name, value in [*inputs, *chosen] if not name.startswith("remove-")}


async def save(client: BrowserClient, path: str, **values: str) -> str:
    """Save a form with other values, confirm where that is asked for, and return the page after it."""
    answer = await client.post(path, data={**await fields(client, path), **values})
    assert answer.status_code == 303, words(answer)
    if answer.headers["location"].endswith("/review"):
        answer = await client.submit(f"{path}/review")
        assert answer.status_code == 303, words(answer)
    assert answer.headers["location"] == path
    return words(await client.get(path))


# Entering and saving.


async def test_an_unshared_record_is_saved_without_review(client: BrowserClient, device: Device) -> None:
    path = device.home / "mailslot.toml"
    before = "# Ask Mary before you change anything.\n" + path.read_text()
    path.write_text(before)
    answer = await client.post(FAX, data={**await fields(client, FAX), "check_interval": "7", "after_fetch": "keep"})
    assert (answer.status_code, answer.headers["location"]) == (303, FAX)
    assert "Saved." in words(await client.get(FAX))
    settings = device.records.settings.load()["fax-pop"]
    assert (settings.check_interval, settings.after_fetch) == (7, "keep")
    after = path.read_text()
    assert [line for line in before.splitlines() if line not in after.splitlines()] == []
    assert len(after.splitlines()) == len(before.splitlines()) + 2


async def test_a_shared_record_is_reviewed_before_it_is_saved(client: BrowserClient, device: Device) -> None:
    page = words(await client.get(SHARED))
    assert "Saving also changes Quick Settings and Network Quick Settings." in page
    answer = await client.post(SHARED, data={**await fields(client, SHARED), "sender_name": "Copier <2>"})
    assert answer.headers["location"] == f"{SHARED}/review"
    assert device.records.settings.load()["smtp"].sender_name is None
    review = words(await client.get(f"{SHARED}/review"))
    assert "Saving also changes Quick Settings and Network Quick Settings." in review
    assert "Sender Name not set Copier <2>" in review
    # Whoever goes back finds what was entered.
    assert (await fields(client, f"{SHARED}?again=1"))["sender_name"] == "Copier <2>"
    await client.submit(f"{SHARED}/review")
    for slot in ("network.smtp", "network.quick", "install.quick"):
        assert (await fields(client, f"/slots/{slot}"))["sender_name"] == "Copier <2>"
    assert (await fields(client, ALERT))["sender_name"] == ""


async def test_saving_without_changes(client: BrowserClient) -> None:
    assert "Nothing was changed." in await save(client, ALERT)


async def test_errors_are_shown_beside_their_fields_in_the_browsers_language(
    client: BrowserClient, device: Device
) -> None:
    wrong = {"port": "99999", "sender_address": "nobody", "server": "https://mail", "timeout": "0"}
    before = device.records.settings.load()
    answer = await client.post(
        ALERT,
        data={**await fields(client, ALERT), **wrong, "account": "a\nb", "password": "pass phrase"},
        headers={"accept-language": "de"},
    )
    assert answer.status_code == 422
    for key, value in wrong.items():
        [field] = re.findall(rf'<input id="{key}"[^>]*>', answer.text)
        assert f'value="{value}"' in field
        assert 'aria-invalid="true"' in field
        assert f'aria-describedby="{key}-error ' in field
        assert f'id="{key}-error"' in answer.text
    assert "Geben Sie eine Zahl von 1 bis 65535 ein." in answer.text
    assert "Geben Sie einen Text in einer Zeile ein." in answer.text
    assert "pass phrase" not in answer.text
    assert device.records.settings.load() == before


async def test_contradictory_settings(client: BrowserClient) -> None:
    for values, error in (
        ({"security": "none"}, "choose STARTTLS or SSL/TLS"),
        ({"authentication": "pop_before_smtp"}, "Choose the POP slot to sign in to first."),
    ):
        answer = await client.post(ALERT, data={**await fields(client, ALERT), **values})
        assert answer.status_code == 422
        assert error in words(answer)


async def test_normalized_values_are_reported(client: BrowserClient, device: Device) -> None:
    page = await save(client, ALERT, server="smtps://smtp.office365.com")
    settings = device.records.settings.load()["alert-smtp"]
    assert (settings.server, settings.port, settings.security) == ("smtp.office365.com", 587, Security.STARTTLS)
    assert "Primary Server is now: smtp.office365.com." in page
    assert "never with SSL/TLS on port 465" in page


# Secrets.


async def test_a_secret_is_written_and_never_read(client: BrowserClient, device: Device) -> None:
    secret = 'pass "phrase" <1>'
    page = await save(client, ALERT, password=secret, client_secret="-----one\r\ntwo-----", authentication="password")
    assert "Set, but never shown." in page
    password = device.records.vault.read("alert-smtp", "password")
    client_secret = device.records.vault.read("alert-smtp", "client_secret")
    assert password is not None
    assert password.reveal() == secret
    assert client_secret is not None
    assert client_secret.reveal() == "-----one\ntwo-----"
    for path in (ALERT, f"{ALERT}/review", f"{ALERT}?again=1"):
        text = unescape((await client.get(path)).text)
        assert "phrase" not in text
        assert "two-----" not in text
    await save(client, ALERT, **{"remove-password": "yes", "remove-client_secret": "yes"})
    assert device.records.vault.fields("alert-smtp") == frozenset()


async def test_a_token_command_can_be_removed_but_not_set(client: BrowserClient, device: Device) -> None:
    await client.post(FAX, data={**await fields(client, FAX), "token_source": "command /bin/sh"})
    assert device.records.settings.load()["fax-pop"].token_source is None
    device.set("fax.pop", token_source="command /usr/bin/token --key=abcdef")
    page = (await client.get(FAX)).text
    assert "mailslot set" in page
    assert "abcdef" not in page
    answer = await client.post(FAX, data={**await fields(client, FAX), "remove-token_source": "yes", "timeout": "x"})
    assert "abcdef" not in answer.text
    await save(client, FAX, **{"remove-token_source": "yes"})
    assert device.records.settings.load()["fax-pop"].token_source is None


async def test_a_ca_file_can_be_removed_but_not_set(client: BrowserClient, device: Device) -> None:
    """Who may name any file could ask which there are, and have a mail's attachment believed."""
    ca_file = device.records.settings.load()["fax-pop"].ca_file
    for path in ("/etc/passwd", "/nowhere", str(device.records.home / "key")):
        answer = await client.post(FAX, data={**await fields(client, FAX), "ca_file": path})
        assert "Nothing was changed." in words(await client.get(answer.headers["location"]))
    assert device.records.settings.load()["fax-pop"].ca_file == ca_file
    await save(client, FAX, **{"remove-ca_file": "yes"})
    assert device.records.settings.load()["fax-pop"].ca_file is None
    device.set("fax.pop", ca_file=ca_file)


# A known provider.


async def test_saving_a_provider_fills_in_its_settings(client: BrowserClient, device: Device) -> None:
    await save(client, ALERT, provider="google", account="alarms@example.com", security="starttls")
    settings = device.records.settings.load()["alert-smtp"]
    assert (settings.provider, settings.server, settings.port) == ("google", None, None)
    page = (await client.get(ALERT)).text
    assert 'placeholder="smtp.gmail.com"' in page
    assert "smtp.gmail.com, from Google" in page
    # What is entered oneself comes before it, and stays.
    await save(client, ALERT, server="relay.example.com", timeout="20")
    await save(client, ALERT, timeout="25")
    assert device.records.settings.load()["alert-smtp"].server == "relay.example.com"
    # Emptied, it is the provider's again.
    await save(client, ALERT, server="", client_id="an-id")
    assert device.records.settings.load()["alert-smtp"].server is None
    # An application is known to one provider alone.
    await save(client, ALERT, provider="microsoft365")
    assert device.records.settings.load()["alert-smtp"].client_id is None


async def test_a_provider_implies_the_way_to_sign_in(client: BrowserClient, device: Device) -> None:
    device.set("status.pop", authentication="none", issuer=None, client_id=None, account=None)
    page = "/slots/status.pop"
    entered = await fields(client, page)
    # As the page does with JavaScript, …
    shown = await client.post(f"{page}/fields", data={**entered, "provider": "custom"})
    main, _, further = shown.text.partition('id="further-fields"')
    for key in ("issuer", "client_id", "scopes", "account", "server"):
        assert f'id="{key}"' in main
        assert f'id="{key}"' not in further
    assert 'id="scopes" name="scopes" type="text" value="offline_access"' in main
    assert "somebody must sign in again whenever the token ends" in words(shown)
    assert '<option value="oauth2" selected>' in further
    # … which leaves a person the last word.
    applied = {"applied-provider": "custom", "provider": "custom", "authentication": "none", "scopes": ""}
    await save(client, page, **applied)
    assert device.records.settings.load()["status-pop"].authentication == "none"
    device.set("status.pop", provider=None)
    # … and without it.
    await save(client, page, provider="custom")
    settings = device.records.settings.load()["status-pop"]
    assert (settings.provider, settings.authentication) == ("custom", "oauth2")
    for path, link in ((page, "#issuer"), (f"{page}/token", f"{page}#issuer")):
        answer = await client.get(path)
        assert "The issuer is missing" in words(answer)
        assert f'href="{link}"' in answer.text


async def test_a_token_that_may_become_unusable_is_mentioned(client: BrowserClient, device: Device) -> None:
    await device.store_token("print.pop", "token", "renewal")
    path = "/slots/print.pop"
    answer = await client.post(path, data={**await fields(client, path), "account": "alice@example.com"})
    assert answer.headers["location"] == f"{path}/review"
    assert "There is a token, and it is kept." in words(await client.get(f"{path}/review"))
    answer = await client.post(path, data={**await fields(client, path), "check_interval": "3"})
    assert answer.headers["location"] == path


# Others who change the same meanwhile.


async def test_concurrent_changes_of_different_settings(client: BrowserClient, device: Device) -> None:
    before = await fields(client, FAX)
    device.set("fax.pop", timeout=44)
    answer = await client.post(FAX, data={**before, "check_interval": "9"})
    assert answer.headers["location"] == f"{FAX}/review"
    assert "Somebody else has changed this in the meantime: Timeout." in words(await client.get(f"{FAX}/review"))
    # And once more between the question and the answer.
    device.set("fax.pop", timeout=45)
    answer = await client.submit(f"{FAX}/review")
    assert answer.headers["location"] == f"{FAX}/review"
    assert "Please check them once more." in words(await client.get(f"{FAX}/review"))
    assert (await client.submit(f"{FAX}/review")).headers["location"] == FAX
    settings = device.records.settings.load()["fax-pop"]
    assert (settings.timeout, settings.check_interval) == (45, 9)


async def test_concurrent_changes_of_the_same_setting(client: BrowserClient, device: Device) -> None:
    before = await fields(client, FAX)
    device.set("fax.pop", check_interval=11, timeout=12)
    answer = await client.post(FAX, data={**before, "check_interval": "13"})
    assert answer.status_code == 409
    assert "This was changed to 11 in the meantime." in words(answer)
    assert device.records.settings.load()["fax-pop"].check_interval == 11
    shown = dict(re.findall(r'<input[^>]*? name="([^"]+)" (?:type="\w+" )?value="([^"]*)"', answer.text))
    assert (shown["check_interval"], shown["timeout"]) == ("13", "12")
    answer = await client.post(FAX, data={**before, **shown})
    assert answer.headers["location"] == FAX
    assert device.records.settings.load()["fax-pop"].check_interval == 13


async def test_a_change_by_somebody_else_while_one_is_saved(
    client: BrowserClient, panel: RunningPanel, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two that come at once, the second is shown what the first has done."""
    device.set("fax.pop", check_interval=13)
    before = await fields(client, FAX)
    records, change = panel.device.records, panel.device.records.change

    def change_late(*arguments: Any, **options: Any) -> ChangeResult:
        monkeypatch.undo()
        device.set("fax.pop", check_interval=14)
        return change(*arguments, **options)

    monkeypatch.setattr(records, "change", change_late)
    answer = await client.post(FAX, data={**before, "check_interval": "15"})
    assert answer.headers["location"] == f"{FAX}/review"
    assert device.records.settings.load()["fax-pop"].check_interval == 14
    assert "14" in words(await client.get(f"{FAX}/review"))
    await client.submit(f"{FAX}/review", f"{FAX}/review")
    assert device.records.settings.load()["fax-pop"].check_interval == 15


async def test_a_broken_settings_file(client: BrowserClient, device: Device) -> None:
    path = device.home / "mailslot.toml"
    original, form = path.read_text(), await fields(client, FAX)
    path.write_text(original.replace("[records.fax-pop]", "[records.fax-pop"))
    try:
        answer = await client.get(FAX)
        assert answer.status_code == 503
        assert "mailslot.toml:" in answer.text
        assert "has to be corrected by hand" in answer.text
        assert (await client.post(FAX, data=form)).status_code == 503
    finally:
        path.write_text(original)


async def test_an_account_that_was_removed_a_moment_ago(
    client: BrowserClient, panel: RunningPanel, device: Device
) -> None:
    """By another process, and the panel has not looked at the settings since."""
    await run_sync(add_account, device.records, "gone", "SMTP")
    await panel.device.refresh()
    await run_sync(device.records.settings.edit, {("records", "account.gone"): None})
    for path in ("", "/token", "/test"):
        answer = await client.get(f"/slots/account.gone{path}")
        assert answer.status_code == 503
        assert "There is no record 'account.gone' any more." in words(answer)
    await panel.device.refresh()
    assert (await client.get("/slots/account.gone")).status_code == 404


# Mail.


async def test_a_poll_on_request(client: BrowserClient, device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot("status.pop", sandbox)
    sandbox.maildrops["scanner@example.com"].add(b"Subject: status\r\n\r\nplease\r\n")
    path = "/slots/status.pop"
    assert (await client.submit(f"{path}/poll", path)).status_code == 303
    with anyio.fail_after(120):
        while "Checking for mail</span>" in (await client.get(path)).text:  # noqa: ASYNC110 - as a browser does
            await anyio.sleep(0.05)
    assert "On the server: 1, newly fetched: 0. Older than the first check and left alone: 1." in words(
        await client.get(path)
    )
    assert (await client.submit(f"{SHARED}/poll", SHARED)).status_code == 404


# By people.


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until something has the focus."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    pytest.fail(f"{selector} cannot be reached")


async def test_keyboard_only(panel: RunningPanel, device: Device, browser: Browser) -> None:
    device.set("network.smtp", provider=None)

    def act(page: Page) -> list[list[str]]:
        panel.sign_in(page, SHARED)
        wide = [overflowing_elements(page)]
        take_screenshots(page, "slot")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        tab_to(page, "#provider")
        # Its first letter chooses Microsoft 365, however long the machine takes for a key. The preset comes at once.
        page.keyboard.press("M")
        page.wait_for_selector("#provider-hint:has-text('smtp.office365.com')")
        assert page.evaluate("document.activeElement.id") == "provider"
        assert not page.is_visible("#server")
        tab_to(page, "#sender_name")
        page.keyboard.press("Control+a")
        page.keyboard.type("By keyboard")
        assert page.input_value("#server") == ""
        assert page.input_value("#sender_name") == "By keyboard"
        assert not page.is_visible("#password")
        assert not page.is_visible("#pop_slot")
        take_screenshots(page, "slot-preset")
        tab_to(page, ".save button")
        page.keyboard.press("Enter")
        page.wait_for_url("**/review")
        wide.append(overflowing_elements(page))
        take_screenshots(page, "slot-review")
        tab_to(page, "main form button")
        page.keyboard.press("Enter")
        page.wait_for_url(f"**{SHARED}")
        assert "Saved, also for" in whole_text(page)
        page.click(".further summary")
        page.fill("#port", "seven")
        page.click(".save button")
        page.wait_for_selector("#port-error")
        take_screenshots(page, "slot-wrong")
        wide.append(overflowing_elements(page))
        for width in (390, 800):
            page.set_viewport_size({"width": width, "height": 480})
            page.goto(panel.address + FAX)
            wide.append(overflowing_elements(page))
        take_screenshots(page, "slot-pop")
        return wide

    assert await browser.visit(act) == [[]] * 5
    settings = (await run_sync(device.records.settings.load))["smtp"]
    assert (settings.sender_name, settings.provider, settings.server) == ("By keyboard", "microsoft365", None)


@pytest.mark.parametrize("script", ["htmx.min.js", "panel.js"])
async def test_a_provider_chosen_before_the_scripts_have_come(
    panel: RunningPanel, device: Device, browser: Browser, script: str
) -> None:
    device.set("fax.pop", provider=None)

    def act(page: Page) -> None:
        panel.sign_in(page)
        held: list[Route] = []
        page.route(f"**/{script}", lambda route: held.append(route))  # noqa: PLW0108 - Playwright marks what it calls
        with page.expect_request(f"**/{script}"):
            page.goto(panel.address + FAX, wait_until="commit")
        page.select_option("#provider", "google")
        assert not page.is_visible("#provider-hint:has-text('pop.gmail.com')")
        held[0].continue_()
        page.wait_for_selector("#provider-hint:has-text('pop.gmail.com')")

    await browser.visit(act)


CHANGES_AFTER_ANOTHER_PART = """() => {
    let changes = 0;
    document.addEventListener("change", () => changes += 1);
    htmx.trigger("#mail-live", "htmx:afterSettle");
    return changes;
}"""


async def test_what_is_entered_while_the_fields_of_a_provider_are_fetched(
    panel: RunningPanel, device: Device, browser: Browser
) -> None:
    """It stays, and a provider chosen meanwhile is followed, too."""
    device.set("print.pop", provider=None, account=None)

    def act(page: Page) -> None:
        panel.sign_in(page, "/slots/print.pop")
        held: list[Route] = []
        page.route("**/fields", lambda route: held.append(route))  # noqa: PLW0108 - Playwright marks what it calls
        with page.expect_request("**/fields"):
            page.select_option("#provider", "google")
        page.fill("#account", "print@example.com")
        page.focus("#account")
        # Without an event, as if the answer came before the next request.
        page.evaluate("document.querySelector('#provider').value = 'microsoft365'")
        with page.expect_request("**/fields"):
            held[0].continue_()
        assert "pop.gmail.com" in str(page.text_content("#provider-hint"))
        assert page.input_value("#account") == "print@example.com"
        assert page.evaluate("document.activeElement.id") == "account"
        # Other parts of the page, which are fetched every second, do not have the fields fetched anew.
        assert page.evaluate(CHANGES_AFTER_ANOTHER_PART) == 0
        held[1].continue_()
        page.wait_for_selector("#provider-hint:has-text('outlook.office365.com')")
        assert page.input_value("#provider") == "microsoft365"
        assert page.input_value("#account") == "print@example.com"

    await browser.visit(act)


async def test_without_javascript(panel: RunningPanel, device: Device, browser: Browser) -> None:
    device.set("fax.pop", check_interval=1)

    def act(page: Page) -> str:
        assert page.context.browser is not None
        with page.context.browser.new_context(java_script_enabled=False) as profile:
            plain = profile.new_page()
            panel.sign_in(plain, FAX)
            plain.fill("#check_interval", "30")
            plain.select_option("#provider", "google")
            plain.click("summary")
            plain.fill("#tenant", "example")
            plain.click(".save button")
            plain.wait_for_selector(".notice")
            return whole_text(plain)

    assert "OAuth 2.0 · pop.gmail.com · 995 · SSL/TLS" in await browser.visit(act)
    settings = (await run_sync(device.records.settings.load))["fax-pop"]
    assert (settings.check_interval, settings.provider, settings.tenant) == (30, "google", "example")


def test_every_setting_is_named_in_every_language() -> None:
    for language in LANGUAGES:
        for slot in SLOTS:
            names = [label(key, slot.protocol, language) for key in (*KEYS, *SECRETS) if key != "server"]
            assert not set(names) & set(KEYS)
            assert len(set(names)) == len(names)


async def test_a_provider_and_account_are_copied(client: BrowserClient, device: Device) -> None:
    own = {
        "provider": "microsoft365",
        "client_id": "an-id",
        "tenant": "contoso.example",
        "account": "copier@example.com",
    }
    none = dict.fromkeys(("server", "port", "security", "issuer", "scopes"))
    device.set("alert.smtp", authentication="oauth2", client_secret="of the app", **none, **own)
    device.set("print.pop", provider=None, account=None, **none)
    page = await client.get(ALERT)
    assert 'value="print-pop" checked' in page.text
    assert re.search(r'value="fax-pop">.*replaces: ', page.text)
    answer = await client.submit(f"{ALERT}/copy", page=ALERT, record="print-pop")
    assert "Copied to E-mail Print Settings." in words(await client.get(answer.headers["location"]))
    settings = device.records.settings.load()["print-pop"]
    assert {key: getattr(settings, key) for key in own} == own
    assert (settings.authentication, settings.server, settings.scopes) == ("oauth2", None, ())
    secret = device.records.vault.read("print-pop", "client_secret")
    assert secret is not None
    assert secret.reveal() == "of the app"
    assert 'value="print-pop"' not in (await client.get(ALERT)).text
    # Nothing else was changed.
    assert device.records.settings.load()["fax-pop"].provider != "microsoft365"
    assert "Nothing was copied" in words(
        await client.get((await client.submit(f"{ALERT}/copy", page=ALERT)).headers["location"])
    )


async def test_an_account_has_the_pages_of_a_slot(client: BrowserClient, device: Device, panel: RunningPanel) -> None:
    await run_sync(add_account, device.records, "office", "SMTP")
    await run_sync(add_account, device.records, "inbox", "POP")
    await panel.device.refresh()
    try:
        home = words(await client.get("/"))
        assert "Sends mail of other devices" in home
        assert "Fetches mail for other devices" in home
        page = "/slots/account.office"
        assert "Saved." in await save(client, page, server="mail.example.com")
        assert device.records.settings.load()["account.office"].server == "mail.example.com"
        assert (await client.get("/slots/account.inbox")).status_code == 200
        for part in ("token", "test"):
            assert (await client.get(f"{page}/{part}")).status_code == 200
        assert (await client.get("/slots/account.gone")).status_code == 404
        assert "inbox" in words(await client.get("/received"))
        # An account that was chosen by a command stays chosen.
        by_pop = {"authentication": "pop_before_smtp", "pop_slot": "account.inbox"}
        await run_sync(device.records.change, "account.office", by_pop, {})
        await save(client, page, sender_name="Office")
        assert device.records.settings.load()["account.office"].pop_slot == "account.inbox"
    finally:
        for name in ("account.office", "account.inbox"):
            await run_sync(device.records.settings.edit, {("records", name): None})
        await panel.device.refresh()
