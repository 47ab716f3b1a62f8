"""A directory behind the address book, at OpenLDAP's server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from anyio.to_thread import run_sync

from addressbook.directory_home import Home
from command_line import mailslot
from lab.slapd import PASSWORD, USER
from mailslot.plugin import InputError
from mailslot_plugins.addressbook.book import save_entries
from mailslot_plugins.addressbook.directory.directory import directory_of
from mailslot_plugins.addressbook.directory.directory_error import DirectoryError
from mailslot_plugins.addressbook.entry import make_entry
from mailslot_plugins.addressbook.lookup import expand_name, expand_names
from mailslot_plugins.addressbook.section import SECTION
from mailslot_plugins.panel.security.keys import ApiKeys
from mailslot_plugins.rules.section import SECTION as RULES
from mailslot_plugins.rules.sending_rules import load_rules, with_recipients
from panel.browser_client import BrowserClient, words
from panel.running_panel import run_panel

if TYPE_CHECKING:
    from pathlib import Path

    import trustme
    from playwright.sync_api import Page

    from lab.browser import Browser
    from lab.slapd import Slapd

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """What differs between the event loops is tested in test_ldap_client."""
    return "asyncio"


@pytest.fixture
def home(tmp_path: Path, slapd: Slapd, ca: trustme.CA) -> Home:
    return Home(tmp_path, slapd, ca)


async def test_signs_of_filters_are_letters_like_others(home: Home) -> None:
    async with home.device() as device:
        directory = directory_of(device)
        for text in (
            "**",
            "*)(uid=*",
            "alice)(|(uid=*",
            r"\2a\2a",
            "al*",
            "(objectClass=*)",
            "x" * 5000,
            "ä\udcff",
            "alice\\",
        ):
            assert not (await directory.search(text)).entries, text
            assert await directory.find_name(text) is None
            assert not await directory.has_address(text)
        # A directory passes over some characters (RFC 4518 section 2.2); nobody gets another name or address by that.
        assert (await directory.search("ali\0ce")).entries
        assert await directory.find_name("ali\0ce") is None
        assert not await directory.has_address("ali\0ce@example.com")


async def test_a_name_with_signs_of_filters_is_found(home: Home) -> None:
    async with home.device() as device:
        [carol] = (await directory_of(device).search("Star*Paren(s)\\Back")).entries
        assert carol.name == "carol"


FAULTS: dict[str, tuple[dict[str, object], str, str]] = {
    "name": (
        {"ldap_server": "nowhere.invalid"},
        "name_not_found",
        "The name service knows no address for the directory",
    ),
    "certificate": ({"ldap_ca_file": None}, "certificate_untrusted", "is not trusted"),
    "password": ({"password": "wrong"}, "password_refused", f"refused the user {USER} or the password"),
    "user": ({"ldap_user": "cn=nobody"}, "password_refused", "refused the user cn=nobody"),
    "nobody": ({"ldap_user": None}, "not_configured", "shows it only to users who sign in"),
    "no password": ({"password": None}, "not_configured", "No password is stored for the user"),
    "base": ({"ldap_base": "ou=nowhere,dc=example,dc=com"}, "not_configured", "does not have ou=nowhere,dc=example"),
    "no name": ({"ldap_base": "people"}, "not_configured", "people is not a valid name"),
    "other base": ({"ldap_base": "dc=example,dc=org"}, "not_configured", "does not have dc=example,dc=org"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_test_says_in_one_sentence_what_is_wrong(home: Home, fault: str) -> None:
    values, cause, sentence = FAULTS[fault]
    async with home.device(**values) as device:  # type: ignore[arg-type] - password is one of them
        with pytest.raises(DirectoryError) as caught:
            await directory_of(device).test()
        assert (caught.value.cause, str(caught.value).count("\n")) == (cause, 0)
        assert sentence in str(caught.value)
        assert PASSWORD not in repr(caught.value) + caught.value.detail


async def test_answers_are_kept_for_a_while(home: Home, slapd: Slapd) -> None:
    async with home.device() as device:
        directory = directory_of(device)
        assert await directory.find_name("alice") is not None
        assert await directory.find_name("nobody") is None
        device.records.vault.write("addressbook", {"ldap_password": None})
        # Nothing is asked, since there is no password any more.
        assert await directory.find_name("ALICE") is None
        assert await directory.find_name("alice") is not None
        assert await directory.find_name("nobody") is None
        with pytest.raises(DirectoryError, match="No password"):
            await directory.find_name("bob")


async def test_a_password_is_not_sent_to_another_server(home: Home, slapd: Slapd) -> None:
    async with home.device() as device:
        assert (await directory_of(device).test()).entries
    async with home.device(None, ldap_server="127.0.0.1") as device:
        with pytest.raises(DirectoryError, match="No password is stored"):
            await directory_of(device).test()


async def test_names_stand_for_entries_of_the_book_first(home: Home) -> None:
    async with home.device(ldap_fax_gateway="fax.example") as device:
        await save_entries(device, [make_entry("bob", "", ["bob@here.example"])])
        assert await expand_names(device, ["@Alice, carl@example.net", "@bob"]) == [
            '"Alice Example" <alice@example.com>',
            '"Alice Example" <a.example@example.net>',
            "carl@example.net",
            "bob@here.example",
        ]
        assert await expand_names(device, ["@alice"], fax=True) == ["FAX=+12027653000@fax.example"]
        assert await expand_name(device, "@alice") == '"Alice Example" <alice@example.com>'
        with pytest.raises(InputError, match="There is no @nobody in the address book"):
            await expand_names(device, ["@nobody"])
        with pytest.raises(InputError, match="cannot be used"):
            await expand_names(device, ["@a*)(uid=*"])
    async with home.device("wrong") as device:
        assert await expand_names(device, ["@bob"]) == ["bob@here.example"]
        with pytest.raises(DirectoryError, match="@alice cannot be looked up"):
            await expand_names(device, ["@alice"])


async def test_rules_know_the_directory(home: Home) -> None:
    home.records.settings.change_section(RULES, {"destinations": "book", "deny": ["@bob"]})
    async with home.device(ldap_fax_gateway="fax.example") as device:
        fax = await expand_names(device, ["@alice"], fax=True)
        wanted = ["A.Example@EXAMPLE.net", "bob@example.com", "eve@example.com", *fax]
        rules = await load_rules(device, wanted)
        assert [rules.refusal(each)[:40] for each in wanted] == [
            "",
            "bob@example.com is refused by the rule d",
            "eve@example.com is refused by the rule d",
            "",
        ]
        assert "destinations=book" in rules.refusal("eve@example.com")
    async with home.device("wrong") as device:
        await save_entries(
            device, [make_entry("bob", "", ["bob@here.example"]), make_entry("al", "", ["al@here.example"])]
        )
        # What the book knows is sent without the directory.
        assert (await load_rules(device, ["al@here.example"])).refusal("al@here.example") == ""
        with pytest.raises(DirectoryError):
            await load_rules(device, ["alice@example.com"])


async def test_rules_learn_of_recipients_one_after_another(home: Home) -> None:
    home.records.settings.change_section(RULES, {"destinations": "book"})
    async with home.device() as device:
        rules = await load_rules(device)
        rules = await with_recipients(device, rules, ["alice@example.com"])
        rules = await with_recipients(device, rules, ["eve@example.com"])
        assert rules.refusal("alice@example.com") == ""
        assert "destinations=book" in rules.refusal("eve@example.com")


async def test_the_panel_finds_and_suggests(tmp_path: Path, slapd: Slapd, ca: trustme.CA) -> None:
    async with run_panel(tmp_path / "home") as panel, BrowserClient(panel.address) as admin:
        home = Home(tmp_path, slapd, ca)
        await admin.sign_in()
        assert "No directory is set" in words(await admin.get("/addressbook/directory"))
        assert (await admin.get("/addressbook/suggestions?text=alice")).json() == []
        assert "data-search" not in (await admin.get("/send")).text
        await run_sync(lambda: home.set(None))
        await panel.device.refresh([SECTION])
        wrong = await admin.submit("/addressbook/directory/password", "/addressbook/directory", password="")
        assert (wrong.status_code, "has 1 to 1024 characters" in words(wrong)) == (422, True)
        await admin.submit("/addressbook/directory/test", "/addressbook/directory")
        german = {"accept-language": "de"}
        assert "No password is stored for the user" in words(await admin.get("/addressbook/directory"))
        found = words(await admin.get("/addressbook?find=ali", headers=german))
        assert f"Für den Benutzer {USER} des Verzeichnisses localhost ist kein Kennwort gespeichert." in found
        await admin.submit("/addressbook/directory/password", "/addressbook/directory", password=PASSWORD)
        await admin.submit("/addressbook/directory/test", "/addressbook/directory")
        shown = await admin.get("/addressbook/directory")
        assert "The directory localhost works. It has @alice, alice@example.com." in words(shown)
        assert PASSWORD not in shown.text
        assert "In the directory Name Addresses @alice Alice Example" in " ".join(
            words(await admin.get("/addressbook?find=ali")).replace("One-touch name", "Name").split()
        )
        assert "nobody whose name begins like this" in words(await admin.get("/addressbook?find=nobody"))
        assert (await admin.get("/addressbook/suggestions?text=ali")).json() == [["@alice", "Alice Example"]]
        for path in ("/send", "/settings/scan"):
            assert 'data-search="/addressbook/suggestions"' in (await admin.get(path)).text
        for language in ("en", "de", "fr", "es", "ja"):
            for path in ("/addressbook?find=ali", "/addressbook/directory", "/settings/addressbook"):
                assert (await admin.get(path, headers={"accept-language": language})).status_code == 200
        key = (await run_sync(ApiKeys(panel.device.home, lambda: 0.0).make, "tests")).reveal()
        api = {"authorization": f"Bearer {key}"}
        answer = await admin.get("/api/addressbook-directory?text=ali", headers=api)
        assert (answer.json()["is_complete"], [each["name"] for each in answer.json()["entries"]]) == (True, ["alice"])
        assert [each["name"] for each in (await admin.get("/api/addressbook?name=alice", headers=api)).json()] == [
            "alice"
        ]
        tested = await admin.request("POST", "/api/addressbook-directory-test", headers=api)
        assert (tested.json()["ok"], tested.json()["cause"]) == (True, None)


async def test_a_form_searches_while_somebody_types(
    tmp_path: Path, slapd: Slapd, ca: trustme.CA, browser: Browser
) -> None:
    async with run_panel(tmp_path / "home") as panel:
        await run_sync(Home(tmp_path, slapd, ca).set)
        await panel.device.refresh([SECTION])

        def act(page: Page) -> list[str]:
            panel.sign_in(page, "/send")
            page.fill("#to", "bob@example.com, ali")
            page.wait_for_selector("#suggested-recipients [data-found]", state="attached")
            page.fill("#to", "bob@example.com, @alice, car")
            page.wait_for_selector("[data-found][data-value='@carol']", state="attached")
            return page.eval_on_selector_all("[data-found]", "found => found.map(each => each.value)")

        assert await browser.visit(act) == ["bob@example.com, @alice, @carol"]


def test_the_command_searches_and_tests(home: Home) -> None:
    home.set(None)
    folder = home.records.home
    refused = mailslot("--home", folder, "addressbook", "test")
    assert (refused.returncode, "No password is stored for the user" in refused.stderr) == (1, True)
    stored = mailslot("--home", folder, "addressbook", "password", typed=f"{PASSWORD}\n".encode())
    assert stored.stdout == "The password of the directory is stored.\n"
    tested = mailslot("--home", folder, "addressbook", "test", "--json")
    assert json.loads(tested.stdout) == {"message": "The directory localhost works. It has @alice, alice@example.com."}
    found = mailslot("--home", folder, "addressbook", "search", "ali exa", "--json")
    assert [each["name"] for each in json.loads(found.stdout)] == ["alice"]
    listed = mailslot("--home", folder, "addressbook", "list", "@alice")
    assert "Alice Example" in listed.stdout
    assert mailslot("--home", folder, "addressbook", "password", "--remove").returncode == 0
    assert mailslot("--home", folder, "addressbook", "test").returncode == 1
