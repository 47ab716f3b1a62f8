"""The token service, and its HTTP endpoints with urllib."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from mailslot_plugins.sandbox.provider import Provider
from sandbox.raw_client import USER, b64, in_thread

if TYPE_CHECKING:
    from mailslot_plugins.sandbox import Sandbox

SCOPES = ["mail.pop", "mail.send"]


def fetch(url: str, basic: tuple[str, str] | None = None, **form: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Get, or post a form, without any proxy; return status, JSON and headers."""
    data = urllib.parse.urlencode(form).encode() if form else None
    request = urllib.request.Request(url, data)
    if basic is not None:
        request.add_header("Authorization", "Basic " + b64(":".join(map(urllib.parse.quote_plus, basic))))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=120) as response:
            body = response.read()
            return response.status, json.loads(body or b"{}"), dict(response.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read()), dict(error.headers)


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


async def test_a_token_expires_or_is_revoked() -> None:
    clock = Clock()
    provider = Provider("http://localhost", SCOPES, clock=clock)
    token = provider.issue("A@example.com", lifetime=60)
    value = token.value.reveal()
    assert token.expires_at == clock.now + 60
    assert provider.check(value, "a@EXAMPLE.com", "mail.pop") is None
    assert provider.check(value, "b@example.com", "mail.pop") == "token"
    assert provider.check(value, "a@example.com", "other") == "token"
    assert provider.check("", "a@example.com", "mail.pop") == "token"
    clock.now += 60
    assert provider.check(value, "a@example.com", "mail.pop") == "token"
    for end in (provider.expire, provider.revoke):
        token = provider.issue("a@example.com")
        assert provider.check(token.value.reveal(), "a@example.com", "mail.pop") is None
        end(token)
        assert provider.check(token.value.reveal(), "a@example.com", "mail.pop") == "token"
    provider.available = False
    assert provider.check(value, "a@example.com", "mail.pop") == "unavailable"


@pytest.mark.parametrize("size", [0, 100, 5_000])
async def test_tokens_are_opaque_or_jwt_and_of_any_size(size: int) -> None:
    provider = Provider("http://localhost", SCOPES)
    opaque = provider.issue(USER, size=size).value.reveal()
    assert len(opaque) >= size
    assert "." not in opaque
    token = provider.issue(USER, jwt=True, size=size, scopes=["mail.pop"]).value.reveal()
    assert len(token) >= size
    header, claims, signature = (base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split("."))
    assert json.loads(header)["typ"] == "JWT"
    assert json.loads(claims)["email"] == USER
    assert json.loads(claims)["scope"] == "mail.pop"
    assert len(signature) == 32
    assert provider.check(token, USER, "mail.pop") is None


async def test_discovery(sandbox: Sandbox) -> None:
    for name in ("openid-configuration", "oauth-authorization-server"):
        status, metadata, _ = await in_thread(fetch, f"{sandbox.issuer}/.well-known/{name}")
        assert status == 200
        assert metadata["issuer"] == sandbox.issuer
        assert metadata["token_endpoint"] == f"{sandbox.issuer}/token"
        assert metadata["authorization_endpoint"] == f"{sandbox.issuer}/authorize"
        assert {"client_credentials", "refresh_token"} < set(metadata["grant_types_supported"])


@pytest.mark.parametrize("in_form", [True, False])
async def test_client_credentials(sandbox: Sandbox, in_form: bool) -> None:
    sandbox.provider.register("an app", "s:ecret&", [USER])
    pair = {"client_id": "an app", "client_secret": "s:ecret&"} if in_form else {}
    status, answer, headers = await in_thread(
        fetch,
        f"{sandbox.issuer}/token",
        None if in_form else ("an app", "s:ecret&"),
        grant_type="client_credentials",
        scope="mail.send",
        **pair,
    )
    assert status == 200
    assert headers["cache-control"] == "no-store"
    assert answer["token_type"] == "Bearer"
    assert answer["expires_in"] == 3600
    assert answer["scope"] == "mail.send"
    assert "refresh_token" not in answer
    assert sandbox.provider.check(answer["access_token"], USER, "mail.send") is None
    assert sandbox.provider.check(answer["access_token"], USER, "mail.pop") == "token"
    assert sandbox.token_service.requests == ["token client_credentials 200"]


async def test_refresh_revocation_and_introspection(sandbox: Sandbox) -> None:
    provider = sandbox.provider
    panel, other = provider.register("panel"), provider.register("other")
    refresh_token = provider.consent(USER, panel, ["mail.send"]).reveal()

    def ask(path: str, client: str = "panel", **form: str) -> dict[str, Any]:
        status, answer, _ = fetch(f"{sandbox.issuer}/{path}", client_id=client, **form)
        return answer | {"status": status}

    def talk() -> None:
        refresh = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        first, second = ask("token", **refresh), ask("token", **refresh)
        assert first["refresh_token"] == refresh_token
        assert first["access_token"] != second["access_token"]
        assert ask("token", **refresh, scope="mail.send mail.pop")["error"] == "invalid_scope"
        assert ask("token", other.id, **refresh)["error"] == "invalid_grant"
        active = ask("introspect", token=first["access_token"])
        assert active["active"]
        assert active["username"] == USER
        assert active["scope"] == "mail.send"
        for token in (refresh_token, first["access_token"]):
            assert ask("revoke", other.id, token=token)["status"] == 200  # and nothing happens
        assert ask("introspect", token=first["access_token"])["active"]
        assert ask("revoke", token="unknown")["status"] == 200
        assert ask("revoke", token=first["access_token"])["status"] == 200
        assert not ask("introspect", token=first["access_token"])["active"]
        assert ask("introspect", token=second["access_token"])["active"]
        # A renewal token takes the access tokens along (RFC 7009 section 2.1).
        assert ask("revoke", token=refresh_token)["status"] == 200
        assert not ask("introspect", token=second["access_token"])["active"]
        refused = ask("token", **refresh)
        assert (refused["status"], refused["error"]) == (400, "invalid_grant")

    await in_thread(talk)
    assert sandbox.token_service.requests[:2] == ["token refresh_token 200"] * 2
    assert refresh_token not in str(sandbox.token_service.requests)


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"client_id": "app", "client_secret": "wrong", "grant_type": "client_credentials"}, 401, "invalid_client"),
        ({"client_id": "app", "grant_type": "client_credentials"}, 401, "invalid_client"),
        ({"client_id": "nobody", "grant_type": "client_credentials"}, 401, "invalid_client"),
        ({"grant_type": "client_credentials"}, 401, "invalid_client"),
        ({"client_id": "public", "grant_type": "client_credentials"}, 400, "unauthorized_client"),
        ({"client_id": "public", "grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"client_id": "public"}, 400, "unsupported_grant_type"),
        ({"client_id": "public", "grant_type": "refresh_token"}, 400, "invalid_grant"),
        (
            {"client_id": "app", "client_secret": "s", "grant_type": "client_credentials", "scope": "x"},
            400,
            "invalid_scope",
        ),
    ],
)
async def test_refusals(sandbox: Sandbox, form: dict[str, str], status: int, error: str) -> None:
    sandbox.provider.register("app", "s")
    sandbox.provider.register("public")
    got, answer, headers = await in_thread(fetch, f"{sandbox.issuer}/token", **form)
    assert (got, answer["error"]) == (status, error)
    assert ("www-authenticate" in headers) == (status == 401)


async def test_an_invalid_basic_header(sandbox: Sandbox) -> None:
    request = urllib.request.Request(f"{sandbox.issuer}/token", b"", {"Authorization": "Basic !"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.HTTPError) as refused:
        await in_thread(opener.open, request, timeout=120)
    with refused.value as error:
        assert error.code == 401


async def test_an_unavailable_service(sandbox: Sandbox) -> None:
    sandbox.provider.register("app", "s")
    sandbox.provider.available = False
    status, answer, _ = await in_thread(fetch, f"{sandbox.issuer}/token", ("app", "s"), grant_type="client_credentials")
    assert (status, answer["error"]) == (503, "temporarily_unavailable")
