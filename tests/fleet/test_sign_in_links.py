"""The owner of a mailbox signs in by a link, at the certified provider, and the token arrives at the device."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urljoin, urlsplit

import anyio
import httpx2
import pytest

from command_line import mailslot
from mailslot.fleet.homes import FleetHomes
from mailslot.fleet.opening import FleetPlaces
from mailslot.fleet.postgres.consents import Consents
from mailslot.fleet.postgres.database import FleetDatabase
from mailslot.fleet.postgres.database_users import DatabaseUsers
from mailslot.fleet.postgres.schema import SCHEMA
from mailslot.fleet.postgres.sign_in_links import SignInLinks
from mailslot.oauth.grant_source import GrantSource
from mailslot.oauth.http import TokenHttp
from mailslot.oauth.providers import custom_provider
from mailslot.service.device import open_device
from mailslot.slots.records import Records
from mailslot.slots.section import DEVICE
from mailslot.slots.shared_application import SharedApplication
from mailslot.wire.secret import Secret
from mailslot_plugins.panel.consent.app import application
from mailslot_plugins.panel.consent.known_providers import LIFETIME, KnownProviders
from oauth.scripted_service import http_response, run_scripted_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from lab.postgres import Fleet
    from lab.provider import Provider
    from mailslot.fleet.postgres.home import PostgresHome
    from mailslot.oauth.grant import Grant
    from oauth.scripted_service import Request

BASE = "https://mail-setup.example.test"
ALICE = "alice@example.test"
SCOPES = "openid email offline_access mail.pop mail.send"


async def test_providers_are_not_asked_for_each_sign_in() -> None:
    asked: list[str] = []

    def answer(request: Request) -> bytes:
        asked.append(request.path)
        endpoints = {f"{name}_endpoint": f"{service.url}/{name}" for name in ("authorization", "token")}
        return http_response({"issuer": service.url, **endpoints})

    clock = [0.0]
    known = KnownProviders(lambda: clock[0])
    async with run_scripted_service(answer) as service, TokenHttp() as http:
        provider = custom_provider(issuer=service.url)
        for _ in range(10):
            assert (await known.complete(provider, None, http)).endpoints.token == f"{service.url}/token"
        other = custom_provider(issuer=service.url, scopes="mail")
        assert (await known.complete(other, None, http)).smtp == other.smtp != provider.smtp
        assert len(asked) == 1
        # Who is trusted may differ.
        await known.complete(provider, Path("/ca.pem"), http)
        assert len(asked) == 2
        clock[0] = LIFETIME
        await known.complete(provider, None, http)
        assert len(asked) == 3


class Browser:
    """A person with a browser: at the pages, and at the provider.

    Args:
        fleet: the fleet, whose pages a process of its own serves.
        database: its database, as the user of that process.
    """

    def __init__(self, fleet: Fleet, database: FleetDatabase) -> None:
        self._fleet = fleet
        self._database = database
        self._provider = httpx2.AsyncClient(trust_env=False, timeout=120)
        self._cookies = httpx2.Cookies()

    async def get(self, address: str, *, scheme: str = "https", **headers: str) -> httpx2.Response:
        """Open an address of the pages, at a process that has just been started; http is what a proxy uses."""
        places = FleetPlaces(self._fleet.folder, self._fleet.folder / "master.key")
        homes = FleetHomes(self._fleet.url, self._database, self._fleet.master, places)
        transport, base = httpx2.ASGITransport(app=application(homes, BASE)), BASE.replace("https", scheme)
        async with httpx2.AsyncClient(transport=transport, base_url=base, cookies=self._cookies) as client:
            response = await client.get(address, headers=headers)
            self._cookies = client.cookies
            return response

    async def go_to_provider(self, link: str) -> str:
        """Press the button on the page of a link; return the address at the provider."""
        page = await self.get(link)
        assert page.status_code == 200, page.text
        [start] = re.findall(r'class="button primary" href="([^"]+)"', page.text)
        return (await self.get(start)).headers["location"]

    async def sign_in(self, address: str, user: str) -> str:
        """Sign in at the provider; return the address to which it sends the browser back."""
        for _ in range(12):
            response = await self._provider.get(address)
            while response.has_redirect_location:
                address = urljoin(address, response.headers["location"])
                if address.startswith(BASE):
                    return address
                response = await self._provider.get(address)
            # A form to sign in or to consent, or one that submits itself to end another user's session.
            [action] = re.findall(r'<form[^>]* action="([^"]+)"', response.text)
            form = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', response.text))
            if 'name="login"' in response.text:
                form |= {"login": user, "password": "any"}
            response = await self._provider.post(urljoin(str(response.url), action), data=form)
            address = urljoin(str(response.url), response.headers["location"])
        raise AssertionError(address)

    async def use(self, link: str, user: str) -> httpx2.Response:
        """Do all of it; return the page at the end."""
        address = await self.go_to_provider(link)
        while True:
            response = await self.get(await self.sign_in(address, user))
            assert response.status_code == 303, response.text
            page = response.headers["location"]
            if not page.endswith("/start"):
                return await self.get(page)
            address = (await self.get(page)).headers["location"]

    async def close(self) -> None:
        await self._provider.aclose()


@pytest.fixture(scope="module")
def database(fleet: Fleet) -> Iterator[FleetDatabase]:
    """The database as a user who does not own the tables."""
    Consents(fleet.database).set_address(BASE)
    with fleet.database.connection() as connection:
        connection.execute("CREATE ROLE mailslot_test_pages LOGIN")
    DatabaseUsers(fleet.database).allow("mailslot_test_pages", None)
    found = FleetDatabase(fleet.url.replace("postgres@", "mailslot_test_pages@"))
    yield found
    found.close()


@pytest.fixture
async def browser(fleet: Fleet, database: FleetDatabase) -> AsyncIterator[Browser]:
    found = Browser(fleet, database)
    yield found
    await found.close()


@pytest.fixture
def home(fleet: Fleet, provider: Provider) -> PostgresHome:
    """A device with two mailboxes' slots; its tenant has the application."""
    home = fleet.add_device("linked")
    values = {
        "server": "mail.example.test",
        "provider": "custom",
        "issuer": provider.issuer,
        "authentication": "oauth2",
        "account": ALICE,
        "scopes": SCOPES,
    }
    records = Records(home)
    for record in ("smtp", "fax-pop"):
        records.change(record, values, {})
    shared = SharedApplication("custom", "central", issuer=provider.issuer, client_secret=Secret("central-secret"))
    Consents(fleet.database).share("linked", "custom", home.shared_secrets.sealed("custom", shared.to_secret()))
    return home


def make_link(home: PostgresHome, fleet: Fleet, *records: str, account: str = ALICE, seconds: float = 3600.0) -> str:
    return f"/consent/link/{SignInLinks(fleet.database).make(home.device, records or ('smtp',), account, seconds)[1]}"


async def grant_of(home: PostgresHome, record: str = "smtp") -> Grant | None:
    return await Records(home).tokens.store(record).load()


async def test_one_sign_in_for_two_records(
    browser: Browser, fleet: Fleet, home: PostgresHome, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    Records(home).settings.change_section(DEVICE, {"name": "Copier in the hall"})
    link = make_link(home, fleet, "smtp", "fax-pop")
    # Programs that examine mails open links, too.
    for _ in range(2):
        page = await browser.get(link)
        assert ALICE in page.text
        assert "Copier in the hall" in page.text
        assert str(home.device) in page.text
    assert page.headers["referrer-policy"] == "no-referrer"
    end = await browser.use(link, "alice")
    assert "The mailbox is connected" in end.text
    assert "mail.send" in end.text
    secrets = set[str]()
    for record in ("smtp", "fax-pop"):
        grant = await grant_of(home, record)
        assert grant is not None
        assert (grant.account, grant.location) == (ALICE, home.locate(record))
        assert grant.refresh_token is not None
        assert grant.access_token is not None
        secrets |= {grant.refresh_token.reveal(), grant.access_token.reveal()}
    # Each record has a grant of its own, so one's renewal does not end the other's.
    assert len(secrets) == 4
    async with open_device(Records(home)) as device:
        source = (await device.connector.profile("smtp")).token_source
        assert isinstance(source, GrantSource)
        before = (await source.token()).value
        assert before.reveal() in secrets
        assert (await source.token(force=True)).value != before
    # It is used up.
    assert (await browser.get(f"{link}/start")).headers["location"] == link
    assert 'class="button ' not in (await browser.get(link)).text
    token = link.rpartition("/")[2]
    for record in caplog.records:
        if record.name.startswith("mailslot"):
            assert token not in record.getMessage()
            assert not any(secret in record.getMessage() for secret in secrets)


async def test_another_user_is_refused_and_may_be_corrected(browser: Browser, fleet: Fleet, home: PostgresHome) -> None:
    link = make_link(home, fleet)
    page = await browser.use(link, "bob")
    assert "bob@example.test has signed in, and this mailbox belongs to alice@example.test" in page.text
    assert await grant_of(home) is None
    german = await browser.get(link, **{"accept-language": "de"})
    assert "Angemeldet hat sich bob@example.test" in german.text
    # The provider must not take its session of bob again.
    assert "The mailbox is connected" in (await browser.use(link, "alice")).text
    grant = await grant_of(home)
    assert grant is not None
    assert grant.account == ALICE
    # A shared mailbox, for which its user signs in.
    link = make_link(home, fleet, "fax-pop", account="bob@example.test")
    assert "alice@example.test has signed in" in (await browser.use(link, "bob")).text
    assert "The mailbox is connected" in (await browser.use(link, "bob")).text


async def test_an_answer_in_another_browser(
    browser: Browser, fleet: Fleet, database: FleetDatabase, home: PostgresHome
) -> None:
    answer = await browser.sign_in(await browser.go_to_provider(make_link(home, fleet)), "alice")
    other = Browser(fleet, database)
    for address in (answer, f"{BASE}/consent/callback?code=x&state=y", f"{BASE}/consent/callback"):
        page = await other.get(address)
        assert page.status_code == 400
        assert "This answer is not expected" in page.text
    await other.close()
    assert await grant_of(home) is None
    assert (await browser.get(answer)).status_code == 303
    assert await grant_of(home) is not None
    # Once.
    assert (await browser.get(answer)).status_code == 400


async def test_two_browsers_at_the_same_time(
    browser: Browser, fleet: Fleet, database: FleetDatabase, home: PostgresHome
) -> None:
    link = make_link(home, fleet)
    other = Browser(fleet, database)
    answers = [await each.sign_in(await each.go_to_provider(link), "alice") for each in (browser, other)]
    async with anyio.create_task_group() as group:
        for each, answer in zip((browser, other), answers, strict=True):
            group.start_soon(each.get, answer)
    await other.close()
    [(_, _, found)] = [each for each in SignInLinks(fleet.database).all("linked") if each[1] == home.device.name]
    assert found.state == "used"
    assert [*found.granted] == ["smtp"]


async def test_settings_that_were_changed_meanwhile(browser: Browser, fleet: Fleet, home: PostgresHome) -> None:
    link = make_link(home, fleet)
    answer = await browser.sign_in(await browser.go_to_provider(link), "alice")
    Records(home).change("smtp", {"account": "carol@example.test"}, {})
    page = await browser.get((await browser.get(answer)).headers["location"])
    assert 'role="alert"' in page.text
    assert await grant_of(home) is None


async def test_a_person_who_declines(browser: Browser, fleet: Fleet, home: PostgresHome) -> None:
    link = make_link(home, fleet)
    address = await browser.go_to_provider(link)
    state = parse_qs(urlsplit(address).query)["state"][0]
    query = f"error=access_denied&state={state}&iss={urlsplit(address).scheme}://{urlsplit(address).netloc}"
    back = await browser.get(f"{BASE}/consent/callback?{query}")
    page = await browser.get(back.headers["location"])
    assert 'role="alert"' in page.text
    assert "The mailbox is connected" in (await browser.use(link, "alice")).text


async def test_links_that_cannot_be_used(browser: Browser, fleet: Fleet, home: PostgresHome) -> None:
    assert (await browser.get("/consent/link/nothing")).status_code == 404
    link = make_link(home, fleet)
    answer = await browser.sign_in(await browser.go_to_provider(link), "alice")
    [number] = [each.id for _, device, each in SignInLinks(fleet.database).all("linked") if device == home.device.name]
    assert SignInLinks(fleet.database).withdraw(number)
    assert "was withdrawn" in (await browser.get(link)).text
    # Also an answer that is under way comes too late.
    assert (await browser.get(answer)).status_code == 303
    assert await grant_of(home) is None
    expired = make_link(home, fleet, seconds=3600)
    with fleet.database.connection() as connection:
        connection.execute(
            f"UPDATE {SCHEMA}.sign_in_links SET expires_at = now() WHERE device = %s", (home.device.number,)
        )
    page = await browser.get(expired)
    assert (page.status_code, "has expired" in page.text) == (410, True)
    assert (await browser.get(f"{expired}/start")).headers["location"] == expired


async def test_the_cookie_behind_a_proxy(browser: Browser, fleet: Fleet, home: PostgresHome) -> None:
    """Whatever the proxy says, browsers use https, and no other host of the domain can set this cookie."""
    answer = await browser.get(f"{make_link(home, fleet)}/start", scheme="http")
    [set_cookie] = answer.headers.get_list("set-cookie")
    assert set_cookie.startswith("__Host-mailslot-consent=")
    assert "; Secure" in set_cookie


async def test_requests_that_are_refused(browser: Browser) -> None:
    assert (await browser.get("https://elsewhere.example/consent/admin")).status_code == 421
    assert (await browser.get("/nowhere")).status_code == 404
    assert (await browser.get(f"/consent/admin?admin_consent=True&state={'x' * 20_000}")).status_code == 431


async def test_an_administrators_answer(browser: Browser, fleet: Fleet) -> None:
    home = fleet.add_device("contoso")
    shared = SharedApplication("microsoft365", "app-id", tenant="contoso.example", client_secret=Secret("s"))
    consents = Consents(fleet.database)
    consents.share("contoso", "microsoft365", home.shared_secrets.sealed("microsoft365", shared.to_secret()))
    environment = {"MAILSLOT_DATABASE": fleet.url, "MAILSLOT_MASTER_KEY": str(fleet.master.file), "COLUMNS": "200"}

    def run(*words: str, code: int = 0) -> str:
        ran = mailslot("fleet", "consent", "contoso", *words, **environment)
        assert ran.returncode == code, (ran.stdout, ran.stderr)
        return ran.stdout if code == 0 else ran.stderr

    def ask() -> str:
        address = json.loads(run("--json"))["address"]
        assert address.startswith("https://login.microsoftonline.com/contoso.example/v2.0/adminconsent?")
        query = parse_qs(urlsplit(address).query)
        assert query["redirect_uri"] == [f"{BASE}/consent/admin"]
        return query["state"][0]

    old, state = ask(), ask()
    for wrong in (old, "", "x"):
        assert (await browser.get(f"/consent/admin?admin_consent=True&tenant=t&state={wrong}")).status_code == 400
    page = await browser.get(
        f"/consent/admin?error=consent_required&error_description=AADSTS65004%3a+declined&admin_consent=True&state={state}"
    )
    assert "Consent was not given" in page.text
    found = consents.find("contoso", "microsoft365")
    assert found is not None
    assert (found.granted, found.cause) == (False, "consent_missing")
    page = await browser.get(f"/consent/admin?admin_consent=True&tenant=fa00d692&state={state}")
    assert "the devices of contoso may use the mailboxes of the organisation fa00d692" in page.text
    # The same by hand.
    assert "Privileged Role Administrator" in run()
    assert "belongs to no address" in run("--answer", f"http://localhost/?admin_consent=True&state={state}", code=2)
    state = ask()
    answer = f"http://localhost/?admin_consent=True&tenant=fa00d692&state={state}"
    assert "Consent was given for the organisation fa00d692" in run("--answer", answer)
    ran = mailslot("fleet", "application", "contoso", **environment)
    assert "app-id" in ran.stdout
    assert "given at" in ran.stdout


async def test_the_commands(browser: Browser, fleet: Fleet, home: PostgresHome) -> None:
    environment = {"MAILSLOT_DATABASE": fleet.url, "MAILSLOT_MASTER_KEY": str(fleet.master.file), "COLUMNS": "200"}

    def run(*words: str, code: int = 0) -> str:
        ran = mailslot("fleet", *words, **environment)
        assert ran.returncode == code, (ran.stdout, ran.stderr)
        return ran.stdout if code == 0 else ran.stderr

    name = str(home.device)
    [made] = json.loads(run("link", name, "--json"))
    assert made["account"] == ALICE
    assert made["address"].startswith(f"{BASE}/consent/link/")
    assert "The mailbox is connected" in (await browser.use(made["address"], "alice")).text
    [listed] = [each for each in json.loads(run("links", "--json")) if each["id"] == made["id"]]
    assert (listed["state"], sorted(listed["granted"])) == ("used", ["fax-pop", "smtp"])
    assert made["address"].rpartition("/")[2] not in run("links", "--json")
    assert "Nothing is missing" in run("link", name)
    again = run("link", name, "network.smtp")
    assert name in again
    number = max(each["id"] for each in json.loads(run("links", "--json", "--state", "open")))
    assert "cannot be used any more" in run("unlink", str(number))
    assert "There is no link" in run("unlink", str(number), code=2)
    for words, sentence in (
        (("link", "nobody"), "There is no tenant nobody"),
        (("sign-in", "--address", "https://user:secret@pages.example.com"), "nothing but the host and port"),
        (("sign-in", "--address", f"{BASE}/base?x=1"), "nothing but the host and port"),
    ):
        assert sentence in run(*words, code=2)
    assert Consents(fleet.database).address() == BASE
    broken = fleet.add_device("linked")
    values = {"provider": "custom", "issuer": "https://other.example", "authentication": "oauth2", "account": ALICE}
    Records(broken).change("smtp", values, {})
    assert f"{broken.device}: No application is set" in run("link", "linked", code=2)
