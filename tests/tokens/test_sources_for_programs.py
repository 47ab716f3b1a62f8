"""The token sources for programs of one's own: from a refresh token, and from an authlib client."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from authlib.integrations.httpx_client import AsyncOAuth2Client

from lab.process import free_ports
from mailslot import MailError, OAuth, TokenError, connect_smtp
from mailslot.oauth.authlib_source import AuthlibSource
from mailslot.oauth.refresh_token_source import RefreshTokenSource
from mailslot_plugins.conformance.token_source import TokenSourceSuite
from mailslot_plugins.sandbox import ScriptedResponse, WebFault
from tokens.people import USER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from mailslot.oauth.client import OAuthClient
    from mailslot.sasl.credentials import AccessToken, TokenSource
    from mailslot.wire.secret import Secret
    from mailslot_plugins.sandbox import Sandbox

SCOPES = ("mail.send", "offline_access")
REFRESHED = "token refresh_token 200"


class RecordingOwner:
    """Keeps what is rotated, as a program would on its disk.

    Attributes:
        kept: each refresh token that was handed over.
        failure: what keeping one raises instead.
    """

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.failure: Exception | None = None

    async def keep(self, refresh_token: Secret) -> None:
        await anyio.lowlevel.checkpoint()
        if self.failure is not None:
            raise self.failure
        self.kept.append(refresh_token.reveal())

    async def update_token(self, token: dict[str, Any], **_: object) -> None:
        await anyio.lowlevel.checkpoint()
        if self.failure is not None:
            raise self.failure
        self.kept.append(token["refresh_token"])


def refresh_token(sandbox: Sandbox) -> str:
    """Return the refresh token of a sign-in, as a program has it from before; used twice, it ends the grant."""
    sandbox.provider.rotation = "strict"
    issued = sandbox.provider.complete_sign_in(USER, sandbox.provider.register("panel"), SCOPES)
    assert issued.refresh_token is not None
    return issued.refresh_token.reveal()


def authlib_client(
    sandbox: Sandbox, held: dict[str, Any] | None, owner: RecordingOwner, **metadata: str
) -> AsyncOAuth2Client:
    return AsyncOAuth2Client(
        "panel",
        token_endpoint_auth_method="none",
        token=held,
        token_endpoint=f"{sandbox.issuer}/token",
        update_token=owner.update_token,
        trust_env=False,
        timeout=60,
        **metadata,
    )


def expired(refresh_token: str) -> dict[str, Any]:
    return {"access_token": "expired", "token_type": "Bearer", "expires_at": 1, "refresh_token": refresh_token}


@pytest.fixture
def owner() -> RecordingOwner:
    return RecordingOwner()


@pytest.fixture
async def by_refresh_token(
    sandbox: Sandbox, panel: OAuthClient, owner: RecordingOwner
) -> AsyncIterator[RefreshTokenSource]:
    async with RefreshTokenSource(panel.provider, "panel", refresh_token(sandbox), on_rotation=owner.keep) as source:
        yield source


@pytest.fixture
async def by_authlib(sandbox: Sandbox, owner: RecordingOwner) -> AsyncIterator[AuthlibSource]:
    async with authlib_client(sandbox, expired(refresh_token(sandbox)), owner) as client:
        yield AuthlibSource(client)


@pytest.fixture(params=["by_refresh_token", "by_authlib"])
def source(request: pytest.FixtureRequest) -> TokenSource:
    return request.getfixturevalue(request.param)


class TestRefreshToken(TokenSourceSuite):
    @pytest.fixture
    def source(self, by_refresh_token: RefreshTokenSource) -> TokenSource:
        return by_refresh_token

    @pytest.fixture
    async def broken(self, sandbox: Sandbox, panel: OAuthClient) -> AsyncIterator[TokenSource]:
        async with RefreshTokenSource(panel.provider, "panel", "of-nobody") as source:
            yield source

    @pytest.fixture
    def secrets(self) -> Sequence[str]:
        return ("of-nobody",)


class TestAuthlib(TokenSourceSuite):
    @pytest.fixture
    def source(self, by_authlib: AuthlibSource) -> TokenSource:
        return by_authlib

    @pytest.fixture
    async def broken(self, sandbox: Sandbox, owner: RecordingOwner) -> AsyncIterator[TokenSource]:
        async with authlib_client(sandbox, expired("of-nobody"), owner) as client:
            yield AuthlibSource(client)

    @pytest.fixture
    def secrets(self) -> Sequence[str]:
        return ("of-nobody",)


def refreshes(sandbox: Sandbox) -> int:
    return sandbox.token_service.requests.count(REFRESHED)


async def test_one_refresh_for_many_tasks(sandbox: Sandbox, source: TokenSource, owner: RecordingOwner) -> None:
    given: list[AccessToken] = []

    async def ask() -> None:
        given.append(await source.token())

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(ask)
    assert len(set(given)) == 1
    assert refreshes(sandbox) == len(owner.kept) == 1
    await source.token()
    assert refreshes(sandbox) == 1


async def test_a_refused_token_is_refreshed_once(sandbox: Sandbox, source: TokenSource, owner: RecordingOwner) -> None:
    first = await source.token()
    second = await source.token(force=True)
    assert second.value != first.value
    assert refreshes(sandbox) == 2
    assert len(set(owner.kept)) == 2
    assert sandbox.provider.check(second.value.reveal(), USER, "mail.send") is None


async def test_a_cancelled_refresh_loses_nothing(sandbox: Sandbox, source: TokenSource, owner: RecordingOwner) -> None:
    """The request is on its way when the caller goes: it ends, and what came of it is kept and used."""
    asked = anyio.Event()
    original = owner.keep, owner.update_token

    with anyio.CancelScope() as scope:

        async def leave() -> None:
            await asked.wait()
            scope.cancel()

        async def keep(*args: object, **kwargs: object) -> None:
            asked.set()
            await anyio.lowlevel.checkpoint()
            await original[isinstance(args[0], dict)](*args, **kwargs)  # type: ignore[arg-type]  # as it was called

        hold_rotation(source, keep)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(leave)
            await source.token()
    assert scope.cancel_called
    assert len(owner.kept) == 1
    await source.token()
    assert refreshes(sandbox) == 1


def hold_rotation(source: TokenSource, keep: Any) -> None:
    """Have what is rotated handed to another function."""
    if isinstance(source, AuthlibSource):
        source._client.update_token = keep
    else:
        source._source._store._on_rotation = keep  # type: ignore[attr-defined]


async def test_a_store_callback_that_fails(sandbox: Sandbox, source: TokenSource, owner: RecordingOwner) -> None:
    """The new refresh token is used from memory, and offered again."""
    owner.failure = OSError("disk full")
    token = await source.token()
    assert owner.kept == []
    owner.failure = None
    assert (await source.token()).value == token.value
    assert len(owner.kept) == 1
    assert refreshes(sandbox) == 1


@pytest.mark.parametrize(
    ("fault", "cause", "retryable"),
    [
        (ScriptedResponse(400, {"error": "invalid_grant"}), "token_update_failed", False),
        (ScriptedResponse(401, {"error": "invalid_client"}), "app_secret_invalid", False),
        (ScriptedResponse(503, {}), "token_service_busy", True),
    ],
)
async def test_refusals_are_distinguished(
    sandbox: Sandbox, source: TokenSource, fault: ScriptedResponse, cause: str, *, retryable: bool
) -> None:
    sandbox.token_service.faults.append(WebFault("token", act=False, answer=fault))
    with pytest.raises(TokenError) as caught:
        await source.token()
    assert (caught.value.cause, caught.value.retryable) == (cause, retryable)


@pytest.mark.parametrize("tenant", [None, "example.org"])
async def test_a_provider_with_tenants(sandbox: Sandbox, panel: OAuthClient, tenant: str | None) -> None:
    """Without a tenant, it is the provider's own."""
    endpoints = replace(panel.provider.endpoints, token=f"{sandbox.issuer}/token?tenant={{tenant}}")
    provider = replace(panel.provider, tenant="common", endpoints=endpoints)
    async with RefreshTokenSource(provider, "panel", refresh_token(sandbox), tenant=tenant) as source:
        await source.token()
    assert refreshes(sandbox) == 1


async def test_authlib_without_a_token(sandbox: Sandbox, owner: RecordingOwner) -> None:
    async with authlib_client(sandbox, None, owner) as client:
        with pytest.raises(TokenError) as caught:
            await AuthlibSource(client).token()
    assert caught.value.cause == "token_not_retrieved"


async def test_authlib_without_a_refresh_token(sandbox: Sandbox, owner: RecordingOwner) -> None:
    async with authlib_client(sandbox, {"access_token": "expired", "expires_at": 1}, owner) as client:
        with pytest.raises(TokenError) as caught:
            await AuthlibSource(client).token()
    assert caught.value.cause == "token_not_renewable"


async def test_authlib_with_a_page_instead_of_a_token(sandbox: Sandbox, by_authlib: AuthlibSource) -> None:
    sandbox.token_service.faults.append(
        WebFault("token", act=False, answer=ScriptedResponse(200, b"<html>sign in</html>"))
    )
    with pytest.raises(MailError) as caught:
        await by_authlib.token()
    assert caught.value.cause == "token_service_unreachable"


@pytest.mark.parametrize(
    "members",
    [
        {"token_type": "Bearer"},
        {"access_token": 7},
        {"access_token": ""},
        {"access_token": "a\nb"},
        {"expires_in": "x"},
    ],
)
async def test_authlib_with_a_response_without_a_token(
    sandbox: Sandbox, by_authlib: AuthlibSource, members: dict[str, object]
) -> None:
    sandbox.token_service.faults.append(WebFault("token", act=False, answer=ScriptedResponse(200, members)))
    with pytest.raises(TokenError) as caught:
        await by_authlib.token()
    assert caught.value.cause == "token_service_unreachable"
    # The next answer may be a better one.
    sandbox.token_service.faults.clear()
    sandbox.provider.rotation = "none"
    await by_authlib.token()


async def test_authlib_reports_a_refused_revocation(sandbox: Sandbox, owner: RecordingOwner) -> None:
    held = expired(refresh_token(sandbox))
    sandbox.token_service.faults.append(WebFault("revoke", act=False, answer=ScriptedResponse(503, {})))
    async with authlib_client(sandbox, held, owner, revocation_endpoint=f"{sandbox.issuer}/revoke") as client:
        with pytest.raises(TokenError) as caught:
            await AuthlibSource(client).forget()
        assert client.token is None
    assert caught.value.cause == "token_service_busy"


async def test_authlib_with_a_refused_connection(owner: RecordingOwner) -> None:
    endpoint = f"http://127.0.0.1:{free_ports(1)[0]}/token"
    async with AsyncOAuth2Client("panel", token=expired("x"), token_endpoint=endpoint, trust_env=False) as client:
        with pytest.raises(TokenError) as caught:
            await AuthlibSource(client).token()
    assert (caught.value.cause, caught.value.retryable) == ("token_service_unreachable", True)


async def test_tokens_authenticate_at_the_mail_server(sandbox: Sandbox, source: TokenSource) -> None:
    trusts = sandbox.client_context()
    async with connect_smtp(sandbox.smtps, OAuth(USER, source), ssl_context=trusts, timeout=60) as smtp:
        await smtp.submit(USER, ["alice@example.com"], b"Subject: Hello\r\n\r\nHello.\r\n")
    assert len(sandbox.submissions) == 1


async def test_a_provider_by_name_with_a_ca_file(tmp_path: Path) -> None:
    async with RefreshTokenSource("microsoft365", "id", "token", tenant="contoso.example"):
        pass
    with pytest.raises(MailError, match=r"none\.pem"):
        RefreshTokenSource("google", "id", "token", ca_file=tmp_path / "none.pem")
