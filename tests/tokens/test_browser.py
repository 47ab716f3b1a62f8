"""The browser flow at the sandbox: one redirect is accepted, and nothing else disturbs or outlives the wait."""

from __future__ import annotations

import resource
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest

from lab.process import free_ports
from mailslot import InputError, TokenError
from mailslot.oauth.token_errors import TokenServiceError
from mailslot_plugins.tokens import loopback
from mailslot_plugins.tokens.browser import BrowserFlow
from mailslot_plugins.tokens.loopback import open_loopback
from tokens.people import USER, NoPrompt, ScriptedPerson, get, sign_in

if TYPE_CHECKING:
    import httpx2

    from mailslot.oauth.client import OAuthClient
    from mailslot.oauth.http import TokenHttp
    from mailslot_plugins.sandbox import Sandbox

pytestmark = pytest.mark.virtual_time

FLOW = BrowserFlow()


def query(address: str) -> dict[str, str]:
    return {name: value for name, [value] in parse_qs(urlsplit(address).query).items()}


async def exchange(address: str, octets: bytes) -> bytes:
    """Send octets to a listener, and return all that comes until it closes."""
    parts = urlsplit(address)
    assert parts.hostname
    assert parts.port
    async with await anyio.connect_tcp(parts.hostname, parts.port) as stream:
        await stream.send(octets)
        return b"".join([piece async for piece in stream])


async def refuses_connections(address: str) -> bool:
    try:
        await exchange(address, b"GET / HTTP/1.1\r\n\r\n")
    except OSError:
        return True
    return False


async def test_a_sign_in(sandbox: Sandbox, panel: OAuthClient, http: TokenHttp) -> None:
    pages: list[httpx2.Response] = []
    redirects: list[str] = []

    async def act(address: str) -> None:
        redirects.append(await sign_in(address))
        pages.append(await get(redirects[0]))

    # One that the system gives may be another test's as soon as it is left.
    panel = replace(panel, redirect_port=free_ports(1)[0])
    grant = await FLOW.obtain(panel, http, ScriptedPerson(act=act))
    assert (grant.flow, grant.account) == ("browser", USER)
    assert grant.access_token
    assert sandbox.provider.check(grant.access_token.reveal(), USER, "mail.send") is None
    assert grant.refresh_token
    [page] = pages
    assert page.status_code == 200
    assert "You have signed in" in page.text
    assert not any(value in page.text for value in query(redirects[0]).values())
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert await refuses_connections(redirects[0])


async def test_a_configured_port(panel: OAuthClient, http: TokenHttp) -> None:
    [port] = free_ports(1)
    async with open_loopback("127.0.0.1", port):
        with pytest.raises(TokenError, match=rf"The port {port} that is set \(redirect_port\) cannot be opened"):
            await FLOW.obtain(replace(panel, redirect_port=port), http, NoPrompt())
    for _ in range(2):  # at once again, although connections to it have just ended

        async def act(address: str) -> None:
            assert query(address)["redirect_uri"] == f"http://127.0.0.1:{port}"
            await get(await sign_in(address))

        assert (await FLOW.obtain(replace(panel, redirect_port=port), http, ScriptedPerson(act=act))).access_token


async def test_other_requests_change_nothing(panel: OAuthClient, http: TokenHttp) -> None:
    answers: list[bytes] = []

    async def act(address: str) -> None:
        there = await sign_in(address)
        base = query(address)["redirect_uri"]
        host = f"Host: {urlsplit(base).netloc}\r\n".encode()
        right = urlsplit(there).query.encode()
        state = query(address)["state"].encode()
        requests = (
            b"GET /favicon.ico HTTP/1.1\r\n" + host,
            b"GET /other?" + right + b" HTTP/1.1\r\n" + host,
            b"GET / HTTP/1.1\r\n" + host,
            b"POST /?" + right + b" HTTP/1.1\r\n" + host,
            b"GET /?" + right + b" HTTP/1.1\r\nHost: evil.example\r\n",
            b"GET /?" + right + b" HTTP/1.1\r\n",
            b"GET /?" + right + b" HTTP/1.1\r\n" + host + host,
            b"GET /?code=theirs&state=wrong HTTP/1.1\r\n" + host,
            b"GET /?error=access_denied HTTP/1.1\r\n" + host,
            b"GET /?code=a&code=b&state=" + state + b" HTTP/1.1\r\n" + host,
            b"\x16\x03\x01\x02\x00\x01\r\n",
            b"\r\n",
            b"A" * 40_000,
        )
        answers.extend([await exchange(base, request + b"\r\n") for request in requests])
        parts = urlsplit(base)
        assert parts.port
        for nothing in (b"", b"GET /?code="):  # browsers open connections that they do not use
            async with await anyio.connect_tcp("127.0.0.1", parts.port) as stream:
                await stream.send(nothing)
        answers.append(await exchange(base, b"GET /?" + right + b" HTTP/1.1\r\n" + host + b"\r\n"))

    grant = await FLOW.obtain(panel, http, ScriptedPerson(act=act))
    assert grant.access_token
    *others, last = [answer.partition(b"\r\n")[0] for answer in answers]
    assert last == b"HTTP/1.1 200 OK"
    assert set(others) == {b"HTTP/1.1 404 Not Found", b"HTTP/1.1 400 Bad Request"}
    assert [other.split()[1] for other in others[:3]] == [b"404", b"404", b"400"]
    assert others[7] == b"HTTP/1.1 400 Bad Request"
    assert b"another sign-in" in answers[7]


async def test_exactly_one_response_is_accepted(sandbox: Sandbox, panel: OAuthClient, http: TokenHttp) -> None:
    pages: list[str] = []

    async def act(address: str) -> None:
        first, second = await sign_in(address), await sign_in(address, "alice@example.com")
        for there in (first, second):
            try:
                pages.append((await get(there)).text)
            except OSError:
                pages.append("")

    grant = await FLOW.obtain(panel, http, ScriptedPerson(act=act))
    assert grant.account == USER
    assert "You have signed in" in pages[0]
    assert "You have signed in" not in pages[1]
    assert sandbox.token_service.requests == ["token authorization_code 200"]


@pytest.mark.parametrize("way", ["declined", "other issuer"])
async def test_the_page_shows_failures(panel: OAuthClient, http: TokenHttp, way: str) -> None:
    pages: list[str] = []

    async def act(address: str) -> None:
        if way == "declined":
            there = await sign_in(address, decision="deny")
        else:
            there = (await sign_in(address)).replace("iss=http", "iss=https")
        pages.append((await get(there)).text)

    with pytest.raises(TokenError) as refused:
        await FLOW.obtain(panel, http, ScriptedPerson(act=act))
    assert refused.value.cause == "token_not_retrieved"
    assert "The sign-in did not work" in pages[0]
    assert str(refused.value) in pages[0]


async def test_the_page_has_no_active_content(panel: OAuthClient, http: TokenHttp) -> None:
    pages: list[str] = []

    async def act(address: str) -> None:
        there = await sign_in(address, decision="deny")
        pages.append((await get(there.replace("error=access_denied", "error=%3Cscript%3E"))).text)

    with pytest.raises(TokenServiceError):
        await FLOW.obtain(panel, http, ScriptedPerson(act=act))
    assert "<script" not in pages[0]


async def test_a_timeout_waiting_for_the_browser(panel: OAuthClient, http: TokenHttp) -> None:
    async def act(address: str) -> None:
        pass

    person = ScriptedPerson(act=act)
    panel = replace(panel, redirect_port=free_ports(1)[0])
    with pytest.raises(TokenError, match="Nobody finished the sign-in") as refused:
        await BrowserFlow(timeout=0.1).obtain(panel, http, person)
    assert refused.value.cause == "token_not_retrieved"
    assert await refuses_connections(query(person.addresses[0])["redirect_uri"])


async def test_a_browser_that_keeps_its_connection_open(panel: OAuthClient, http: TokenHttp) -> None:
    """The answer counts once it was sent, whatever the browser does with the page."""

    async def act(address: str) -> None:
        there = urlsplit(await sign_in(address))
        assert there.port
        stream = await anyio.connect_tcp("127.0.0.1", there.port)
        await stream.send(f"GET /?{there.query} HTTP/1.1\r\nHost: {there.netloc}\r\n\r\n".encode())
        await anyio.aclose_forcefully(stream)

    with anyio.fail_after(60):
        assert (await FLOW.obtain(panel, http, ScriptedPerson(act=act))).access_token


async def test_unused_connections(panel: OAuthClient, http: TokenHttp, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are open, each has its time, and then it is another's turn."""
    monkeypatch.setattr(loopback, "_CONNECTION_TIMEOUT", 0.1)

    async def act(address: str) -> None:
        there = await sign_in(address)
        port = urlsplit(there).port
        assert port
        async with AsyncExitStack() as stack:
            for _ in range(40):
                await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", port))
            assert (await get(there)).status_code == 200

    with anyio.fail_after(60):
        assert (await FLOW.obtain(panel, http, ScriptedPerson(act=act))).access_token


async def test_cancellation_closes_the_listener(panel: OAuthClient, http: TokenHttp) -> None:
    shown = anyio.Event()

    async def act(address: str) -> None:
        shown.set()
        await anyio.sleep_forever()

    person = ScriptedPerson(act=act)
    panel = replace(panel, redirect_port=free_ports(1)[0])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(FLOW.obtain, panel, http, person)
        await shown.wait()
        base = query(person.addresses[0])["redirect_uri"]
        assert b"404" in await exchange(base, b"GET /favicon.ico HTTP/1.1\r\n\r\n")
        tasks.cancel_scope.cancel()
    assert await refuses_connections(base)


async def test_a_failure_to_show_the_address(panel: OAuthClient, http: TokenHttp) -> None:
    async def act(address: str) -> None:
        raise KeyError(address)

    with pytest.raises(KeyError):
        await FLOW.obtain(panel, http, ScriptedPerson(act=act))


async def test_localhost_is_used_only_in_the_redirect_uri() -> None:
    async with open_loopback("localhost") as door:
        port = urlsplit(door.redirect_uri).port
        assert port
        assert door.redirect_uri == f"http://localhost:{port}"
        for address in ("127.0.0.1", "localhost"):
            async with await anyio.connect_tcp(address, port):
                pass
        with pytest.raises(OSError, match="attempts failed"):  # and nobody else finds it
            await anyio.connect_tcp("127.0.0.2", port)


async def test_no_free_port() -> None:
    _, hard = limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(TokenError, match="No port can be opened"):
            async with open_loopback("127.0.0.1"):
                pass
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_a_provider_without_loopback_redirects(panel: OAuthClient, http: TokenHttp) -> None:
    provider = replace(panel.provider, refused_flows={"browser": "Not here."})
    with pytest.raises(InputError, match="Not here"):
        await FLOW.obtain(replace(panel, provider=provider), http, NoPrompt())
