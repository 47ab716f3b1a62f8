"""HTTP with a token service: requests, parsed responses, and refused ones."""

from __future__ import annotations

import datetime as dt
import gzip
import ssl
import time
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

import anyio
import pytest

from lab.process import free_ports
from mailslot import InputError
from mailslot.oauth.http import MAX_BODY, TokenHttp
from mailslot.oauth.timing import Clocks
from mailslot.oauth.token_error_table import Remedy
from mailslot.oauth.token_errors import TokenServiceError
from mailslot.wire.secret import Secret
from oauth.scripted_service import client, http_response, run_scripted_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import trustme

    from oauth.scripted_service import Request, ScriptedAnswer

pytestmark = pytest.mark.virtual_time


@pytest.fixture
async def http() -> AsyncIterator[TokenHttp]:
    async with TokenHttp(timeout=5) as http:
        yield http


async def refused(http: TokenHttp, *answers: ScriptedAnswer | Callable[[Request], ScriptedAnswer]) -> TokenServiceError:
    async with run_scripted_service(*answers) as service:
        with pytest.raises(TokenServiceError) as caught:
            await http.post(f"{service.url}/token", {"grant_type": "x"})
    return caught.value


async def test_a_form_is_posted_and_json_returned(http: TokenHttp) -> None:
    async with run_scripted_service(http_response({"a": 1}, status=201)) as service:
        answer = await http.post(f"{service.url}/token?x=y", {"scope": "a b&c=ü", "code": Secret("s+e"), "empty": ""})
    assert (answer.status, answer.ok, answer.json) == (201, True, {"a": 1})
    assert service.last.line == "POST /token?x=y HTTP/1.1"
    assert service.last.form == {"scope": "a b&c=ü", "code": "s+e"}
    assert service.last.headers["content-type"] == "application/x-www-form-urlencoded"
    assert service.last.headers["accept"] == "application/json"
    assert service.last.headers["accept-encoding"] == "identity"
    assert "authorization" not in service.last.headers


async def test_get(http: TokenHttp) -> None:
    async with run_scripted_service(http_response({"a": 1})) as service:
        assert (await http.get(f"{service.url}/x")).json == {"a": 1}
    assert service.last.line == "GET /x HTTP/1.1"
    assert service.last.body == b""


async def test_no_cookie_is_kept(http: TokenHttp) -> None:
    async with run_scripted_service(http_response({}, Set_Cookie="a=b; Path=/")) as service:
        await http.get(service.url)
        await http.get(service.url)
    assert "cookie" not in service.last.headers


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
async def test_a_refusal_is_returned(http: TokenHttp, status: int) -> None:
    async with run_scripted_service(http_response({"error": "invalid_grant"}, status=status)) as service:
        answer = await http.post(service.url, {})
    assert (answer.status, answer.ok, answer.json) == (status, False, {"error": "invalid_grant"})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"access_token": "a", "expi',
        b"[1]",
        b'"text"',
        b"null",
        b"\xff\xfe\xff",
        b'{"a": NaN}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 60_000,
        b'{"a":' * 12_000,
        gzip.compress(b'{"a": 1}', mtime=0),
    ],
)
async def test_responses_without_a_json_object(http: TokenHttp, body: bytes) -> None:
    async with run_scripted_service(http_response(body, content_type="application/json")) as service:
        answer = await http.post(service.url, {})
    assert (answer.status, answer.json) == (200, None)


async def test_a_compressed_response_is_refused(http: TokenHttp) -> None:
    body = gzip.compress(b'{"a": "' + b"x" * 10_000_000 + b'"}')
    assert len(body) < MAX_BODY
    async with run_scripted_service(http_response(body, content_encoding="gzip")) as service:
        assert (await http.post(service.url, {})).json is None


async def test_a_body_may_have_64_kib_and_no_more(http: TokenHttp) -> None:
    padding = MAX_BODY - len('{"a":""}')
    async with run_scripted_service(http_response('{"a":"' + "x" * padding + '"}')) as service:
        answer = await http.post(service.url, {})
        assert answer.json == {"a": "x" * padding}
    error = await refused(http, http_response('{"a":"' + "x" * (padding + 1) + '"}'))
    assert "more than 64 KiB" in str(error)
    assert (error.cause, error.remedy, error.status) == ("token_service_unreachable", Remedy.WAIT, 200)


async def test_an_endless_body_is_cut(http: TokenHttp) -> None:
    chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    error = await refused(http, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 64)
    assert "more than 64 KiB" in str(error)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(http: TokenHttp, status: int) -> None:
    async with run_scripted_service(http_response({})) as elsewhere:
        error = await refused(http, http_response("", status=status, location=f"{elsewhere.url}/login?x=\x1b"))
    assert not elsewhere.requests
    assert (error.cause, error.remedy, error.status) == ("token_service_unreachable", Remedy.WAIT, status)
    assert f"redirected to {elsewhere.url.removeprefix('http://')}" in str(error)
    assert "sign in" in str(error)
    assert error.detail.isprintable()


@pytest.mark.parametrize("location", ["", "/login", "https://[x", "javascript:x"])
async def test_a_redirect_to_an_unusable_address(http: TokenHttp, location: str) -> None:
    error = await refused(http, http_response("", status=302, location=location))
    assert "was redirected. The network" in str(error)


@pytest.mark.parametrize(
    "answer",
    [
        http_response("<html>sign in</html>", content_type="text/html; charset=utf-8"),
        http_response("<html>sign in</html>", content_type="application/json"),
        http_response("\n <!DOCTYPE html>"),
        http_response("<p>blocked</p>", status=403, content_type="TEXT/HTML"),
        http_response("<p>none</p>", status=404, content_type="application/xhtml+xml"),
        http_response({"error": "invalid_grant"}, status=400, content_type="text/html"),
        http_response({"access_token": "x"}, status=404, content_type="text/html"),
        http_response("[]", content_type="text/html"),
    ],
)
async def test_an_html_page_is_refused(http: TokenHttp, answer: bytes) -> None:
    error = await refused(http, answer)
    assert (error.cause, error.remedy) == ("not_a_token_service", Remedy.WAIT)
    assert "is not a token service" in str(error)
    assert "web page" in str(error)
    assert "sign-in page" in str(error)
    assert error.status is not None
    assert not error.response_lost


async def test_a_captive_portal(http: TokenHttp) -> None:
    error = await refused(http, http_response("sign in", status=511))
    assert (error.cause, error.remedy) == ("token_service_unreachable", Remedy.WAIT)


async def test_json_with_the_type_of_html(http: TokenHttp) -> None:
    """As services in PHP do that set no type."""
    async with run_scripted_service(
        http_response({"access_token": "x"}, content_type="text/html; charset=UTF-8")
    ) as service:
        assert (await http.post(service.url, {})).json == {"access_token": "x"}


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_a_gateways_error_page_means_unavailable(http: TokenHttp, status: int) -> None:
    async with run_scripted_service(
        http_response("<html>", status=status, content_type="text/html", retry_after="7")
    ) as service:
        answer = await http.post(service.url, {})
    assert (answer.status, answer.json, answer.retry_after) == (status, None, 7)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("0", 0), ("120", 120), ("999999999999999999", 86_400), ("-1", None), ("soon", None), ("1.5", None), ("", None)],
)
async def test_retry_after_in_seconds(http: TokenHttp, value: str, seconds: float | None) -> None:
    async with run_scripted_service(http_response({}, status=503, retry_after=value)) as service:
        assert (await http.post(service.url, {})).retry_after == seconds


async def test_retry_after_as_a_date_counts_by_the_service_s_clock(http: TokenHttp) -> None:
    server_time = time.time() + 7_000_000
    dates = {"date": formatdate(server_time, usegmt=True), "retry_after": formatdate(server_time + 90, usegmt=True)}
    async with run_scripted_service(http_response({}, status=429, **dates)) as service:
        assert (await http.post(service.url, {})).retry_after == 90
    async with run_scripted_service(
        http_response({}, status=429, retry_after=formatdate(time.time() - 90, usegmt=True))
    ) as service:
        assert (await http.post(service.url, {})).retry_after == 0


@pytest.mark.parametrize("ahead", [-86_400 * 400, -600, 0, 600, 86_400 * 400])
async def test_the_clock_skew_is_learnt(http: TokenHttp, ahead: float) -> None:
    assert http.skew == 0
    async with run_scripted_service(
        lambda _: http_response({}, date=formatdate(time.time() + ahead, usegmt=True))
    ) as service:
        answer = await http.post(service.url, {})
    assert answer.date_skew is not None
    assert http.skew == answer.date_skew == pytest.approx(ahead, abs=2)


@pytest.mark.parametrize("set_by", [86_400 * 400.0, -7_200.0])
async def test_the_clock_is_set_after_the_skew_was_learnt(set_by: float) -> None:
    wall, monotonic = time.time(), 1000.0
    async with TokenHttp(clocks=Clocks(lambda: wall, lambda: monotonic)) as http:
        ahead = formatdate(wall + set_by, usegmt=True)
        async with run_scripted_service(http_response({}, date=ahead)) as service:
            await http.post(service.url, {})
        wall, monotonic = wall + 60, monotonic + 60
        assert http.skew == pytest.approx(set_by, abs=2)
        wall += set_by
        assert http.skew == pytest.approx(0, abs=2)


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Foo 99999 99:99:99 GMT"])
async def test_an_invalid_date_changes_nothing(http: TokenHttp, date: str) -> None:
    http.skew = 5
    async with run_scripted_service(http_response({}, date=date)) as service:
        assert (await http.post(service.url, {})).date_skew is None
    assert http.skew == 5


async def test_connection_refused(http: TokenHttp) -> None:
    # A port that a server has left may be another one's a moment later.
    [port] = free_ports(1)
    with pytest.raises(TokenServiceError, match="refuses connections") as caught:
        await http.post(f"http://localhost:{port}/token", {})
    error = caught.value
    assert (error.cause, error.remedy, error.status) == ("token_service_unreachable", Remedy.WAIT, None)
    assert error.retryable
    assert not error.response_lost
    assert "ConnectionRefusedError" in error.detail


@pytest.mark.parametrize("host", ["nowhere.invalid", f"{'a' * 64}.test"])
async def test_unknown_host(http: TokenHttp, host: str) -> None:
    with pytest.raises(TokenServiceError, match="was not found") as caught:
        await http.post(f"https://{host}/token", {})
    assert caught.value.cause == "token_service_unreachable"


async def test_a_silent_service() -> None:
    async with TokenHttp(timeout=0.1) as http:
        error = await refused(http, "silence")
    assert "fell silent" in str(error)
    assert (error.cause, error.remedy, error.response_lost) == ("token_service_unreachable", Remedy.WAIT, True)


async def test_a_trickling_response_is_bounded_in_time() -> None:
    async with TokenHttp(timeout=0.2) as http:
        started = anyio.current_time()
        error = await refused(http, "drip")
    assert anyio.current_time() - started < 2
    assert "fell silent" in str(error)
    assert error.response_lost


@pytest.mark.parametrize(
    "answer",
    [
        "reset",
        b"",
        b"220 mail.example.com ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
        b"\x15\x03\x03\x00\x02\x02\x46",
    ],
)
async def test_a_truncated_response_is_in_doubt(http: TokenHttp, answer: ScriptedAnswer) -> None:
    error = await refused(http, answer)
    assert (error.cause, error.remedy, error.status) == ("token_service_unreachable", Remedy.WAIT, None)
    assert error.response_lost


async def test_cancellation_closes_the_connection(http: TokenHttp) -> None:
    async with run_scripted_service("silence", http_response({"a": 1})) as service:
        with anyio.move_on_after(0.1) as scope:
            await http.post(service.url, {})
        assert scope.cancelled_caught
        assert service.requests
        assert _established(service.url) == 0
        assert (await http.post(service.url, {})).json == {"a": 1}


def _established(url: str) -> int:
    """How many connections to the service this process has open, by the kernel's table."""
    port = f":{int(url.rpartition(':')[2]):04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(fields[2].endswith(port) and fields[3] == "01" for fields in map(str.split, lines))


class TestTls:
    @pytest.fixture
    async def trusting(self, ca: trustme.CA, tmp_path: Path) -> AsyncIterator[TokenHttp]:
        ca.cert_pem.write_to_path(tmp_path / "ca.pem")
        async with TokenHttp(ca_file=tmp_path / "ca.pem", timeout=5) as http:
            yield http

    async def test_a_private_certificate_authority(self, trusting: TokenHttp, server_context: ssl.SSLContext) -> None:
        async with run_scripted_service(http_response({"a": 1}), context=server_context) as service:
            assert (await trusting.post(service.url, {})).json == {"a": 1}

    async def refused(
        self, http: TokenHttp, context: ssl.SSLContext | None, greeting: bytes = b""
    ) -> TokenServiceError:
        async with run_scripted_service(http_response({"a": 1}), context=context, greeting=greeting) as service:
            with pytest.raises(TokenServiceError) as caught:
                await http.post(service.url.replace("http://", "https://"), {"code": Secret("secret")})
            assert not service.requests
        assert not caught.value.response_lost
        return caught.value

    async def test_an_unknown_certificate_authority(self, http: TokenHttp, server_context: ssl.SSLContext) -> None:
        error = await self.refused(http, server_context)
        assert error.cause == "token_service_unreachable"
        assert "certificate" in str(error)
        assert "not trusted" in str(error)
        assert "verification result" in error.detail

    async def test_a_certificate_for_another_name(self, trusting: TokenHttp, ca: trustme.CA) -> None:
        error = await self.refused(trusting, _context(ca.issue_cert("other.test")))
        assert "not trusted" in str(error)
        assert "match" in error.detail

    async def test_expired(self, trusting: TokenHttp, ca: trustme.CA) -> None:
        past = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
        error = await self.refused(trusting, _context(ca.issue_cert("localhost", not_after=past)))
        assert error.cause == "token_service_unreachable"
        assert "has expired, or this device's clock is wrong" in str(error)

    async def test_not_valid_yet(self, trusting: TokenHttp, ca: trustme.CA) -> None:
        future = dt.datetime.now(dt.UTC) + dt.timedelta(days=400)
        error = await self.refused(trusting, _context(ca.issue_cert("localhost", not_before=future)))
        assert (error.cause, error.remedy) == ("clock_wrong", Remedy.WAIT)
        assert "clock" in str(error)

    async def test_no_tls_at_all(self, trusting: TokenHttp) -> None:
        error = await self.refused(trusting, None, b"220 mail.example.com ESMTP\r\n")
        assert "Encryption" in str(error)
        assert error.cause == "token_service_unreachable"


def _context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_an_unusable_ca_file(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    with pytest.raises(InputError, match=r"ca\.pem"):
        TokenHttp(ca_file=tmp_path / "ca.pem")


class TestProxies:
    async def test_https_goes_through_the_proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with run_scripted_service(http_response("denied", status=407)) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            async with TokenHttp(timeout=5) as http:
                with pytest.raises(TokenServiceError, match="proxy") as caught:
                    await http.post("https://issuer.test/token", {"code": Secret("secret")})
            assert proxy.last.line.startswith("CONNECT issuer.test:443 ")
        assert caught.value.cause == "token_service_unreachable"
        assert not caught.value.response_lost
        assert b"secret" not in proxy.last.body

    async def test_loopback_bypasses_the_proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with (
            run_scripted_service(http_response({"a": 1})) as service,
            run_scripted_service(http_response({"proxy": 1})) as proxy,
        ):
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
                monkeypatch.setenv(name, proxy.url)
            async with TokenHttp(timeout=5) as http:
                for host in ("localhost", "127.0.0.1"):
                    answer = await http.post(service.url.replace("localhost", host), {"code": Secret("secret")})
                    assert answer.json == {"a": 1}
        assert not proxy.requests

    def test_an_invalid_proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "nonsense://x")
        with pytest.raises(InputError, match="proxy"):
            TokenHttp()


@pytest.mark.parametrize("url", ["http://issuer.test/token", "", "https://user@issuer.test/"])
async def test_an_unusable_address(http: TokenHttp, url: str) -> None:
    with pytest.raises(InputError):
        await http.post(url, {})
    with pytest.raises(InputError):
        await http.get(url)


async def test_echoed_request_values_are_masked(http: TokenHttp) -> None:
    token, secret = "the-refresh-token-itself", "the-client-secret-itself"

    def echo(request: Request) -> ScriptedAnswer:
        echoed = f"{request.body.decode()} {request.headers.get('authorization')} {secret}"
        return http_response({"error": "invalid_grant", "error_description": echoed, "hint": token[2:20]}, status=400)

    async with run_scripted_service(echo) as service:
        for method in ("client_secret_basic", "client_secret_post", "client_secret_jwt"):
            oauth_client = client(service.url, secret=secret, client_authentication=method)
            answer = await http.post(service.url, {"refresh_token": Secret(token)}, client=oauth_client)
            shown = repr(answer)
            assert token[2:20] not in shown
            assert secret not in shown
            for echoed in (
                service.last.headers.get("authorization"),
                service.last.form.get("client_secret"),
                service.last.form.get("client_assertion"),
            ):
                assert echoed is None or echoed.removeprefix("Basic ") not in shown
            assert answer.json is not None
            assert answer.json["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "answer",
    [
        lambda echoed: http_response(status=302, Location=f"https://portal.example.com/?from={echoed}"),
        lambda echoed: http_response(status=302, Location=f"https://{echoed}.example.com/"),
        lambda echoed: http_response("<html>", content_type=f"text/html; from={echoed}"),
        lambda echoed: f"HTTP/1.1 200 OK\r\n{echoed}\r\n\r\n".encode(),
        lambda echoed: f"{echoed}\r\n\r\n".encode(),
    ],
    ids=["query", "host", "page", "header", "status line"],
)
@pytest.mark.parametrize("token", ["the-refresh-token-itself", "the+token/of/1//0"])
async def test_echoes_that_are_no_response_are_masked(
    http: TokenHttp, answer: Callable[[str], bytes], token: str
) -> None:
    echoed = quote_plus(token)  # as in the form
    async with run_scripted_service(answer(echoed)) as service:
        with pytest.raises(TokenServiceError) as caught:
            await http.post(service.url, {"refresh_token": Secret(token)})
    error = caught.value
    assert echoed not in f"{error} {error!r} {error.detail} {error.__cause__!r} {error.__context__!r}"


@pytest.mark.parametrize("status", [200, 400])
async def test_tokens_in_a_refusal_are_masked(http: TokenHttp, status: int) -> None:
    tokens = {f"{kind}_token": f"the-new-{kind}-token-itself" for kind in ("access", "refresh", "id")}
    echoed = {"error": f"invalid_grant {tokens['access_token']}", "error_description": " ".join(tokens.values())}
    async with run_scripted_service(http_response({**tokens, **echoed}, status=status)) as service:
        answer = await http.post(service.url, {"grant_type": "x"})
    assert answer.json is not None
    assert answer.json["error"] == "invalid_grant •••"
    assert answer.json["error_description"] == "••• ••• •••"
    if status == 200:
        # The old one may be void by then.
        assert answer.json["refresh_token"] == tokens["refresh_token"]
