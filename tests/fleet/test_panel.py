"""The panel of a fleet: signing in at oidc-provider, what each role may do, and the panels of devices below a path."""

from __future__ import annotations

import logging
import re
import secrets
from html import unescape
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx2
import pytest
from anyio.to_thread import run_sync
from psycopg import OperationalError
from starlette.routing import Mount, Route

from fleet.running_panel import BOSS, NOBODY, READER, SETTINGS, of_tenant, run_fleet_panel
from lab.postgres import Fleet
from mailslot.fleet.postgres.consents import Consents
from mailslot.fleet.postgres.directory import FleetDirectory
from mailslot.fleet.postgres.errors import as_input_error
from mailslot.fleet.postgres.schema import SCHEMA, tables
from mailslot.fleet.postgres.sign_in_links import SignInLinks
from mailslot.slots.records import Records
from mailslot.spool.job import NewJob
from mailslot.spool.spool import Spool
from mailslot_plugins.panel.application import _routes_in_fleet
from mailslot_plugins.sandbox import run_sandbox
from panel.browser_client import NO_TLS, BrowserClient, words
from service.sending_device import ALICE, SENDER
from spool.conftest import message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from fleet.running_panel import RunningFleetPanel
    from lab.provider import Provider
    from mailslot.fleet.postgres.home import PostgresHome

HERE, THERE = "/tenants/acme/devices/copier-1", "/tenants/bolt/devices/copier-2"


@pytest.fixture(scope="module")
def fleet(postgres: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A device of each of two tenants, with a job and a mail."""
    found = Fleet(postgres.create_database(), tmp_path_factory.mktemp("fleet"))
    yield found
    found.database.close()


@pytest.fixture(scope="module")
async def homes(anyio_backend: str, fleet: Fleet) -> list[PostgresHome]:
    found = [await run_sync(fleet.add_device, tenant) for tenant in ("acme", "bolt")]
    for home in found:
        settings = {"server": "mail.example.com", "authentication": "password", "account": f"{home.device}@example.com"}
        await run_sync(Records(home).change, "smtp", settings, {})
        async with Spool(home) as spool:
            await spool.accept(NewJob("scan", "smtp", SENDER, [ALICE], f"of {home.device}", 86_400.0), message())
            async with spool.ledger.receive("fax-pop", "u1") as file:
                await file.write(b"From: a@example.com\r\nSubject: a secret page\r\n\r\nhello\r\n")
    return found


@pytest.fixture(scope="module")
async def panel(
    homes: list[PostgresHome], fleet: Fleet, provider: Provider, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningFleetPanel]:
    async with run_fleet_panel(fleet, provider, tmp_path_factory.mktemp("panel")) as found:
        yield found


@pytest.fixture
async def client(panel: RunningFleetPanel) -> AsyncIterator[BrowserClient]:
    async with BrowserClient(panel.address) as found:
        yield found


async def test_owners_of_mailboxes_are_no_staff(
    panel: RunningFleetPanel,
    client: BrowserClient,
    fleet: Fleet,
    homes: list[PostgresHome],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    _, secret = await run_sync(SignInLinks(fleet.database).make, homes[0].device, ("smtp",), "a@example.com", 3600.0)
    assert "This link is not known" in words(await client.get("/consent/link/nothing"))
    assert await run_sync(Consents(fleet.database).address) == str(client.base_url).rstrip("/")
    # The page of a device without a provider says so, and needs no sign-in here.
    page = await client.get(f"/consent/link/{secret}")
    assert (page.status_code, "No provider is set" in words(page)) == (503, True)
    assert (await client.get("/consent/callback?code=x&state=y")).status_code == 400
    assert (await client.get("/consent")).status_code == 303
    async with panel.person(READER) as reader, panel.person(BOSS) as boss:
        for staff in (reader, boss):
            headers = {"x-csrf-token": await staff.token("/")}
            assert (await staff.post(f"/consent/link/{secret}", headers=headers)).status_code in {403, 405}
    assert "POST /consent/…" in caplog.text
    assert not [each for each in caplog.records if each.name.startswith("mailslot") and secret in each.getMessage()]


async def test_signing_in(panel: RunningFleetPanel, client: BrowserClient, caplog: pytest.LogCaptureFixture) -> None:
    """With PKCE, state and nonce, and back to the page that was wanted."""
    caplog.set_level(logging.INFO)
    answer = await client.get(f"{HERE}/jobs?state=held")
    assert answer.status_code == 303
    page = await client.get(answer.headers["location"])
    assert "You sign in at 127.0.0.1" in words(page)
    [start] = re.findall(r'href="(/sign-in/start[^"]*)"', page.text)
    answer = await client.get(start)
    asked = {name: value for name, [value] in parse_qs(urlsplit(answer.headers["location"]).query).items()}
    assert asked["response_type"] == "code"
    assert asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == f"{panel.address}/sign-in/callback"
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
    before = client.session
    back = await panel.authorize(answer.headers["location"], BOSS)
    answer = await client.get(back)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{HERE}/jobs?state=held")
    assert client.session != before
    assert (await client.get(f"{HERE}/jobs?state=held")).status_code == 200
    assert "alice@example.test has signed in, and may see everything, and change everything" in caplog.text
    # Loaded again, it is used up.
    assert (await client.get(back)).headers["location"] == "/"
    await client.submit("/sign-out", page="/")
    assert (await client.get("/")).status_code == 303
    assert (await client.get(back)).status_code == 400


async def test_signing_out_at_the_provider(
    panel: RunningFleetPanel, client: BrowserClient, fleet: Fleet, provider: Provider, tmp_path: Path
) -> None:
    await panel.sign_in(client, BOSS)
    page = await client.submit("/sign-out", page="/")
    [address] = re.findall(r'content="0; url=([^"]+)"', page.text)
    assert address.startswith(provider.issuer)
    asked = {name: value for name, [value] in parse_qs(urlsplit(unescape(address)).query).items()}
    assert (asked["client_id"], asked["post_logout_redirect_uri"]) == ("fleet", f"{panel.address}/sign-in")
    assert asked["id_token_hint"].count(".") == 2
    # The provider checks all of this.
    back = await panel.sign_out_there(unescape(address))
    assert back == f"{panel.address}/sign-in?state={asked['state']}"
    assert "You have signed out." in (await client.get(back)).text
    # Nobody else can say so.
    for other in ("/sign-in?state=x", "/sign-in?state=%C3%A9", "/sign-in"):
        assert "You have signed out." not in (await client.get(other)).text
    async with BrowserClient(panel.address) as another:
        assert "You have signed out." not in (await another.get(back)).text
    settings = SETTINGS.replace("[[roles]]", 'sign_out = "panel"\n\n[[roles]]', 1)
    async with run_fleet_panel(fleet, provider, tmp_path, settings) as here, here.person(BOSS) as boss:
        answer = await boss.submit("/sign-out", page="/")
        assert answer.headers["location"] == "/sign-in"
        assert "you are still signed in" in (await boss.get("/sign-in")).text


async def test_any_process_of_the_panel_knows_who_has_signed_in(
    panel: RunningFleetPanel, client: BrowserClient, fleet: Fleet, provider: Provider, tmp_path: Path
) -> None:
    """A load balancer may send each request to another one."""
    headers = {"host": urlsplit(panel.address).netloc}
    async with run_fleet_panel(fleet, provider, tmp_path, address=panel.address) as other:
        begun = await client.get(f"{other.listens}/sign-in/start?next=/tenants", headers=headers)
        answer = await client.get(await panel.authorize(begun.headers["location"], BOSS))
        assert (answer.status_code, answer.headers["location"]) == (303, "/tenants")
        page = await client.get(f"{other.listens}/tenants", headers=headers)
        assert page.status_code == 200
        # Their forms are the same.
        headers["x-csrf-token"] = await client.token("/tenants")
        assert headers["x-csrf-token"] in page.text
        assert (await client.post(f"{other.listens}/sign-out", headers=headers)).status_code == 200
        assert (await client.get("/tenants")).status_code == 303


async def test_a_sign_in_belongs_to_its_browser(panel: RunningFleetPanel, client: BrowserClient) -> None:
    address = (await client.get("/sign-in/start")).headers["location"]
    back = await panel.authorize(address, BOSS)
    async with BrowserClient(panel.address) as other:
        await other.get("/sign-in/start")
        assert (await other.get(back)).status_code == 400
        assert (await other.get("/")).status_code == 303
    for changed in (back.replace("state=", "state=x"), re.sub(r"&?state=[^&]*", "", back), f"{back}&state=a"):
        assert (await client.get(changed)).status_code == 400
    # Mixed up with another provider, or without its code.
    wrong = re.sub(r"iss=[^&]*", "iss=https%3A%2F%2Fevil.example", back)
    assert wrong != back
    assert (await client.get(wrong)).status_code == 502
    assert (await client.get(re.sub(r"code=[^&]*", "code=x", back))).status_code == 502
    assert (await client.get("/")).status_code == 303
    assert (await client.get(back)).status_code == 303
    assert (await client.get("/")).status_code == 200


async def test_nobody_without_a_role(panel: RunningFleetPanel, client: BrowserClient) -> None:
    answer = await panel.sign_in(client, NOBODY)
    assert answer.status_code == 403
    assert "have no role here" in answer.text
    assert (await client.get("/")).status_code == 303


@pytest.mark.parametrize(("path", "to"), [("//evil.example", "/"), ("/\\evil.example", "/"), ("/tenants", "/tenants")])
async def test_only_pages_of_the_panel_come_next(
    panel: RunningFleetPanel, client: BrowserClient, path: str, to: str
) -> None:
    answer = await panel.sign_in(client, BOSS, f"/sign-in/start?next={path}")
    assert answer.headers["location"] == to


async def test_the_lists(panel: RunningFleetPanel) -> None:
    async with panel.person(BOSS) as boss:
        page = await boss.get("/")
        for path in (HERE, THERE):
            assert f'href="{path}/"' in page.text
        assert "No worker runs" in page.text
        assert 'href="/tenants/bolt' not in (await boss.get("/?search=acme")).text
        assert "Nothing was found" in (await boss.get("/?search=nothing")).text
        assert "Nothing was found" in (await boss.get("/?state=well&tenant=nobody&page=7")).text
        assert "Nothing was found" in (await boss.get("/?tenant=%00&search=%00%20")).text
        assert 'href="/?tenant=acme' in (await boss.get("/tenants")).text
        for language in ("de", "fr", "es", "ja"):
            for path in ("/", "/tenants", "/tenants/none", f"{HERE}/"):
                assert f'<html lang="{language}"' in (await boss.get(path, headers={"accept-language": language})).text


async def test_a_device_is_shown_below_its_path(panel: RunningFleetPanel) -> None:
    """Every link on its pages, followed, stays below the path, or leads back to the fleet; so do redirects."""
    async with panel.person(BOSS) as boss:
        answer = await boss.get(HERE)
        assert urlsplit(answer.headers["location"]).path == f"{HERE}/"
        waiting, seen, outside = [f"{HERE}/"], set[str](), set[str]()
        while waiting:
            path = waiting.pop()
            if path in seen:
                continue
            seen.add(path)
            page = await boss.get(path)
            assert page.status_code == 200, path
            if not page.headers["content-type"].startswith("text/html"):
                continue
            assert "/tenants/acme/devices/copier-1/tenants/" not in page.text
            found = re.findall(r'(?:href|hx-get|src)="(/[^"#]*)', page.text)
            outside.update(each for each in found if not each.startswith(f"{HERE}/"))
            waiting += [each.replace("&amp;", "&") for each in found if each.startswith(f"{HERE}/") and "?" not in each]
            actions = re.findall(r'action="([^"]*)"', page.text)
            assert all(each.startswith(f"{HERE}/") or each in {"/sign-out", "/preferences"} for each in actions), path
        assert len(seen) > 30
        assert all(each.startswith("/static/") for each in outside), outside
        page = (await boss.get(f"{HERE}/")).text
        assert f'href="{panel.address}/"' in page
        assert f'href="{panel.address}/?tenant=acme"' in page
        # What is for the device's own sign-in is not there.
        for path in ("/sign-in", "/first-start", "/api/", "/api/slots", "/preferences", "/static/panel.js"):
            assert (await boss.get(HERE + path)).status_code == 404, path
        assert 'type="password"' not in (await boss.get(f"{HERE}/administration")).text


async def test_a_device_is_changed_there(panel: RunningFleetPanel, homes: list[PostgresHome]) -> None:
    async with panel.person(BOSS) as boss:
        answer = await boss.submit(f"{HERE}/administration/device", f"{HERE}/administration", name="Copier <1>")
        assert answer.headers["location"] == f"{HERE}/administration"
        page = await boss.get(f"{HERE}/administration")
        assert "Copier &lt;1&gt;" in page.text
        # A notice is shown on the device's own pages only.
        assert "Copier &lt;1&gt;" in (await boss.get("/")).text
        answer = await boss.submit("/preferences", f"{HERE}/jobs", back=f"{HERE}/jobs", language="de")
        assert answer.headers["location"] == f"{HERE}/jobs"
        # A draft for one device does not appear on another.
        fields = {"server": "new.example.com", "port": "465", "security": "tls"}
        answer = await boss.submit(f"{HERE}/slots/network.smtp", **fields)
        assert answer.headers["location"].startswith(f"{HERE}/slots/network.smtp")
        assert "new.example.com" not in (await boss.get(f"{THERE}/slots/network.smtp?again=1")).text


async def test_devices_that_do_not_exist(panel: RunningFleetPanel, fleet: Fleet) -> None:
    async with panel.person(BOSS) as boss:
        for path in ("/tenants/acme/devices/none/", "/tenants/none/devices/copier-1/", "/tenants/A%00/devices/x/"):
            assert (await boss.get(path)).status_code == 404
        home = await run_sync(fleet.add_device, "gone")
        path = f"/tenants/gone/devices/{home.device.name}/"
        assert (await boss.get(path)).status_code == 200
        await run_sync(fleet.registry.remove, "gone", home.device.name)
        assert (await boss.get(path)).status_code == 404
        await run_sync(fleet.registry.add, "gone", home.device.name, fleet.master)
        assert (await boss.get(path)).status_code == 200


def routes() -> list[tuple[str, str]]:
    """Method and path of every route of a device's panel, and of the fleet's own pages."""
    found = {("GET", "/"), ("GET", "/tenants"), ("POST", "/"), ("POST", "/tenants"), ("POST", "/anything")}
    values = {"slot": "network.smtp", "job": "1", "mail": "1", "section": "fax", "id": "1", "name": "x"}
    for route in _routes_in_fleet()[0]:
        assert isinstance(route, Route)
        assert not isinstance(route, Mount)
        path = re.sub(r"\{(\w+)[^}]*\}", lambda name: values.get(name[1], "1"), route.path)
        found |= {(method, HERE + path) for method in route.methods or ()}
    # Methods that no route has yet.
    return sorted(found | {(method, f"{HERE}/jobs") for method in ("PUT", "PATCH", "DELETE")})


def contents(fleet: Fleet) -> dict[str, list[Any]]:
    """Everything in the database."""
    with fleet.database.connection() as connection, connection.transaction():
        connection.execute(f"SET LOCAL search_path = {SCHEMA}")
        return {
            table: sorted(str(row) for row in connection.execute(f"SELECT * FROM {table}").fetchall())
            for table in tables(connection)
        }


async def test_every_route_for_somebody_who_may_only_read(
    panel: RunningFleetPanel, fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    async with panel.person(READER) as reader:
        token = await reader.token("/")
        before = await run_sync(contents, fleet)
        for method, path in routes():
            answer = await reader.request(method, path, headers={"x-csrf-token": token})
            if method in {"GET", "HEAD"}:
                assert answer.status_code < 500, (method, path)
                assert answer.status_code != 403, (method, path)
            else:
                assert answer.status_code == 403, (method, path)
                assert "You may look at everything here" in answer.text
        upload = await reader.post(f"{HERE}/send", files={"document": b"x"}, data={"csrf": token})
        assert upload.status_code == 403
        assert await run_sync(contents, fleet) == before
        assert "You may look at everything here" in (await reader.get(f"{HERE}/")).text
    assert "carol@example.test was refused POST" in caplog.text


async def test_every_route_for_somebody_of_another_tenant(
    panel: RunningFleetPanel, fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    async with panel.person(of_tenant("bolt")) as other:
        token = await other.token("/")
        before = await run_sync(contents, fleet)
        for method, path in routes():
            answer = await other.request(method, path, headers={"x-csrf-token": token})
            assert "acme" not in answer.text.replace(path, ""), path
            if path.startswith(HERE):
                assert answer.status_code == 404, (method, path)
            else:
                assert answer.status_code == (200 if method == "GET" else 403), (method, path)
        for path in ("/?tenant=acme", "/?search=acme", "/tenants?search=acme", "/tenants?tenant=acme"):
            assert "copier-1" not in (await other.get(path)).text
        # As does one that does not exist at all.
        missing = await other.get("/tenants/none/devices/copier-1/")
        assert (missing.status_code, missing.text.replace("none", "acme")) == (
            404,
            (await other.get("/tenants/acme/devices/copier-1/")).text,
        )
        assert await run_sync(contents, fleet) == before
        # What is their own, they may see and change.
        assert "of bolt/copier-2" in (await other.get(f"{THERE}/jobs")).text
        answer = await other.submit(f"{THERE}/administration/device", f"{THERE}/administration", location="Cellar")
        assert answer.status_code == 303
        assert await run_sync(contents, fleet) != before


async def test_every_route_without_a_sign_in(panel: RunningFleetPanel, client: BrowserClient, fleet: Fleet) -> None:
    await client.get("/sign-in")
    before = await run_sync(contents, fleet)
    for method, path in routes():
        answer = await client.request(method, path)
        assert (answer.status_code, urlsplit(answer.headers["location"]).path) == (303, "/sign-in"), (method, path)
    assert await run_sync(contents, fleet) == before


async def test_what_the_database_says_is_not_for_everybody(
    panel: RunningFleetPanel, client: BrowserClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await client.get("/healthz")).json() == {"status": "ok"}

    def refuse(*_: object) -> None:
        with as_input_error():
            raise OperationalError('connection failed: FATAL:  role "secret" does not exist')

    monkeypatch.setattr(FleetDirectory, "has_workers", refuse)
    monkeypatch.setattr(SignInLinks, "find", refuse)
    answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()) == (503, {"status": "failing"})
    answer = await client.get(f"/consent/link/{secrets.token_urlsafe(32)}")
    assert answer.status_code == 503
    assert "secret" not in answer.text
    assert caplog.text.count('role "secret" does not exist') == 2


async def test_forms_of_other_sites(panel: RunningFleetPanel) -> None:
    async with panel.person(BOSS) as boss:
        path = f"{HERE}/administration/device"
        assert (await boss.post(path, data={"name": "evil"})).status_code == 403
        headers = {"sec-fetch-site": "cross-site", "x-csrf-token": await boss.token("/")}
        assert (await boss.post(path, data={"name": "evil"}, headers=headers)).status_code == 403
        assert (await boss.get("/", headers={"host": "evil.example"})).status_code == 421
        policy = (await boss.get(f"{HERE}/")).headers["content-security-policy"]
        assert "default-src 'none'" in policy


async def test_what_is_done_is_logged(panel: RunningFleetPanel, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with panel.person(BOSS) as boss:
        await boss.submit(f"{HERE}/administration/device", f"{HERE}/administration", name="Copier 1")
        await boss.get(f"{HERE}/received/1")
        await boss.get(f"{HERE}/jobs")
    found = [
        (record.getMessage(), record.__dict__["http_status"], record.__dict__["tenant"], record.__dict__["device"])
        for record in caplog.records
        if record.name.endswith("audit")
    ]
    assert found == [
        (f"alice@example.test: POST {HERE}/administration/device", 303, "acme", "copier-1"),
        (f"alice@example.test: GET {HERE}/received/1", 200, "acme", "copier-1"),
    ]


async def test_a_token_is_obtained_on_the_panel_of_a_device(
    panel: RunningFleetPanel, homes: list[PostgresHome], tmp_path: Path
) -> None:
    """The provider sends the browser back to the one redirect URI of all devices."""
    at = f"{HERE}/slots/fax.pop/token"
    async with run_sandbox() as sandbox, panel.person(BOSS) as boss, panel.person(READER) as reader:
        await run_sync((tmp_path / "ca.pem").write_bytes, sandbox.ca_pem)
        settings = {
            "authentication": "oauth2",
            "ca_file": str(tmp_path / "ca.pem"),
            "issuer": sandbox.issuer,
            "client_id": sandbox.provider.register("panel").id,
            "account": SENDER,
            "server": "localhost",
            "port": sandbox.pop3s.port,
            "security": "tls",
        }
        await run_sync(Records(homes[0]).change, "fax-pop", settings, {})
        assert (await boss.submit(at, way="browser")).headers["location"] == at
        answer = await boss.get(f"{at}/progress", headers={"hx-request": "true"})
        with anyio.fail_after(120):
            while not answer.headers.get("hx-redirect", "").startswith(sandbox.issuer):
                await anyio.sleep(0.01)
                answer = await boss.get(f"{at}/progress", headers={"hx-request": "true"})
        async with httpx2.AsyncClient(timeout=120, trust_env=False, verify=NO_TLS) as provider:
            allowed = await provider.post(answer.headers["hx-redirect"], data={"user": SENDER, "decision": "allow"})
        back = allowed.headers["location"]
        assert back.startswith(f"{panel.address}?")
        for somebody in (reader, boss):
            answer = await somebody.get(back)
            assert urlsplit(answer.headers["location"]).path == f"{HERE}/oauth/callback"
            answer = await somebody.get(answer.headers["location"])
            assert answer.status_code == (303 if somebody is boss else 400)
        assert answer.headers["location"] == at
        with anyio.fail_after(120):
            while 'data-token="Retrieved"' not in (await boss.get(at)).text:  # noqa: ASYNC110 - it is another task
                await anyio.sleep(0.01)
        # It is used up.
        assert (await boss.get(back)).status_code == 400
