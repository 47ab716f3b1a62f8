"""Discovery: which URLs are tried, and which metadata is believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab.process import free_ports
from mailslot import InputError
from mailslot.oauth.authlib_protocol import metadata_urls
from mailslot.oauth.discovery import complete_provider, discover
from mailslot.oauth.http import TokenHttp
from mailslot.oauth.presets import preset
from mailslot.oauth.providers import custom_provider
from mailslot.oauth.token_error_table import Remedy
from mailslot.oauth.token_errors import TokenServiceError
from oauth.scripted_service import http_response, run_scripted_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from oauth.scripted_service import Request, ScriptedAnswer

pytestmark = pytest.mark.virtual_time


@pytest.fixture
async def http() -> AsyncIterator[TokenHttp]:
    async with TokenHttp(timeout=5) as http:
        yield http


def metadata(path: str = "", **members: object) -> Callable[[Request], ScriptedAnswer]:
    """Return the metadata of the requested issuer, with a path."""

    def answer(request: Request) -> ScriptedAnswer:
        issuer = f"http://{request.headers['host']}{path}"
        document = {"issuer": issuer, "token_endpoint": f"{issuer}/token", **members}
        return http_response({name: value for name, value in document.items() if value is not None})

    return answer


MISSING = http_response("no", status=404)
PAGE = http_response("<html>", content_type="text/html")


@pytest.mark.parametrize(
    ("issuer", "addresses"),
    [
        (
            "https://issuer.example",
            [
                "https://issuer.example/.well-known/oauth-authorization-server",
                "https://issuer.example/.well-known/openid-configuration",
            ],
        ),
        (
            "https://issuer.example:8443/",
            [
                "https://issuer.example:8443/.well-known/oauth-authorization-server",
                "https://issuer.example:8443/.well-known/openid-configuration",
            ],
        ),
        (
            "https://issuer.example/a/b/",
            [
                "https://issuer.example/.well-known/oauth-authorization-server/a/b",
                "https://issuer.example/.well-known/openid-configuration/a/b",
                "https://issuer.example/a/b/.well-known/openid-configuration",
            ],
        ),
    ],
)
def test_metadata_urls(issuer: str, addresses: list[str]) -> None:
    assert metadata_urls(issuer) == addresses


async def test_the_first_address(http: TokenHttp) -> None:
    async with run_scripted_service(metadata(extra=1)) as service:
        assert (await discover(service.url, http))["extra"] == 1
    assert [request.path for request in service.requests] == ["/.well-known/oauth-authorization-server"]


@pytest.mark.parametrize(
    "first", [MISSING, PAGE, http_response("", status=302, location="/login"), http_response("[]"), http_response("{")]
)
async def test_the_second_address(http: TokenHttp, first: bytes) -> None:
    async with run_scripted_service(first, metadata()) as service:
        await discover(service.url, http)
    assert [request.path for request in service.requests] == [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    ]


async def test_the_third_address_of_an_issuer_with_a_path(http: TokenHttp) -> None:
    async with run_scripted_service(MISSING, MISSING, metadata("/realm")) as service:
        await discover(f"{service.url}/realm", http)
    assert service.last.path == "/realm/.well-known/openid-configuration"


async def refused(http: TokenHttp, *answers: ScriptedAnswer | Callable[[Request], ScriptedAnswer]) -> TokenServiceError:
    async with run_scripted_service(*answers) as service:
        with pytest.raises(TokenServiceError) as caught:
            await complete_provider(custom_provider(issuer=service.url), http)
    return caught.value


async def test_no_metadata_found(http: TokenHttp) -> None:
    error = await refused(http, MISSING)
    assert "set its endpoints one by one" in str(error)
    assert error.remedy is Remedy.CONFIGURATION


async def test_html_at_every_address(http: TokenHttp) -> None:
    error = await refused(http, PAGE)
    assert (error.cause, error.remedy) == ("not_a_token_service", Remedy.WAIT)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_busy(http: TokenHttp, status: int) -> None:
    error = await refused(http, http_response("", status=status), metadata())
    assert (error.cause, error.remedy) == ("token_service_busy", Remedy.WAIT)


async def test_no_server(http: TokenHttp) -> None:
    [port] = free_ports(1)
    with pytest.raises(TokenServiceError, match="refuses connections"):
        await discover(f"http://localhost:{port}", http)


async def test_a_lost_connection_does_not_try_other_addresses(http: TokenHttp) -> None:
    async with run_scripted_service("reset", metadata()) as service:
        with pytest.raises(TokenServiceError) as caught:
            await discover(service.url, http)
        assert len(service.requests) == 1
    assert caught.value.remedy is Remedy.WAIT


async def test_a_document_that_is_too_large(http: TokenHttp) -> None:
    error = await refused(http, http_response('{"a": "' + "x" * 5_000_000 + '"}'))
    assert "64 KiB" in str(error)


@pytest.mark.parametrize("suffix", ["/", "X", "\u0000", "/common"])
async def test_another_issuer(http: TokenHttp, suffix: str) -> None:
    def other(request: Request) -> ScriptedAnswer:
        return http_response(
            {"issuer": f"http://{request.headers['host']}{suffix}", "token_endpoint": "https://x/token"}
        )

    error = await refused(http, other)
    assert "calls itself" in str(error)
    assert error.remedy is Remedy.CONFIGURATION
    assert str(error).isprintable()


async def test_issuers_are_compared_code_point_by_code_point(http: TokenHttp) -> None:
    async with run_scripted_service(metadata()) as service:
        for changed in (service.url.replace("localhost", "LOCALHOST"), f"{service.url}/"):
            with pytest.raises(TokenServiceError, match="calls itself"):
                await discover(changed, http)


@pytest.mark.parametrize("issuer", [None, 7, ["x"], {}])
async def test_metadata_without_an_issuer(http: TokenHttp, issuer: object) -> None:
    assert "does not say who it is" in str(await refused(http, metadata(issuer=issuer)))


@pytest.mark.parametrize("name", ["token_endpoint", "authorization_endpoint", "device_authorization_endpoint"])
@pytest.mark.parametrize("address", ["http://elsewhere.example/token", "", "javascript:x", 7, ["x"]])
async def test_an_unusable_endpoint(http: TokenHttp, name: str, address: object) -> None:
    error = await refused(http, metadata(**{name: address}))
    assert name in str(error)
    assert error.remedy is Remedy.CONFIGURATION


async def test_no_token_endpoint(http: TokenHttp) -> None:
    assert "names no token endpoint" in str(await refused(http, metadata(token_endpoint=None)))


async def test_every_member(http: TokenHttp) -> None:
    found = metadata(
        authorization_endpoint="https://a.example/auth",
        device_authorization_endpoint="https://a.example/device",
        revocation_endpoint="https://a.example/revoke",
        authorization_response_iss_parameter_supported=True,
        token_endpoint_auth_methods_supported=["private_key_jwt", "client_secret_post"],
    )
    async with run_scripted_service(found) as service:
        provider = await complete_provider(custom_provider(issuer=service.url, scopes="mail"), http)
    endpoints = provider.endpoints
    assert (endpoints.issuer, endpoints.token) == (service.url, f"{service.url}/token")
    assert endpoints.authorization == "https://a.example/auth"
    assert endpoints.device_authorization == "https://a.example/device"
    assert endpoints.revocation == "https://a.example/revoke"
    assert endpoints.names_issuer
    assert provider.quirks.client_authentication == "client_secret_post"
    assert provider.scopes("smtp") == ("mail",)
    assert not provider.needs_discovery


@pytest.mark.parametrize("methods", [None, "client_secret_post", [], ["client_secret_basic", "client_secret_post"]])
async def test_basic_unless_only_post(http: TokenHttp, methods: object) -> None:
    async with run_scripted_service(metadata(token_endpoint_auth_methods_supported=methods)) as service:
        provider = await complete_provider(custom_provider(issuer=service.url), http)
    assert provider.quirks.client_authentication == "client_secret_basic"


@pytest.mark.parametrize(
    ("methods", "chosen"),
    [
        (["private_key_jwt", "client_secret_jwt", "client_secret_post"], "client_secret_post"),
        (["private_key_jwt", "client_secret_jwt"], "client_secret_jwt"),
        (["none", "tls_client_auth", 7], "client_secret_basic"),
    ],
)
async def test_supported_authentication_methods(http: TokenHttp, methods: list[object], chosen: str) -> None:
    async with run_scripted_service(metadata(token_endpoint_auth_methods_supported=methods)) as service:
        provider = await complete_provider(custom_provider(issuer=service.url), http)
    assert provider.quirks.client_authentication == chosen


@pytest.mark.parametrize("flag", [None, False, "true", 1])
async def test_iss_is_required_only_if_announced(http: TokenHttp, flag: object) -> None:
    async with run_scripted_service(metadata(authorization_response_iss_parameter_supported=flag)) as service:
        provider = await complete_provider(custom_provider(issuer=service.url), http)
    assert not provider.endpoints.names_issuer
    with pytest.raises(InputError, match="no device codes"):
        provider.check_flow("device")


async def test_known_metadata_is_not_fetched(http: TokenHttp) -> None:
    for provider in (preset("google"), custom_provider(token_endpoint="https://a.example/token")):
        assert await complete_provider(provider, http) is provider


async def test_an_invalid_issuer(http: TokenHttp) -> None:
    with pytest.raises(InputError, match="issuer"):
        await discover("http://issuer.example", http)
