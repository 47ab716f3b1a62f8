"""Attempts to set every setting over the network, with an API key and as the administrator."""

from __future__ import annotations

import re
from functools import partial
from html import unescape
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from anyio.to_thread import run_sync

from mailslot.slots.permission import NotPermittedError, least_role
from mailslot.slots.section import find_section, section_names
from mailslot.slots.settings import KEYS
from mailslot.slots.settings_file import SettingsFile
from mailslot_plugins.panel.api.openapi import load_groups, openapi
from mailslot_plugins.panel.permission import change_section
from mailslot_plugins.panel.section import PANEL
from mailslot_plugins.panel.security.keys import ApiKeys
from panel.browser_client import BrowserClient
from panel.running_panel import run_panel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from mailslot.slots.keys import Key
    from panel.running_panel import RunningPanel


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One is enough: what is asked is what the settings hold afterwards."""
    return "asyncio"


@pytest.fixture(scope="module")
async def panel(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningPanel]:
    async with run_panel(tmp_path_factory.mktemp("permission") / "home") as found:
        yield found


@pytest.fixture
async def script(panel: RunningPanel) -> AsyncIterator[httpx2.AsyncClient]:
    """Somebody who has come by a key."""
    keys = ApiKeys(panel.device.home, lambda: 0.0)
    key = await run_sync(keys.make, "stolen")
    headers = {"authorization": f"Bearer {key.reveal()}"}
    async with httpx2.AsyncClient(
        base_url=f"{panel.address}/api", headers=headers, timeout=120, trust_env=False
    ) as api:
        yield api
    await run_sync(keys.delete, (await run_sync(keys.all))[-1].id)


@pytest.fixture
async def admin(panel: RunningPanel) -> AsyncIterator[BrowserClient]:
    async with BrowserClient(panel.address) as found:
        await found.sign_in()
        found.headers["x-csrf-token"] = await found.token("/administration")
        yield found


def tables() -> Mapping[str, Mapping[str, Key]]:
    """Return the keys by the path where the API has them."""
    sections = [section for name in section_names() if (section := find_section(name)) is not None]
    return {"/slots/fax.pop/settings": KEYS, **{f"/sections/{section.name}": section.keys for section in sections}}


WANTED: dict[str, Any] = {
    "token_source": "file /etc/shadow",
    "names": ["evil.example"],
    "idle_minutes": 720,
    "webhook": "https://evil.example/",
    "printer_languages": True,
    "allow": ["*@evil.example"],
    "deny": ["*"],
    "destinations": "book",
    "sender": "user",
    "archive": ["everything@evil.example"],
    "ldap_server": "evil.example",
    "ldap_security": "starttls",
    "ldap_type": "active_directory",
    "ldap_base": "dc=evil",
    "ldap_user": "cn=evil",
    "ldap_port": 1389,
    "ldap_filter": "(cn=evil)",
    "ldap_name": "evil",
    "ldap_display_name": "evil",
    "ldap_mail": "evil",
    "ldap_fax": "evil",
    "ldap_fax_gateway": "evil.example",
    "ldap_max_results": 500,
    "ldap_timeout": 60,
    "ldap_keep_minutes": 1440,
}
"""What somebody would set; where it is not here, a folder of the device's own."""

BY_VALUE: dict[tuple[str, str], list[Any]] = {
    ("/sections/print", "printer"): ["folder /etc", "command /bin/sh", "folder panel"],
    ("/sections/fax", "deliver_to"): [["folder /etc/cron.d"], ["folder fax", "folder vault"], ["printer command sh"]],
}


def attempts() -> list[tuple[str, str, Any, str]]:
    """Return what may not be set by everybody: where, which key, to what value, and who might."""
    found = [
        (path, key, WANTED.get(key, "/etc"), needs)
        for path, known in tables().items()
        for key, each in known.items()
        if (needs := least_role(each)) != "api_key"
    ]
    return found + [(path, key, value, "local") for (path, key), values in BY_VALUE.items() for value in values]


async def held(panel: RunningPanel) -> bytes:
    path = panel.device.records.settings.path
    return await run_sync(lambda: path.read_bytes() if path.exists() else b"")


@pytest.mark.parametrize(("path", "key", "value", "needs"), attempts())
async def test_restricted_settings(
    panel: RunningPanel,
    script: httpx2.AsyncClient,
    admin: BrowserClient,
    path: str,
    key: str,
    value: object,
    needs: str,
) -> None:
    before = await held(panel)
    for asked in ({key: value}, {"timeout": 7, key: value} if "slots" in path else {key: value}):
        refused = await script.patch(path, json=asked)
        assert (refused.status_code, refused.json()["key"]) == (403, key), refused.text
        assert refused.json()["cause"] == "not_permitted"
    # Both at once count as the key.
    both = await admin.patch(
        f"/api{path}", json={key: value}, headers={"authorization": script.headers["authorization"]}
    )
    assert both.status_code == 403
    assert await held(panel) == before
    by_session = await admin.patch(f"/api{path}", json={key: value})
    if needs == "local":
        assert by_session.status_code == 403
        page = path.removesuffix("/settings") if "slots" in path else path.replace("sections", "settings")
        text = "; ".join(value) if isinstance(value, list) else str(value)
        posted = await admin.submit(page, **{key: text})
        assert posted.status_code == (303 if "slots" in path else 422)
        assert "slots" in path or "only be set on the device itself" in posted.text
        assert await held(panel) == before
        return
    assert by_session.status_code == 200
    # Nor does a key give it up again.
    assert (await script.patch(path, json={key: None})).status_code == 403
    assert (await admin.patch(f"/api{path}", json={key: None})).status_code == 200


async def test_api_keys_may_set_everything_else(panel: RunningPanel, script: httpx2.AsyncClient) -> None:
    """What it sends back as it has got it is no change, either."""
    home = panel.device.records
    await run_sync(partial(home.settings.change, "fax-pop", {"ca_file": "/a.pem", "token_source": "file /t"}))
    fax = find_section("fax")
    assert fax is not None
    await run_sync(home.settings.change_section, fax, {"deliver_to": "folder /srv/fax; mail a@example.com"})
    before = await held(panel)
    for path, known in tables().items():
        shown = (await script.get(path)).json()["settings"]
        for key, value in shown.items():
            answer = await script.patch(path, json={key: value})
            assert answer.status_code in {200, 422}, (path, key, answer.text)
            assert answer.status_code == 200 or value is not None
        assert set(shown) <= set(known)
    for key in ("ca_file", "token_source"):
        assert (await script.patch("/slots/fax.pop/settings", json={key: None})).status_code == 403
    after = await held(panel)
    assert before in after or b"/srv/fax" in after
    mixed = ["folder /srv/fax", "mail b@example.com"]
    assert (await script.patch("/sections/fax", json={"deliver_to": mixed})).status_code == 200
    assert (await script.patch("/sections/fax", json={"deliver_to": None})).status_code == 200


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("fax", "deliver_to", "folder fax; folder /srv/fax; mail a@example.com"),
        ("scan", "to", '"Doe, John" <j@example.com>, b@example.com'),
        ("alerts", "recipients", "a@example.com, b@example.com"),
    ],
)
async def test_a_form_that_is_sent_back_changes_nothing(
    panel: RunningPanel, admin: BrowserClient, section: str, key: str, value: str
) -> None:
    """Two folders do not become one with a blank in its name."""
    found = find_section(section)
    assert found is not None
    settings = panel.device.records.settings
    before = (await run_sync(settings.change_section, found, {key: value}))[key]
    assert len(before) > 1
    page = (await admin.get(f"/settings/{section}")).text
    [entered] = re.findall(rf'<input id="{key}" [^>]*? value="([^"]*)"', page)
    posted = await admin.submit(f"/settings/{section}", **{key: unescape(entered)})
    assert posted.status_code == 303
    assert (await run_sync(settings.section, found))[key] == before


def test_the_openapi_document_shows_permissions() -> None:
    paths = openapi(load_groups())["paths"]
    for path, known in tables().items():
        of = "/api/slots/{slot}/settings" if "slots" in path else f"/api{path}"
        schema = paths[of]["patch"]["requestBody"]["content"]["application/json"]["schema"]["properties"]
        for key, each in known.items():
            assert schema[key].get("readOnly", False) is (least_role(each) != "api_key"), (path, key)
            assert ("device itself" in schema[key]["description"]) is (
                least_role(each) == "local" or callable(each.set_by)
            )


def test_a_value_that_is_changed_meanwhile_is_not_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may send back what is unchanged; this was, until it was written."""
    file, other = SettingsFile(tmp_path), SettingsFile(tmp_path)
    file.change_section(PANEL, {"idle_minutes": 5})
    change = file.change_section

    def change_late(*arguments: Any, **options: Any) -> dict[str, Any]:
        monkeypatch.undo()
        other.change_section(PANEL, {"idle_minutes": 10})
        return change(*arguments, **options)

    monkeypatch.setattr(file, "change_section", change_late)
    with pytest.raises(NotPermittedError):
        change_section(file, PANEL, {"idle_minutes": 5}, by="api_key")
    assert other.section(PANEL)["idle_minutes"] == 10
