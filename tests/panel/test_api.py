"""The API of a device in a sandbox, from the settings to a job."""

from __future__ import annotations

import io
import json
import tomllib
import zipfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest
from anyio.to_thread import run_sync
from typer.testing import CliRunner

from mailslot.cli.app import app
from mailslot.oauth.flow import UserCode
from mailslot.slots.accounts import add_account
from mailslot.slots.records import Records
from mailslot.slots.section import DEVICE
from mailslot.slots.slot import SLOTS
from mailslot_plugins.panel.api.openapi import load_groups, openapi
from mailslot_plugins.panel.security.keys import ApiKeys
from mailslot_plugins.sandbox.demo_device import populate_demo_device, set_up_demo_device
from mailslot_plugins.sandbox.sandbox import run_sandbox
from mailslot_plugins.sandbox.web_faults import WebFault
from mailslot_plugins.tokens import device as device_flow
from panel.browser_client import BrowserClient, words
from panel.running_panel import RunningPanel, run_panel
from tokens.people import enter_code

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mailslot_plugins.sandbox.sandbox import Sandbox

PAGE = Path(__file__).parents[2] / "fixtures" / "scan" / "page.pdf"
PROBLEM = "application/problem+json"


@dataclass
class Fleet:
    """A device, what it talks to, and a script with a key."""

    panel: RunningPanel
    sandbox: Sandbox
    key: str

    @property
    def script(self) -> httpx2.AsyncClient:
        headers = {"authorization": f"Bearer {self.key}"}
        return httpx2.AsyncClient(base_url=f"{self.panel.address}/api", headers=headers, timeout=120, trust_env=False)


@asynccontextmanager
async def open_fleet(home: Path) -> AsyncGenerator[Fleet]:
    async with run_sandbox() as sandbox:
        await run_sync(set_up_demo_device, home, sandbox)
        key = await run_sync(partial(ApiKeys(home, lambda: 0.0).make, "fleet", documents=True))
        past = partial(populate_demo_device, sandbox=sandbox, page=PAGE)
        async with run_panel(home, claimed=False, before=past) as panel:
            yield Fleet(panel, sandbox, key.reveal())


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One is enough for what operations do; the server that they are asked of has tests on both."""
    return "asyncio"


@pytest.fixture(scope="module")
async def fleet(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Fleet]:
    async with open_fleet(tmp_path_factory.mktemp("fleet")) as found:
        yield found


@pytest.fixture
async def script(fleet: Fleet) -> AsyncGenerator[httpx2.AsyncClient]:
    async with fleet.script as found:
        yield found


async def ended(script: httpx2.AsyncClient, path: str) -> dict[str, Any]:
    """Ask until a task has ended."""
    with anyio.fail_after(120):
        while (document := (await script.get(path)).json())["running"]:  # noqa: ASYNC110 - over HTTP
            await anyio.sleep(0.02)
    return document


def printed(home: Path, *arguments: str) -> Any:
    done = CliRunner().invoke(app, ["--home", str(home), *arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


async def test_responses_equal_the_output_of_commands(fleet: Fleet, script: httpx2.AsyncClient) -> None:
    home = fleet.panel.device.home
    commands = {
        "/slots": ("slots",),
        "/slots/network.quick/settings": ("show", "network.quick"),
        "/jobs": ("jobs",),
        "/received": ("received",),
        "/alerts": ("alert", "list"),
        "/plugins": ("plugins",),
    }
    found = {path: await run_sync(printed, home, *arguments) for path, arguments in commands.items()}
    for path in commands:
        answer = await script.get(path)
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == found[path], path
    assert len(found["/jobs"]) == len(found["/alerts"]) + 1 == 2
    assert [row["slot"] for row in found["/slots"]] == [slot.id for slot in SLOTS]


async def test_settings_change_with_if_match(fleet: Fleet, script: httpx2.AsyncClient) -> None:
    path = "/slots/print.pop/settings"
    before = await script.get(path)
    assert before.json()["settings"]["timeout"] == 30
    headers = {"if-match": before.headers["etag"]}
    changed = await script.patch(path, json={"timeout": 31, "password": "geheim 4711"}, headers=headers)
    assert changed.status_code == 200
    assert changed.json()["settings"]["timeout"] == 31
    assert changed.json()["secrets"] == {"password": True, "client_secret": False}
    assert changed.headers["etag"] != before.headers["etag"]
    # Somebody else knows no better than to undo it, and is told.
    late = await script.patch(path, json={"timeout": 32, "password": None}, headers=headers)
    assert (late.status_code, late.json()["key"]) == (412, "If-Match")
    now = await script.get(path)
    assert now.headers["etag"] == changed.headers["etag"]
    assert now.json()["secrets"]["password"] is True
    assert "geheim" not in changed.text + now.text
    merge = {"content-type": "application/merge-patch+json", "if-match": f'"x", {now.headers["etag"]}'}
    back = await script.patch(path, content=b'{"timeout": null, "password": null}', headers=merge)
    assert back.json()["settings"]["timeout"] == 30
    assert back.headers["etag"] == before.headers["etag"]
    shared = await script.patch("/slots/network.quick/settings", json={"sender_name": "Copier 2"})
    assert shared.json()["notes"] == []
    assert (await script.get("/slots/install.quick/settings")).json()["settings"]["sender_name"] == "Copier 2"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "key", "reason"),
    [
        ("PATCH", "/slots/fax.pop/settings", {"timout": 5}, 422, "timout", "Did you mean timeout?"),
        ("PATCH", "/slots/fax.pop/settings", {"timeout": "5"}, 422, "timeout", "it must be a whole number or null"),
        ("PATCH", "/slots/fax.pop/settings", {"timeout": 0}, 422, "timeout", "at least 1 and at most 600"),
        ("PATCH", "/slots/fax.pop/settings", {"security": "ssl"}, 422, "security", "one of none, starttls, tls"),
        ("PATCH", "/slots/fax.pop/settings", {"server": "a b"}, 422, "server", "a host name or an IP address"),
        (
            "PATCH",
            "/slots/fax.pop/settings",
            {"sender_name": "x"},
            422,
            "sender_name",
            "no setting sender_name for POP",
        ),
        ("PATCH", "/slots/fax.pop/settings", {"security": "none"}, 422, "security", "need encryption"),
        ("PATCH", "/slots/fax.pop/settings", {"token_source": "command id"}, 403, "token_source", "a login on it"),
        ("PATCH", "/slots/fax.pop/settings", {"password": ""}, 422, "password", "is empty"),
        ("PATCH", "/slots/fax.pop/settings", [], 422, "", "must be an object"),
        ("PATCH", "/sections/print", {"printer": "command id"}, 403, "printer", "with a login on it"),
        ("PATCH", "/sections/fax", {"deliver_to": ["printer command id"]}, 403, "deliver_to", "with a login on it"),
        ("PATCH", "/sections/device", {"nam": "x"}, 422, "nam", "Did you mean name?"),
        ("PATCH", "/sections/nothing", {}, 404, "section", "There are device"),
        ("GET", "/sections/nothing", None, 404, "section", "There is no section"),
        ("GET", "/slots/fax.pop?x=1", None, 422, "x", "There is no parameter 'x'."),
        ("GET", "/slots/fax.pip", None, 404, "slot", "Did you mean fax.pop?"),
        ("POST", "/slots/fax.pop/poll", {"again": True}, 422, "again", "Nothing is sent here."),
        ("POST", "/slots/network.smtp/poll", None, 404, "slot", "only a POP slot"),
        ("GET", "/slots/print.pop/token/sign-in", None, 404, "slot", "No sign-in is running"),
        ("POST", "/slots/print.pop/token", {"way": "paste"}, 422, "way", "one of device, app"),
        ("GET", "/jobs?limit=0", None, 422, "limit", "at least 1"),
        ("GET", "/jobs?limit=1&limit=2", None, 422, "limit", "given 2 times"),
        ("GET", "/jobs?stat=sent", None, 422, "stat", "Did you mean state?"),
        ("GET", "/jobs?state=gone", None, 422, "state", "one of queued"),
        ("GET", "/jobs/4711", None, 404, "", "There is no job 4711."),
        ("GET", "/jobs/x", None, 404, "job", "There is no job 'x'."),
        ("GET", "/jobs/" + "9" * 5000, None, 404, "job", "There is no job"),
        ("POST", "/jobs/4711/retry", None, 404, "", "There is no job 4711."),
        ("GET", "/received/1/picture", None, 404, "", "There is no mail 1."),
        ("POST", "/alerts/toner_low", {"detail": "x" * 501}, 422, "detail", "at most 500 characters"),
        ("POST", "/alerts/toner", {}, 404, "kind", "Did you mean toner_"),
        ("DELETE", "/alerts/toner", None, 404, "kind", "Did you mean toner_"),
        ("GET", "/export?without=acount", None, 422, "", "Did you mean account?"),
        ("GET", "/nothing", None, 404, "", "nothing at this address"),
    ],
)
async def test_errors_are_problem_documents(
    script: httpx2.AsyncClient, method: str, path: str, body: object, status: int, key: str, reason: str
) -> None:
    answer = await script.request(method, path, **({} if body is None else {"json": body}))
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    assert problem.keys() == {"title", "status", "cause", "stage", "detail", "key"}
    assert (problem["status"], problem["key"]) == (status, key)
    assert reason in problem["title"], problem
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"[" * 60_000, "application/json", 400),
        (b'{"part": NaN}', "application/json", 400),
        (b'{"part": "a", "part": "a"}', "application/json", 400),
        (b'{"detail": "\\ud800"}', "application/json", 400),
        (b'{"part": "\xff"}', "application/json", 400),
        (b'{"part": ' + b"9" * 5000 + b"}", "application/json", 400),
        (b"secret=4711", "application/x-www-form-urlencoded", 415),
        (b"{}", "text/plain", 415),
        (b"[]", "application/json; charset=utf-8", 422),
        (b" " * 70_000, "application/json", 413),
    ],
)
async def test_malformed_bodies(script: httpx2.AsyncClient, body: bytes, kind: str, status: int) -> None:
    answer = await script.post("/alerts/other", content=body, headers={"content-type": kind})
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    assert "4711" not in answer.text


async def test_methods(script: httpx2.AsyncClient) -> None:
    path = "/slots/fax.pop/settings"
    options = await script.request("OPTIONS", path)
    assert (options.status_code, options.headers["allow"], options.content) == (204, "GET, HEAD, OPTIONS, PATCH", b"")
    for method in ("PUT", "DELETE", "TRACE", "BREW"):
        wrong = await script.request(method, path)
        assert (wrong.status_code, wrong.headers["content-type"]) == (405, PROBLEM)
        assert {each.strip() for each in wrong.headers["allow"].split(",")} == {"GET", "HEAD", "OPTIONS", "PATCH"}
    head = await script.head(path)
    assert (head.status_code, head.content, head.headers["etag"]) == (
        200,
        b"",
        (await script.get(path)).headers["etag"],
    )


async def test_a_token_by_device_code(
    fleet: Fleet, script: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody sits at the device: a script asks for the code, somebody enters it, and mail is fetched and printed."""
    monkeypatch.setattr(device_flow, "flow", device_flow.DeviceFlow(interval=0.1))
    fleet.sandbox.token_service.authorizations.interval = 0.1
    path = "/slots/print.pop/token"
    assert (await script.get(path)).json()["token"] == "Not Retrieved"
    begun = await script.post(path, json={"way": "device"})
    code = begun.json()
    assert (begun.status_code, begun.headers["location"], code["state"]) == (202, f"/api{path}/sign-in", "code")
    assert code["expires_at"]
    assert code["warning"] is None
    # Its page belongs to whoever began a sign-in; it says that another goes on.
    async with BrowserClient(fleet.panel.address) as person:
        await person.sign_in("open sesame")
        assert code["user_code"] not in (await person.get("/slots/print.pop/token")).text
    await enter_code(UserCode(code["user_code"], code["address"], None, 0), "print@example.com")
    assert (await ended(script, f"{path}/sign-in"))["state"] == "done"
    token = (await script.get(path)).json()
    assert (token["token"], token["health"]["state"]) == ("Retrieved", "ok")

    # The sign-in has begun the test itself.
    tested = await ended(script, "/slots/print.pop/test")
    assert (tested["result"]["ok"], tested["result"]["slot"]) == (True, "print.pop")
    assert {stage["name"] for stage in tested["stages"]} >= {"resolve", "token", "probe"}

    begun = await script.post("/slots/print.pop/poll")
    assert (begun.status_code, begun.headers["location"]) == (202, "/api/slots/print.pop/poll")
    polled = (await ended(script, "/slots/print.pop/poll"))["result"]
    assert (polled["ok"], polled["fetched"]) == (True, 1), polled
    [mail] = (await script.get("/received", params={"record": "print-pop"})).json()
    assert mail["subject"] == "Please print: the plan for Monday"
    assert (await script.get(f"/received/{mail['id']}")).json() == mail
    assert (await script.get(f"/received/{mail['id']}/picture")).headers["content-type"] == "image/png"
    assert (await script.get("/received", params={"state": "set_aside"})).json() == []
    refused = await script.post(f"/received/{mail['id']}/retry")
    assert (refused.status_code, refused.json()["cause"]) == (409, "mail_state")

    deleted = await script.delete(path)
    assert (deleted.status_code, deleted.json()["token"], deleted.json()["told"]) == (200, "Not Retrieved", True)
    assert (await script.get(path)).json()["token"] == "Not Retrieved"


async def test_a_sign_in_that_fails(fleet: Fleet, script: httpx2.AsyncClient) -> None:
    path = "/slots/status.pop/token"
    nothing = await script.post(path)
    assert (nothing.status_code, nothing.json()["cause"]) == (409, "not_configured")
    await script.patch("/slots/status.pop/settings", json={"authentication": "oauth2", "issuer": fleet.sandbox.issuer})
    no_account = await script.post(path, json={})
    assert (no_account.status_code, "account" in no_account.json()["title"]) == (409, True)
    await script.patch("/slots/status.pop/settings", json={"account": "a@example.com", "client_id": "nobody"})
    fleet.sandbox.token_service.faults.append(WebFault("device_authorization", act=False))
    begun = (await script.post(path)).json()
    failed = await ended(script, f"{path}/sign-in")
    fleet.sandbox.token_service.faults.clear()
    assert (failed["state"], failed["user_code"]) == ("failed", None), begun
    assert failed["problem"]["stage"] == "token"
    assert (await script.delete(f"{path}/sign-in")).status_code == 204
    assert (await script.get(f"{path}/sign-in")).status_code == 404


async def test_a_test_that_fails_says_why(script: httpx2.AsyncClient) -> None:
    begun = await script.post("/slots/network.quick/test", json={"send": True})
    assert (begun.status_code, begun.headers["location"]) == (202, "/api/slots/network.quick/test")
    # A door to the same record shows the same test, as its own.
    shown = await ended(script, "/slots/install.quick/test")
    assert shown["send"] is True
    result = shown["result"]
    assert (result["slot"], result["stage"], result["cause"]) == ("install.quick", "token", "token_update_failed")
    assert (result["actor"], result["token_helps"]) == ("operator", True)
    german = await script.get("/slots/install.quick/test", headers={"accept-language": "de"})
    assert german.json()["result"]["message"] != result["message"]


async def test_jobs_are_paged_cancelled_and_sent_again(fleet: Fleet, script: httpx2.AsyncClient) -> None:
    for _ in range(3):
        job = await script.post("/test-mail")
        assert (job.status_code, job.headers["location"]) == (202, f"/api/jobs/{job.json()['id']}")
    every = [job["id"] for job in (await script.get("/jobs")).json()]
    seen, address = list[int](), "/api/jobs?limit=2"
    while address:
        page = await script.get(f"{fleet.panel.address}{address}")
        seen += [job["id"] for job in page.json()]
        link = page.headers.get("link", "")
        assert not link or link.endswith('>; rel="next"')
        address = link.partition(">")[0].removeprefix("<")
    assert seen == every == sorted(every, reverse=True)
    scans = (await script.get("/jobs", params={"pipeline": "scan", "state": ["queued", "held"]})).json()
    assert [job["subject"] for job in scans] == ["Delivery note 4711"]
    newest = f"/jobs/{every[0]}"
    again = await script.post(f"{newest}/retry")
    assert (again.status_code, again.json()["cause"]) == (409, "job_state")
    assert (await script.post(f"{newest}/cancel")).json()["state"] == "cancelled"
    assert (await script.get(newest)).json()["state"] == "cancelled"


async def test_alarms(script: httpx2.AsyncClient) -> None:
    raised = await script.post("/alerts/toner_low", json={"part": "cyan", "detail": "2 %"})
    assert raised.json() == {"kind": "toner_low", "part": "cyan", "waits": ""}
    found = {row["part"]: row for row in (await script.get("/alerts")).json()}
    assert found.keys() == {"black", "cyan"}
    assert (found["cyan"]["detail"], found["cyan"]["sources"]) == ("2 %", ["api"])
    assert (await script.delete("/alerts/toner_low", params={"part": "cyan"})).status_code == 200
    [cyan] = [row for row in (await script.get("/alerts")).json() if row["part"] == "cyan"]
    assert cyan["state"] == "ending"


async def test_sections_hide_private_settings(fleet: Fleet, script: httpx2.AsyncClient) -> None:
    path, hook = "/sections/device", "https://hooks.example/4711"
    before = await script.get(path)
    assert before.json()["secrets"] == {"webhook": False}
    refused = await script.patch(path, json={"webhook": hook, "location": "Third floor"})
    assert (refused.status_code, refused.json()["key"]) == (403, "webhook")
    await run_sync(fleet.panel.device.records.settings.change_section, DEVICE, {"webhook": hook})
    changed = await script.patch(path, json={"location": "Third floor"})
    assert changed.json()["secrets"] == {"webhook": True}
    device = (await script.get("/device")).json()
    assert (device["location"], device["metrics"]) == ("Third floor", "/metrics")
    late = await script.patch(path, json={"location": None}, headers={"if-match": before.headers["etag"]})
    assert late.status_code == 412
    names = [row["section"] for row in (await script.get("/sections")).json()]
    assert {"device", "panel", "fax", "print", "alerts"} <= set(names)
    flag = await script.patch(
        "/sections/fax", json={"cover": True, "max_pages": 20, "allowed_senders": ["@example.com"]}
    )
    assert flag.json()["settings"]["cover"] is True
    exported = await script.get("/export", params={"without": "account"})
    assert exported.headers["content-type"] == "application/toml"
    settings = tomllib.loads(exported.text)
    assert settings["fax"]["max_pages"] == 20
    assert "account" not in settings["records"]["smtp"]
    report = await script.get("/report")
    with zipfile.ZipFile(io.BytesIO(report.content)) as bundle:
        result = "".join(bundle.read(name).decode() for name in bundle.namelist())
    assert "Third floor" in result
    for text in (changed.text, (await script.get("/sections")).text, exported.text, result):
        assert hook not in text
    assert (await script.get("/health")).json() == {"status": "ok"}


async def test_a_broken_settings_file(tmp_path: Path) -> None:
    """The device goes on with what it has read before: a token can be deleted, and the rest says what is wrong."""
    async with open_fleet(tmp_path) as fleet, fleet.script as script:
        assert (await script.get("/slots")).status_code == 200
        (tmp_path / "mailslot.toml").write_text("[records.smtp]\nport = 0\n")
        for method, path in (("GET", "/slots"), ("GET", "/sections/fax"), ("PATCH", "/slots/fax.pop/settings")):
            broken = await script.request(method, path, **({"json": {"port": 995}} if method == "PATCH" else {}))
            assert (broken.status_code, broken.headers["content-type"]) == (503, PROBLEM)
            assert "port is 0" in broken.json()["title"]
        assert "port is 0" in (await script.get("/device")).json()["settings_fault"]
        assert (await script.delete("/slots/fax.pop/token")).json()["told"] is True


async def test_no_response_contains_a_secret(fleet: Fleet, script: httpx2.AsyncClient) -> None:
    records, password = fleet.panel.device.records, "geheim 4711"
    await script.patch("/slots/alert.smtp/settings", json={"password": password, "client_secret": f"{password}!"})
    grant = await records.tokens.store("alert-smtp").load()
    assert grant is not None
    assert grant.access_token is not None
    assert grant.refresh_token is not None
    secrets = [password, fleet.key, grant.access_token.reveal(), grant.refresh_token.reveal()]
    await script.post("/slots/alert.smtp/test")
    tested = await ended(script, "/slots/alert.smtp/test")
    assert tested["result"]["transcript"]
    seen = list[str]()
    for path, methods in openapi(load_groups())["paths"].items():
        if "get" in methods:
            address = path.removeprefix("/api").replace("{slot}", "alert.smtp").replace("{job}", "1")
            answer = await script.get(address)
            seen.append(f"{answer.headers} {answer.content.decode('latin-1')}")
    assert len(seen) > 20
    assert [secret for secret in secrets for text in seen if secret in text] == []
    await script.patch("/slots/alert.smtp/settings", json={"password": None, "client_secret": None})


async def test_browser_sessions_work_with_a_csrf_token(fleet: Fleet) -> None:
    async with BrowserClient(fleet.panel.address) as person:
        assert (await person.get("/api/slots")).status_code == 401
        await person.sign_in("open sesame")
        assert len((await person.get("/api/slots")).json()) == 7
        token = await person.token("/administration")
        path, change = "/api/slots/fax.pop/settings", {"check_interval": 2}
        for headers in (
            {},
            {"x-csrf-token": "x"},
            {"x-csrf-token": token, "origin": "https://evil.example"},
            {"x-csrf-token": token, "sec-fetch-site": "cross-site"},
        ):
            refused = await person.patch(path, json=change, headers=headers)
            assert (refused.status_code, refused.headers["content-type"]) == (403, PROBLEM)
        assert (await person.patch(path, json=change, headers={"x-csrf-token": token})).status_code == 200
        page = await person.get("/api/")
        assert "PATCH /api/slots/{slot}/settings" in page.text
        assert "PATCH /api/sections/alerts" in page.text
        # What the API refuses, the pages do not do either.
        runs = await person.submit("/settings/print", printer="command id")
        assert (runs.status_code, "only be set on the device itself" in words(runs)) == (422, True)
        wrong = await person.get("/api/slots", headers={"authorization": f"Bearer {fleet.key}x"})
        assert wrong.status_code == 200  # it is still the session's
    async with httpx2.AsyncClient(base_url=fleet.panel.address, trust_env=False) as other_client:
        for headers in ({}, {"authorization": f"Bearer {fleet.key}x"}, {"authorization": f"Basic {fleet.key}"}):
            refused = await other_client.delete("/api/slots/fax.pop/token", headers=headers)
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
            assert refused.headers["content-type"] == PROBLEM


async def test_an_account_is_a_slot_of_the_api(fleet: Fleet, script: httpx2.AsyncClient) -> None:
    home, settings = fleet.panel.device.home, fleet.panel.device.records.settings
    await run_sync(add_account, Records(home), "office", "SMTP")
    await fleet.panel.device.refresh()
    try:
        assert [row["slot"] for row in (await script.get("/slots")).json()][-1] == "account.office"
        path = "/slots/account.office/settings"
        changed = await script.patch(path, json={"server": "mail.example.com", "password": "geheim"})
        assert changed.status_code == 200
        assert changed.json()["slot"] == changed.json()["record"] == "account.office"
        assert (await script.get("/slots/account.office/token")).json()["token"] == "Not Retrieved"
        assert (await script.get("/received", params={"record": "account.office"})).status_code == 200
        refused = await script.get("/received", params={"record": "account.Office"})
        assert (refused.status_code, refused.json()["key"]) == (422, "record")
        for wrong in ("account.other", "account.", "account.Office"):
            assert (await script.get(f"/slots/{wrong}")).status_code == 404
    finally:
        await run_sync(settings.edit, {("records", "account.office"): None})
        await fleet.panel.device.refresh()
