"""Authentication, cross-site requests, sessions, and the headers of every response."""

from __future__ import annotations

import logging
import re
from io import BytesIO
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest
from anyio.to_thread import run_sync
from starlette.routing import Route

from mailslot.wire.secret import Secret
from mailslot_plugins.panel.application import application
from mailslot_plugins.panel.background import BackgroundTasks
from mailslot_plugins.panel.security.password import Password
from mailslot_plugins.panel.security.paths import PUBLIC, safe_path
from mailslot_plugins.panel.security.security import Security
from panel.browser_client import BrowserClient, words
from panel.running_panel import PASSWORD, RunningPanel, run_panel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    import httpx2


CARRIED = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


@pytest.fixture(scope="module")
async def panel(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[RunningPanel]:
    """A panel whose tests only sign in and out."""
    async with run_panel(tmp_path_factory.mktemp("panel")) as found:
        yield found


@pytest.fixture
async def client(panel: RunningPanel) -> AsyncGenerator[BrowserClient]:
    async with BrowserClient(panel.address) as found:
        yield found


@pytest.fixture
async def admin(panel: RunningPanel) -> AsyncGenerator[BrowserClient]:
    async with BrowserClient(panel.address) as found:
        assert (await found.sign_in()).status_code == 303
        yield found


def pages(panel: RunningPanel) -> list[tuple[str, str]]:
    """Every way of asking for every page."""
    routes = application(panel.device, BackgroundTasks(), Security(panel.device)).routes
    found = [
        (method, re.sub(r"\{[^}]*\}", "7", route.path))
        for route in routes
        if isinstance(route, Route)
        for method in route.methods or ()
    ]
    assert len(found) > 30
    return found


async def test_no_page_without_signing_in(panel: RunningPanel, client: BrowserClient) -> None:
    token = await client.token()
    for method, path in pages(panel):
        if path in PUBLIC or path == "/metrics":
            continue
        answer = await client.request(method, path, headers={"x-csrf-token": token})
        if path.startswith("/api/"):
            assert answer.status_code == 401, (method, path)
            assert answer.headers["www-authenticate"] == "Bearer"
        elif method == "GET":
            assert answer.status_code == 303, (method, path)
            expected = "/sign-in" if path in {"/", "/sign-in"} else f"/sign-in?next={path}"
            assert answer.headers["location"] == expected
        else:
            assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/sign-in"), (
                method,
                path,
            )


async def test_cross_site_changes_are_refused(panel: RunningPanel, admin: BrowserClient) -> None:
    """Every way of changing something, signed in: without its form's token, or from another page, it is refused."""
    token = await admin.token("/administration")
    async with BrowserClient(panel.address) as other:
        foreign = await other.token()
    refused: list[tuple[dict[str, str], dict[str, str]]] = [
        ({}, {}),
        ({"csrf": token}, {"origin": "https://evil.example"}),
        ({"csrf": ""}, {}),
        ({"csrf": "ü"}, {}),
        ({"csrf": foreign}, {}),
        ({"csrf": token}, {"origin": f"{panel.address}1"}),
        ({"csrf": token}, {"origin": "http://["}),
        ({"csrf": token}, {"sec-fetch-site": "cross-site", "origin": "null"}),
        ({"csrf": token}, {"sec-fetch-site": "same-site"}),
    ]
    for method, path in pages(panel):
        if method in {"GET", "HEAD"}:
            continue
        for form, headers in refused if path == "/sign-out" else refused[:2]:
            answer = await admin.request(method, path, data=form, headers=headers)
            assert answer.status_code == 403, (method, path, form, headers)
    assert await admin.is_in()


@pytest.mark.parametrize(
    "headers", [{}, {"origin": "null"}, {"sec-fetch-site": "same-origin", "origin": "null"}, {"sec-fetch-site": "none"}]
)
async def test_own_forms_are_accepted(admin: BrowserClient, headers: dict[str, str]) -> None:
    """With no referrer, browsers say ``null`` for the origin of a form (Fetch standard, section 3.2)."""
    form = {"csrf": await admin.token("/administration"), "language": "de", "back": "/administration"}
    answer = await admin.post("/preferences", data=form, headers=headers)
    assert (answer.status_code, answer.headers["location"]) == (303, "/administration")


async def test_session_fixation_fails(panel: RunningPanel, client: BrowserClient) -> None:
    """A session id from before the sign-in is not signed in afterwards."""
    await client.token()
    planted = client.session
    assert (await client.sign_in()).status_code == 303
    assert client.session != planted
    async with BrowserClient(panel.address) as attacker:
        await attacker.token()
        for cookie in list(attacker.cookies.jar):
            attacker.cookies.set(cookie.name, planted)
        assert not await attacker.is_in()
        # And the token of the forms is another one, too.
        assert await attacker.token() != await client.token("/administration")


async def test_cookie_attributes(client: BrowserClient) -> None:
    answer = await client.get("/sign-in")
    [cookie] = answer.headers.get_list("set-cookie")
    name, _, rest = cookie.partition("=")
    assert re.fullmatch(r"mailslot-\d+", name)
    assert re.fullmatch(r"[\w-]{43}; Path=/; HttpOnly; SameSite=Lax", rest)
    assert "set-cookie" not in (await client.get("/sign-in")).headers
    assert "set-cookie" not in (await client.get("/static/style.css")).headers


async def test_a_cross_site_form_does_not_replace_the_cookie(panel: RunningPanel) -> None:
    """It comes without the cookie (Lax); a response with a new one would sign the user out."""
    async with BrowserClient(panel.address) as other:
        for path in ("/sign-in", "/sign-out", "/jobs/7/cancel"):
            assert "set-cookie" not in (await other.post(path, data={})).headers


async def test_every_response_has_the_security_headers(panel: RunningPanel, client: BrowserClient) -> None:
    """No framing, no guessing of types, no foreign script, nothing kept: on pages, refusals and mistakes alike."""
    async with BrowserClient(panel.address) as admin:
        await admin.sign_in()
        answers = [
            await client.get("/sign-in"),
            await client.get("/"),
            await client.get("/", headers={"host": "evil.example"}),
            await client.get("/healthz"),
            await client.get("/metrics"),
            await client.get("/api/slots"),
            await client.post("/sign-in", data={}),
            await client.post("/sign-in", content=b"x" * 70_000),
            await client.request("TRACE", "/"),
            await admin.get("/"),
            await admin.get("/nowhere"),
            await admin.get("/administration"),
        ]
    expected = [200, 303, 421, 200, 200, 401, 403, 413, 405, 200, 404, 200]
    assert [answer.status_code for answer in answers] == expected
    for answer in answers:
        assert {name: answer.headers.get(name) for name in CARRIED} == CARRIED, answer.url
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers
        assert "strict-transport-security" not in answer.headers
    static = await client.get("/static/style.css")
    assert static.status_code == 200
    assert static.headers.get("cache-control") != "no-store"
    assert "frame-ancestors 'none'" in static.headers["content-security-policy"]
    assert "unsafe" not in static.headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/\n/evil.example",
        "/a\r\nSet-Cookie: x=1",
        "evil",
        "",
        "/" + "a" * 600,
    ],
)
async def test_redirects_stay_on_the_panel(panel: RunningPanel, path: str) -> None:
    assert safe_path(path) == "/"
    async with BrowserClient(panel.address) as client:
        shown = await client.get("/sign-in", params={"next": path})
        assert 'name="next" value="/"' in shown.text
        answer = await client.sign_in(next=path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert [cookie.name for cookie in client.cookies.jar if "mailslot-" not in cookie.name] == []
        onward = await client.get("/sign-in", params={"next": path})
        assert (onward.status_code, onward.headers["location"]) == (303, "/")
        form = {"csrf": await client.token("/administration"), "back": path}
        assert (await client.post("/preferences", data=form)).headers["location"] == "/"


async def test_sign_in_returns_to_the_requested_page(panel: RunningPanel) -> None:
    async with BrowserClient(panel.address) as client:
        asked = await client.get("/jobs?state=held&page=2")
        assert asked.headers["location"] == "/sign-in?next=/jobs%3Fstate%3Dheld%26page%3D2"
        page = await client.get(asked.headers["location"])
        assert 'name="next" value="/jobs?state=held&amp;page=2"' in page.text
        assert (await client.sign_in(next="/jobs?state=held&page=2")).headers["location"] == "/jobs?state=held&page=2"


async def test_a_page_fragment_redirects_the_whole_page_to_sign_in(client: BrowserClient) -> None:
    headers = {"hx-request": "true", "hx-current-url": "http://127.0.0.1/jobs/7"}
    answer = await client.get("/live", headers=headers)
    assert (answer.status_code, answer.headers["hx-redirect"]) == (401, "/sign-in?next=/jobs/7")
    elsewhere = await client.get("/live", headers={**headers, "hx-current-url": "http://x//evil.example"})
    assert elsewhere.headers["hx-redirect"] == "/sign-in"
    damaged = await client.get("/live", headers={**headers, "hx-current-url": "http://["})
    assert damaged.headers["hx-redirect"] == "/sign-in"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "a b", "[::1", ""]
)
async def test_foreign_host_names_are_refused(client: BrowserClient, host: str) -> None:
    """DNS rebinding: a page elsewhere lets its own name lead here."""
    answer = await client.get("/sign-in", headers={"host": host})
    assert answer.status_code == 421
    assert "evil" not in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "127.0.0.1:1", "[::1]:8080", "192.0.2.7", "panel.localhost"]
)
async def test_own_host_names(client: BrowserClient, host: str) -> None:
    assert (await client.get("/sign-in", headers={"host": host})).status_code == 200


async def test_signing_out(panel: RunningPanel, admin: BrowserClient) -> None:
    before = admin.session
    answer = await admin.submit("/sign-out", "/administration")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert "You have signed out." in words(await admin.get("/sign-in"))
    assert "You have signed out." not in words(await admin.get("/sign-in"))
    assert not await admin.is_in()
    async with BrowserClient(panel.address) as thief:
        await thief.token()
        for cookie in list(thief.cookies.jar):
            thief.cookies.set(cookie.name, before)
        assert not await thief.is_in()


async def test_a_new_password_ends_other_sessions(tmp_path: Path) -> None:
    async with run_panel(tmp_path) as panel, BrowserClient(panel.address) as one, BrowserClient(panel.address) as other:
        await one.sign_in()
        await other.sign_in()
        administration = "/administration"
        wrong = await one.submit(
            f"{administration}/password",
            administration,
            current="wrong",
            password="a new password",
            again="a new password",
        )
        assert (wrong.status_code, "Wrong password." in words(wrong)) == (422, True)
        differs = await one.submit(
            f"{administration}/password", administration, current=PASSWORD, password="a new password", again="another"
        )
        assert (differs.status_code, "The two passwords do not match." in words(differs)) == (422, True)
        short = await one.submit(
            f"{administration}/password", administration, current=PASSWORD, password="short", again="short"
        )
        assert (short.status_code, "at least 8 characters" in words(short)) == (422, True)
        for page in (wrong, differs, short):
            assert not re.search(r"a new password|another<|short", page.text)
        before = one.session
        done = await one.submit(
            f"{administration}/password",
            administration,
            current=PASSWORD,
            password="a new password",
            again="a new password",
        )
        assert done.status_code == 303
        assert one.session != before
        assert await one.is_in()
        assert not await other.is_in()
        assert (await other.sign_in()).status_code == 422
        assert (await other.sign_in("a new password")).status_code == 303


async def test_a_password_that_is_changed_during_a_sign_in_with_the_former_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_panel(tmp_path) as panel, BrowserClient(panel.address) as client:
        verify = Password.verify

        def verify_and_change(password: Password, given: Secret) -> bytes | None:
            found = verify(password, given)
            monkeypatch.undo()
            Password(tmp_path).set(Secret("a new password"))
            return found

        monkeypatch.setattr(Password, "verify", verify_and_change)
        assert (await client.sign_in()).status_code == 422
        assert not await client.is_in()
        assert (await client.sign_in("a new password")).status_code == 303
        assert await client.is_in()


async def test_a_password_set_by_command_ends_all_sessions(tmp_path: Path) -> None:
    async with run_panel(tmp_path) as panel, BrowserClient(panel.address) as admin:
        await admin.sign_in()
        assert await admin.is_in()
        await run_sync(Password(tmp_path).set, Secret("from the command line"))
        assert not await admin.is_in()
        assert (await admin.sign_in("from the command line")).status_code == 303


async def test_signing_out_everywhere(tmp_path: Path) -> None:
    async with run_panel(tmp_path) as panel, BrowserClient(panel.address) as one, BrowserClient(panel.address) as other:
        await one.sign_in()
        await other.sign_in()
        answer = await one.submit("/administration/sign-out-everywhere", "/administration")
        assert answer.headers["location"] == "/sign-in"
        assert "Everybody has been signed out." in words(await one.get("/sign-in"))
        assert [await each.is_in() for each in (one, other)] == [False, False]


@pytest.mark.parametrize(
    ("name", "value"),
    [("forwarded", "for=192.0.2.9"), ("x-forwarded-for", "192.0.2.9"), ("x-real-ip", "192.0.2.9"), ("via", "1.1 a")],
)
async def test_proxied_requests_are_not_local(client: BrowserClient, name: str, value: str) -> None:
    assert (await client.get("/metrics")).status_code == 200
    assert (await client.get("/metrics", headers={name: value})).status_code == 401


async def test_api_keys(tmp_path: Path) -> None:
    async with (
        run_panel(tmp_path) as panel,
        BrowserClient(panel.address) as admin,
        BrowserClient(panel.address) as script,
    ):
        await admin.sign_in()
        nameless = await admin.submit("/administration/keys", "/administration", key_name=" ")
        assert (nameless.status_code, "The name of a key has" in words(nameless)) == (422, True)
        made = await admin.submit("/administration/keys", "/administration", key_name="Fleet <script>")
        assert made.status_code == 303
        shown = await admin.get("/administration")
        [key] = set(re.findall(r"mailslot_[\w-]{43}", shown.text))
        assert "Fleet &lt;script&gt;" in shown.text
        assert key not in (await admin.get("/administration")).text
        bearer = {"authorization": f"Bearer {key}"}
        forwarded = {"x-forwarded-for": "192.0.2.9"}
        assert (await script.get("/metrics", headers=forwarded)).status_code == 401
        metrics = await script.get("/metrics", headers=forwarded | bearer)
        assert metrics.status_code == 200
        assert "set-cookie" not in metrics.headers
        # A key opens the API without the token of a form, and nothing else.
        assert (await script.post("/api/nothing", headers=bearer)).status_code == 404
        assert (await script.get("/administration", headers=bearer)).status_code == 303
        for wrong in ("Bearer", "Bearer x", f"Basic {key}", f"Bearer {key}x"):
            assert (await script.get("/api/nothing", headers={"authorization": wrong})).status_code == 401
        assert "last used" in words(await admin.get("/administration"))
        [path] = re.findall(r'action="(/administration/keys/\w+/delete)"', (await admin.get("/administration")).text)
        assert (await admin.submit(path, "/administration")).status_code == 303
        assert (await script.get("/api/nothing", headers=bearer)).status_code == 401


def files(folder: Path) -> dict[str, str]:
    return {str(path): path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file()}


async def test_no_secret_is_shown_or_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Every secret that was typed or issued: not in a log, a page, an address, or a file; but cookies hold an id."""
    caplog.set_level(logging.DEBUG)
    pages: list[str] = []
    guess, new, administration = "a wrong guess 4711", "a new password 0815", "/administration"
    async with run_panel(tmp_path) as panel, BrowserClient(panel.address) as admin:

        async def see(answer: httpx2.Response) -> httpx2.Response:
            headers = {name: value for name, value in answer.headers.items() if name != "set-cookie"}
            pages.append(f"{answer.url} {headers} {answer.text}")
            return answer

        await see(await admin.sign_in(guess))
        planted = admin.session
        await see(await admin.sign_in())
        session = admin.session
        await see(await admin.submit(f"{administration}/keys", administration, key_name="one"))
        [key] = set(re.findall(r"mailslot_[\w-]{43}", (await admin.get(administration)).text))
        await see(
            await admin.submit(f"{administration}/password", administration, current=PASSWORD, password=new, again=new)
        )
        for path in (administration, "/", "/jobs", "/healthz", "/metrics", "/nowhere"):
            await see(await admin.get(path))
        report = await admin.submit(f"{administration}/report", administration)
        assert report.headers["content-type"] == "application/zip"
        secrets = [PASSWORD, guess, new, key, planted, session, admin.session]
    with ZipFile(BytesIO(report.content)) as bundle:
        where = {name: bundle.read(name).decode() for name in bundle.namelist()}
    # The browser's own log is not the device's.
    own_records = [record for record in caplog.records if not record.name.startswith(("httpx2", "httpcore2"))]
    where["log"] = "\n".join(str(record.__dict__) for record in own_records)
    where["pages"] = "\n".join(pages)
    where |= await run_sync(files, tmp_path)
    assert {"log", "pages", str(tmp_path / "panel" / "password"), str(tmp_path / "panel" / "keys.json")} <= set(where)
    assert [(place, secret) for place, text in where.items() for secret in secrets if secret in text] == []
    for name in ("password", "keys.json"):
        assert (tmp_path / "panel" / name).stat().st_mode & 0o777 == 0o600
