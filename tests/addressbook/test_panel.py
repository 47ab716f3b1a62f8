"""The page of the address book, and its operations of the API."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from anyio.to_thread import run_sync

from mailslot_plugins.addressbook.book import load_book
from mailslot_plugins.panel.security.keys import ApiKeys
from mailslot_plugins.rules.section import SECTION
from panel.browser_client import BrowserClient, words
from panel.running_panel import RunningPanel, run_panel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx2

pytestmark = pytest.mark.anyio


@pytest.fixture
async def panel(tmp_path: Path) -> AsyncIterator[RunningPanel]:
    async with run_panel(tmp_path / "home") as found:
        yield found


async def test_entries_are_added_changed_and_removed(panel: RunningPanel) -> None:
    async with BrowserClient(panel.address) as admin:
        await admin.sign_in()
        save = partial(admin.submit, "/addressbook/entry")
        await save(
            name="Alice", display_name="Älice <b>", addresses="alice@example.com, a@example.net", groups="office"
        )
        wrong = await save(name="bob", addresses="bob@@")
        assert wrong.status_code == 422
        assert 'id="addresses-error"' in wrong.text
        assert (await save(name="alice", addresses="x@example.com")).status_code == 422
        await save(name="al", before="alice", display_name="Alice", addresses="alice@example.com", groups="office")
        [entry] = (await load_book(panel.device)).entries.values()
        assert entry.document() == {
            "name": "al",
            "display_name": "Alice",
            "addresses": ["alice@example.com"],
            "fax_addresses": [],
            "groups": ["office"],
        }
        for language in ("en", "de", "fr", "es", "ja"):
            for path in ("/addressbook", "/addressbook/entry?name=al", "/addressbook/import", "/settings/rules"):
                assert (await admin.get(path, headers={"accept-language": language})).status_code == 200
        assert "@al" in words(await admin.get("/addressbook?find=@OFFICE"))
        for path in ("/settings/scan", "/settings/rules"):
            form = (await admin.get(path)).text
            assert '<option value="@office">@al</option><option value="@al">Alice</option>' in form
        assert "No entry contains this." in words(await admin.get("/addressbook?find=nobody"))
        await admin.submit("/addressbook/remove", "/addressbook", name="al")
        assert "The address book is empty" in words(await admin.get("/addressbook"))


async def test_an_import_shows_first_what_it_changes(panel: RunningPanel) -> None:
    async with BrowserClient(panel.address) as admin:
        await admin.sign_in()
        submit = partial(admin.submit, "/addressbook/import")
        wrong = await submit(csv="name,email\r\nAlice,a@example.com\r\nBob,nonsense")
        assert wrong.status_code == 422
        assert "Nothing was imported. Line 3: " in words(wrong)
        tried = await submit(csv="name,email\r\nAlice,a@example.com\r\nBob,")
        assert "Added 1 @alice" in words(tried)
        assert "Line 3: Bob has no mail address." in words(tried)
        assert not (await load_book(panel.device)).entries
        await submit(csv="name,email\r\nAlice,a@example.com", sure="yes")
        exported = await admin.get("/addressbook/export?separator=semicolon")
        assert exported.content == (
            b"\xef\xbb\xbfname;display_name;addresses;fax_addresses;groups\r\nalice;Alice;a@example.com;;\r\n"
        )


async def test_the_api_does_the_same_unless_rules_rely_on_the_book(panel: RunningPanel) -> None:
    key = (await run_sync(ApiKeys(panel.device.home, lambda: 0.0).make, "tests")).reveal()
    async with BrowserClient(panel.address, headers={"authorization": f"Bearer {key}"}) as client:

        async def call(method: str, path: str, **body: object) -> httpx2.Response:
            return await client.request(method, f"/api/{path}", json=body or None)

        added = await call("POST", "addressbook", name="Alice", addresses=["alice@example.com"], groups=["office"])
        assert (added.status_code, added.json()["name"]) == (200, "alice")
        assert (await call("POST", "addressbook", name="a b", addresses=["x@example.com"])).status_code == 422
        assert [each["name"] for each in (await call("GET", "addressbook?name=office")).json()] == ["alice"]
        csv = "name,email\nBob,bob@example.com\n"
        tried = await call("POST", "addressbook-import", csv=csv, dry_run=True, replace_all=True)
        assert (tried.json()["added"], tried.json()["removed"]) == (["bob"], ["alice"])
        assert (await call("POST", "addressbook-import", csv=csv)).json()["added"] == ["bob"]
        assert b"bob,Bob,bob@example.com" in (await call("GET", "addressbook-export")).content
        assert (await call("DELETE", "addressbook/bob")).status_code == 200
        assert (await call("DELETE", "addressbook/bob")).status_code == 404

        change = partial(panel.device.records.settings.change_section, SECTION, {"destinations": "book"})
        await run_sync(change)
        await panel.device.refresh([SECTION])
        refused = await call("POST", "addressbook", name="eve", addresses=["eve@example.net"])
        assert refused.status_code == 403
        assert "only the administrator" in refused.text
        assert list((await load_book(panel.device)).entries) == ["alice"]
