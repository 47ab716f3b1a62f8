"""The gateway's pages and API: devices, unknown devices, listeners and accounts, while the service runs."""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest
from anyio.to_thread import run_sync

from mailslot.diagnosis.gateway_log import STORE, Dialogue, GatewayLog
from mailslot.diagnosis.listener_certificate import ListenerCertificate
from mailslot.spool.job import DEVICE_NOTE
from mailslot.timestamps import day
from mailslot_plugins.gateway.panel.makers import makers
from mailslot_plugins.panel.security.keys import ApiKeys
from panel.browser_client import BrowserClient, words
from panel.running_panel import RunningPanel, overflowing_elements, run_panel, take_screenshots

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from playwright.sync_api import Page

    from lab.browser import Browser

LANGUAGES = ("en", "de", "fr", "es", "ja")
MESSAGE = b"From: hall@copiers.example\r\nTo: bob@example.com\r\nSubject: a scan\r\n\r\npage one\r\n"
EVIL = "<b>\"&'}{{7*7}}"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One is enough for what pages say and do; the gateway and the panel's server have tests on both."""
    return "asyncio"


@pytest.fixture
async def panel(tmp_path: Path) -> AsyncIterator[RunningPanel]:
    async with run_panel(tmp_path / "home", serves=True) as found:
        yield found


@pytest.fixture
async def admin(panel: RunningPanel) -> AsyncIterator[BrowserClient]:
    async with BrowserClient(panel.address) as found:
        await found.sign_in()
        yield found


async def page(admin: BrowserClient, path: str, *, status: int = 200, language: str = "en") -> str:
    answer = await admin.get(path, headers={"accept-language": language})
    assert answer.status_code == status, (path, answer.text)
    return words(answer)


async def until(read: Callable[[], Awaitable[Any]]) -> Any:
    """Return what is read, once it is not empty."""
    with anyio.fail_after(60):
        while not (found := await read()):  # noqa: ASYNC110 - the gateway tells nobody
            await anyio.sleep(0.05)
    return found


async def port_of(panel: RunningPanel, listener: str = "scan") -> int:
    log = GatewayLog(panel.device.store(STORE))

    async def read() -> Any:
        return (await log.listening()).get(listener)

    return int((await until(read))[1])


async def add_listener(admin: BrowserClient, panel: RunningPanel, **more: str) -> int:
    fields = {"name": "scan", "listen": "127.0.0.1:0", "protocol": "smtp", "security": "starttls", **more}
    answer = await admin.submit("/gateway/listeners", **fields)
    assert answer.status_code == 303, words(answer)
    return await port_of(panel, fields["name"])


async def add_account(admin: BrowserClient, panel: RunningPanel, name: str = "office") -> None:
    answer = await admin.submit("/gateway/accounts", name=name, protocol="smtp")
    assert answer.headers["location"] == f"/slots/account.{name}"
    values = {"server": "127.0.0.1", "port": 9, "security": "none", "authentication": "none"}
    panel.device.records.change(f"account.{name}", {**values, "sender_address": "office@example.com"}, {})
    await panel.device.refresh()


async def add_device(admin: BrowserClient, name: str = "hall", **fields: str) -> httpx2.Response:
    asked = {"identity": "user", "via": "account.office", "audience": "domain", **fields}
    return await admin.submit("/gateway/new", name=name, **asked)


def password_on(text: str) -> str:
    found = re.search(r"\b[a-z2-7]{26}\b", text)
    assert found, text
    return found[0]


def send(port: int, user: str = "", password: str = "", to: str = "bob@example.com") -> None:
    """Send as a device does that trusts any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP("127.0.0.1", port, local_hostname="NPIF65E56", timeout=60) as client:
        client.starttls(context=context)
        if user:
            client.login(user, password)
        client.sendmail("hall@copiers.example", [to], MESSAGE)


async def test_an_empty_gateway_says_what_to_do(admin: BrowserClient) -> None:
    text = await page(admin, "/gateway")
    assert "Three steps until devices can send" in text
    answer = await admin.get("/gateway")
    for step in ("/gateway/accounts", "/gateway/listeners", "/gateway/new"):
        assert f'href="{step}"' in answer.text
    assert "Mail for other devices" in await page(admin, "/")


async def test_the_first_start_asks_whose_mail_it_is_for(admin: BrowserClient) -> None:
    answer = await admin.submit("/first-start/device", name="Gateway", language="en")
    assert answer.headers["location"] == "/first-start/purpose"
    shown = await admin.get("/first-start/purpose")
    assert 'href="/first-start/slot"' in shown.text
    assert 'href="/gateway"' in shown.text
    assert "This device’s own mail" in words(shown)


@pytest.mark.parametrize("language", LANGUAGES)
async def test_every_page_in_every_language(panel: RunningPanel, admin: BrowserClient, language: str) -> None:
    await add_account(admin, panel)
    await add_listener(admin, panel)
    await add_device(admin)
    paths = ["", "/new", "/live", "/listeners", "/listeners/live", "/accounts", "/listeners/scan/remove"]
    paths += [f"/devices/hall{each}" for each in ("", "/live", "/sheet", "/password", "/remove")]
    for path in [*paths, "/accounts/office/remove"]:
        assert await page(admin, f"/gateway{path}", language=language)


async def test_a_device_is_added_by_three_questions_and_can_send(panel: RunningPanel, admin: BrowserClient) -> None:
    await add_account(admin, panel)
    port = await add_listener(admin, panel)
    answer = await add_device(admin)
    assert answer.headers["location"] == "/gateway/devices/hall"
    first = await page(admin, "/gateway/devices/hall")
    password = password_on(first)
    assert f"Server 127.0.0.1 Port {port} Encryption STARTTLS User hall" in first
    # The password is shown once.
    assert password not in await page(admin, "/gateway/devices/hall")
    await run_sync(send, port, "hall", password)
    log = GatewayLog(panel.device.store(STORE))

    async def read() -> list[Dialogue]:
        return await log.dialogues("hall")

    await until(read)
    later = await page(admin, "/gateway/devices/hall")
    assert "One message came through." in later
    assert "a scan" in later
    assert password not in later
    [job] = await panel.device.spool.jobs()
    assert (job.pipeline, job.notes[DEVICE_NOTE], job.via) == ("gateway", "hall", "account.office")
    assert "1 waiting" in await page(admin, "/gateway")
    assert "Mail from a device" in await page(admin, f"/jobs/{job.id}")
    # To others than the account's domain it may not send, and its page says why.
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        await run_sync(send, port, "hall", password, "eve@elsewhere.example")

    async def refused() -> bool:
        return "may not send to this recipient" in await page(admin, "/gateway/devices/hall/live", language="en")

    await until(refused)
    assert "darf nicht an diesen Empfänger senden" in await page(admin, "/gateway/devices/hall/live", language="de")
    assert "may not send to this recipient" in await page(admin, "/")


async def test_a_new_password_replaces_the_old_one(panel: RunningPanel, admin: BrowserClient) -> None:
    await add_account(admin, panel)
    port = await add_listener(admin, panel)
    await add_device(admin)
    old = password_on(await page(admin, "/gateway/devices/hall"))
    assert "refused until the new one is entered" in await page(admin, "/gateway/devices/hall/password")
    assert (await admin.submit("/gateway/devices/hall/password")).status_code == 303
    new = password_on(await page(admin, "/gateway/devices/hall"))
    assert new != old

    async def new_works() -> bool:
        with suppress(smtplib.SMTPAuthenticationError):
            await run_sync(send, port, "hall", new)
            return True
        return False

    await until(new_works)
    with pytest.raises(smtplib.SMTPAuthenticationError):
        await run_sync(send, port, "hall", old)


async def test_an_unknown_device_is_adopted_with_one_form(panel: RunningPanel, admin: BrowserClient) -> None:
    await add_account(admin, panel)
    port = await add_listener(admin, panel)

    def knock() -> str:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            return client.recv(1000).decode()

    assert (await run_sync(knock)).startswith("554 5.7.1 ")

    async def listed() -> bool:
        return "came once" in await page(admin, "/gateway")

    await until(listed)
    assert "Dieses Gerät hat hier keinen Eintrag" in await page(admin, "/gateway", language="de")
    wrong = await admin.submit("/gateway/adopt", "/gateway", address="127.0.0.1", name="Hall 2", via="account.office")
    assert wrong.status_code == 422
    assert 'value="hall 2"' in wrong.text
    adopted = await admin.submit("/gateway/adopt", "/gateway", address="127.0.0.1", name="hall", via="account.office")
    assert adopted.headers["location"] == "/gateway/devices/hall"
    assert "came once" not in await page(admin, "/gateway")

    async def let_in() -> bool:
        return (await run_sync(knock)).startswith("220 ")

    await until(let_in)
    await run_sync(send, port)
    gone = await admin.submit("/gateway/adopt", "/gateway", address="127.0.0.1", name="hall-2")
    assert gone.headers["location"] == "/gateway"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "Hall 2"}, "A name has lower-case letters"),
        ({"identity": "address"}, "Enter the device’s network address."),
        ({"identity": "address", "address": "0.0.0.0/0"}, "This cannot be used here"),
        ({"audience": "some"}, "Enter at least one address or domain."),
        ({"audience": "some", "to": EVIL}, "This cannot be used here"),
        ({"limit": "many"}, "This cannot be used here"),
        ({"via": "account.nowhere"}, "There is no slot"),
    ],
)
async def test_what_is_wrong_is_said_at_its_field(
    panel: RunningPanel, admin: BrowserClient, fields: dict[str, str], said: str
) -> None:
    await add_account(admin, panel)
    answer = await add_device(admin, **{"name": "hall", **fields})
    assert answer.status_code == 422
    assert said in words(answer)
    assert EVIL not in answer.text
    assert panel.device.records.settings.current().groups["devices"] == {}


async def test_a_device_is_changed_and_removed(panel: RunningPanel, admin: BrowserClient) -> None:
    await add_account(admin, panel)
    await add_listener(admin, panel)
    await add_device(admin, identity="both", address="192.168.1.20", audience="some", to="bob@example.com")
    here = "/gateway/devices/hall"
    fields = {"identity": "address", "address": "192.168.1.21, 192.168.2.0/24", "via": "account.office"}
    changed = await admin.submit(here, audience="anyone", limit="20/minute", **fields)
    assert changed.status_code == 303, words(changed)
    values = panel.device.records.settings.current().groups["devices"]["hall"]
    assert values["address"] == ("192.168.1.21", "192.168.2.0/24")
    assert (values["to"], values["limit"], values.get("user")) == (("*",), ("20/minute",), None)
    assert (await admin.submit(here, identity="address", via="account.office")).status_code == 422
    with_user = await admin.submit(here, identity="user", user="scan", via="account.office", audience="anyone")
    assert with_user.status_code == 303
    # The password that it had before is the new user's.
    assert "User scan" in await page(admin, here)
    await add_device(admin, "fax", identity="address", address="192.168.1.30")
    await admin.submit("/gateway/devices/fax", identity="user", user="fax", via="account.office", audience="domain")
    assert "It has no password yet" in await page(admin, "/gateway/devices/fax")
    await admin.submit("/gateway/devices/fax/password")
    password_on(await page(admin, "/gateway/devices/fax"))
    await admin.submit("/gateway/devices/fax/remove")
    refused = await admin.submit("/gateway/accounts/office/remove")
    assert refused.headers["location"] == "/gateway/accounts"
    assert "is used by the device hall" in await page(admin, "/gateway/accounts")
    assert (await admin.submit(f"{here}/remove")).headers["location"] == "/gateway"
    assert panel.device.records.settings.current().groups["devices"] == {}
    for path in (here, f"{here}/sheet", f"{here}/password", "/gateway/listeners/none/remove"):
        await page(admin, path, status=404)
    assert (await admin.submit("/gateway/accounts/office/remove")).status_code == 303
    assert "office was removed" in await page(admin, "/gateway/accounts")
    assert panel.device.slots.accounts == {}


async def test_a_listener_that_cannot_be_opened_says_why(panel: RunningPanel, admin: BrowserClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        await admin.submit("/gateway/listeners", name="scan", listen=f"127.0.0.1:{port}", security="none")

        async def failed() -> bool:
            return "The listener is not open" in await page(admin, "/gateway/listeners/live")

        await until(failed)
        assert f"127.0.0.1:{port}" in await page(admin, "/")
    clear = await admin.submit("/gateway/listeners", name="open", listen="8.8.8.8:25", security="none")
    assert clear.status_code == 422
    assert "passwords could be read on the way" in words(clear)
    assert (await admin.submit("/gateway/listeners/scan/remove")).status_code == 303

    async def gone() -> bool:
        return "No listener yet" in await page(admin, "/gateway/listeners/live")

    await until(gone)


async def test_a_certificate_that_ends_soon(panel: RunningPanel, admin: BrowserClient) -> None:
    await add_listener(admin, panel)
    text = await page(admin, "/gateway/listeners")
    assert "this gateway, which has made it" in text
    assert "2049-12-31" in text
    log, now = GatewayLog(panel.device.store(STORE)), panel.device.now()
    ends = ListenerCertificate("mail", ("mail.example.com",), "An Authority", "0a1b", "RSA", 0.0, now + 86_400, False)
    open_at = {"scan": ("127.0.0.1", 40025)}
    log.note_listening(open_at, {"scan": "It is not a certificate."}, {"scan": [ends]})
    await log.flush()
    sentence = f"The certificate is valid only until {day(ends.valid_until)}."
    text = await page(admin, "/gateway/listeners")
    for shown in (sentence, "mail.example.com", "An Authority", "0A:1B", "The new certificate cannot be used"):
        assert shown in text
    home = await page(admin, "/")
    assert sentence in home
    assert "It is not a certificate." in home
    assert "The listener is not open" not in home


async def test_the_page_to_print_names_the_values_as_the_maker_does(panel: RunningPanel, admin: BrowserClient) -> None:
    await add_account(admin, panel)
    port = await add_listener(admin, panel)
    await add_device(admin)
    password = password_on(await page(admin, "/gateway/devices/hall"))
    sheet = await page(admin, "/gateway/devices/hall/sheet?maker=sharp")
    assert "System Settings › Network Settings › Service Settings › SMTP" in sheet
    assert f"Port Port Number {port}" in sheet
    assert "enter office@example.com" in sheet
    assert password not in sheet
    for maker in makers():
        assert maker.menu("SMTP") or maker.menu("POP")
        assert " › ".join(maker.menu("SMTP")) in await page(admin, f"/gateway/devices/hall/sheet?maker={maker.id}")
    assert "look for SMTP" in await page(admin, "/gateway/devices/hall/sheet?maker=unknown")


async def test_the_pages_of_a_slot_work_for_an_account(panel: RunningPanel, admin: BrowserClient) -> None:
    await add_account(admin, panel)
    for path in ("", "/test", "/token", "/token/delete"):
        assert "office" in await page(admin, f"/slots/account.office{path}")
    saved = await admin.submit("/slots/account.office", sender_name="The office")
    assert saved.status_code in {200, 303}
    assert (await admin.submit("/gateway/accounts", name="office", protocol="smtp")).status_code == 422


async def test_nothing_changes_without_the_token_of_the_form(panel: RunningPanel, admin: BrowserClient) -> None:
    await add_account(admin, panel)
    before = panel.device.records.settings.path.read_bytes()
    for path in ("/gateway/new", "/gateway/adopt", "/gateway/listeners", "/gateway/accounts"):
        assert (await admin.post(path, data={"name": "hall", "via": "account.office"})).status_code == 403
    async with BrowserClient(panel.address) as stranger:
        for path in ("/gateway", "/gateway/devices/hall", "/gateway/listeners", "/gateway/accounts"):
            assert (await stranger.get(path)).headers["location"].startswith("/sign-in")
    assert panel.device.records.settings.path.read_bytes() == before


@pytest.fixture
async def script(panel: RunningPanel) -> AsyncIterator[httpx2.AsyncClient]:
    """Somebody with a key to the API."""
    key = await run_sync(ApiKeys(panel.device.home, lambda: 0.0).make, "fleet")
    headers = {"authorization": f"Bearer {key.reveal()}"}
    async with httpx2.AsyncClient(base_url=f"{panel.address}/api", headers=headers, timeout=60, trust_env=False) as api:
        yield api


async def test_a_key_reads_and_the_administrator_changes(
    panel: RunningPanel, admin: BrowserClient, script: httpx2.AsyncClient
) -> None:
    assert (await script.post("/accounts", json={"name": "office"})).status_code == 201
    admin.headers["x-csrf-token"] = await admin.token("/administration")
    listener = {"name": "scan", "listen": "127.0.0.1:0"}
    device = {"name": "hall", "user": "hall", "via": "account.office"}
    no_certificate = {"name": "hall", "certificate": ["MIICAAAA"], "via": "account.office"}
    refused = await admin.post("/api/devices", json=no_certificate)
    assert (refused.status_code, refused.json()["key"]) == (422, "certificate"), refused.text
    for path, body in (("/listeners", listener), ("/devices", device)):
        refused = await script.post(path, json=body)
        assert (refused.status_code, refused.json()["cause"]) == (403, "not_permitted"), refused.text
        added = await admin.post(f"/api{path}", json=body)
        assert added.status_code == 201, added.text
    made = added.json()["made_password"]
    [shown] = (await script.get("/devices")).json()
    assert (shown["name"], shown["user"], shown["password"]) == ("hall", "hall", "made")
    assert made not in (await script.get("/devices")).text
    assert (await script.post("/devices/hall/password", json={})).status_code == 403
    assert (await script.patch("/devices/hall", json={"to": ["*"]})).status_code == 403
    assert (await script.patch("/devices/hall", json={"address": ["10.0.0.1"]})).status_code == 403
    limited = await script.patch("/devices/hall", json={"limit": ["5/minute"], "via": "account.office"})
    assert limited.json()["limit"] == ["5/minute"]
    assert (await script.delete("/devices/hall")).status_code == 403
    assert (await script.delete("/listeners/scan")).status_code == 403
    assert (await script.delete("/accounts/office")).status_code == 422
    await port_of(panel)
    [opened] = (await script.get("/listeners")).json()
    assert (opened["port"], opened["error"], opened["devices"]) == (await port_of(panel), None, [])
    assert (await script.get("/devices/hall")).json()["enter"][0]["port"] == opened["port"]
    assert (await script.get("/devices/hall/dialogues")).json() == []
    assert (await script.get("/unknown-devices")).json() == []
    assert (await script.get("/devices/none")).status_code == 404
    changed = await admin.post("/api/devices/hall/password", json={})
    assert changed.json()["made_password"] not in {made, None}
    for path in ("/devices/hall", "/listeners/scan"):
        assert (await admin.delete(f"/api{path}")).status_code == 200
    assert (await script.delete("/accounts/office")).status_code == 200
    assert (await script.get("/accounts")).json() == []


async def test_an_unknown_device_is_adopted_over_the_api(panel: RunningPanel, admin: BrowserClient) -> None:
    await GatewayLog(panel.device.store(STORE)).flush()
    log = GatewayLog(panel.device.store(STORE))
    log.note_unknown(1.0, "10.0.0.7", listener="scan", user="scan", verdict="No.", cause="device_unknown")
    await log.flush()
    admin.headers["x-csrf-token"] = await admin.token("/administration")
    [row] = (await admin.get("/api/unknown-devices")).json()
    assert (row["address"], row["cause"]) == ("10.0.0.7", "device_unknown")
    adopted = await admin.post("/api/unknown-devices", json={"name": "hall", "from_address": "10.0.0.7"})
    assert adopted.status_code == 201, adopted.text
    assert (adopted.json()["address"], adopted.json()["user"]) == (["10.0.0.7"], "scan")
    assert adopted.json()["made_password"]
    again = await admin.post("/api/unknown-devices", json={"name": "hall-2", "from_address": "10.0.0.7"})
    assert again.status_code == 409


@pytest.mark.lab
async def test_the_pages_in_a_browser(panel: RunningPanel, browser: Browser, admin: BrowserClient) -> None:
    def visit(view: Page) -> None:
        seen: list[list[str]] = []

        def picture(name: str) -> None:
            take_screenshots(view, f"gateway-{name}")
            for size in (390, 1280):
                view.set_viewport_size({"width": size, "height": 900})
                seen.append(overflowing_elements(view))

        panel.sign_in(view, "/first-start/purpose")
        picture("0-purpose")
        view.locator("a[href='/gateway']").last.click()
        picture("1-empty")
        view.goto(f"{panel.address}/gateway/accounts")
        picture("2-accounts-empty")
        view.fill("#name", "office")
        view.click("main form button")
        view.goto(f"{panel.address}/gateway/accounts")
        picture("3-accounts")
        view.goto(f"{panel.address}/gateway/listeners")
        view.fill("#listen", "127.0.0.1:0")
        picture("4-listeners-empty")
        view.click("main form button")
        view.get_by_text("open, port").wait_for()
        picture("5-listeners")
        view.goto(f"{panel.address}/gateway/new")
        # What the answers do not need is not shown.
        assert view.locator("#user").is_visible()
        assert not view.locator("#address").is_visible()
        view.select_option("#audience", "some")
        view.fill("#to", "*@example.com")
        view.fill("#name", "copier-2nd-floor")
        picture("6-new")
        view.get_by_role("button", name="Add the device").click()
        view.get_by_text("shown this once").first.wait_for()
        picture("7-device")
        view.goto(f"{panel.address}/gateway/devices/copier-2nd-floor/sheet?maker=sharp")
        assert view.get_by_role("button", name="Print").is_visible()
        picture("8-sheet")
        view.emulate_media(media="print")
        assert not view.get_by_role("button", name="Print").is_visible()
        assert view.get_by_text("Primary Server").is_visible()
        view.emulate_media(media="screen")
        view.goto(f"{panel.address}/gateway")
        view.get_by_text("copier-2nd-floor").wait_for()
        picture("9-devices")
        for language in LANGUAGES:
            view.select_option("[name=language]", language)
            view.wait_for_url(re.compile("/gateway$"))
            view.wait_for_selector(f"html[lang={language}]")
            view.wait_for_load_state()  # with its style sheets
            for size in (390, 800, 1280):
                view.set_viewport_size({"width": size, "height": 900})
                width = view.evaluate("document.documentElement.scrollWidth")
                assert (language, size, width <= size) == (language, size, True), width
        assert [each for each in seen if each] == []

    log = GatewayLog(panel.device.store(STORE))
    now = panel.device.now()
    verdict = "This device has no entry here."
    for number, user in ((7, ""), (8, "scan")):
        log.note_unknown(
            now - 60 * number,
            f"10.0.3.{number}",
            listener="scan",
            helo="NPIF65E56",
            user=user,
            tls="TLSv1.2" if user else "",
            verdict=verdict,
            cause="device_password_wrong" if user else "device_unknown",
        )
    lines = (
        "S: 220 gateway ESMTP",
        "C: EHLO NPIF65E56",
        "S: 250 …",
        "C: MAIL FROM:<hall@copiers.example>",
        "S: 530 5.7.0 …",
    )
    for at, cause in ((7200, "ok"), (60, "device_not_signed_in")):
        log.note_dialogue(
            "copier-2nd-floor",
            Dialogue(now - at, "scan", "10.0.3.9", "TLSv1.2", cause == "ok", cause, "…", lines, int(cause == "ok")),
        )
    await log.flush()
    await browser.visit(visit)
