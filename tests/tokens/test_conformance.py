"""Our own token sources and flows, by the suites that others run on theirs."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot.errors import TokenError
from mailslot.oauth.client import OAuthClient
from mailslot.oauth.discovery import complete_provider
from mailslot.oauth.grant_source import GrantSource
from mailslot.oauth.providers import custom_provider
from mailslot.sasl.credentials import AccessToken, StaticToken
from mailslot.slots.direct_token_source import direct_token_source
from mailslot.slots.records import Records
from mailslot.slots.token_sources import UnavailableTokenSource
from mailslot.wire.secret import Secret
from mailslot_plugins.conformance.flow import FlowSuite
from mailslot_plugins.conformance.token_source import TokenSourceSuite
from mailslot_plugins.tokens.app import AppFlow
from mailslot_plugins.tokens.device import DeviceFlow
from mailslot_plugins.tokens.msal import MsalToken
from mailslot_plugins.tokens.msal_credentials import ManagedIdentityCredential
from tokens.azure import RESOURCE, AzureMachine, run_machine
from tokens.people import USER, NoPrompt, enter_code

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    from mailslot.oauth.flow import Flow, UserCode
    from mailslot.oauth.http import TokenHttp
    from mailslot.sasl.credentials import TokenSource
    from mailslot_plugins.sandbox import Sandbox

TOKEN = "ya29.A0ARrdaM-abcdefghij0123456789_KLMNOP"
SECRET = "s3cret-of-an-application"


def in_settings(home: Path, token_source: str, **secrets: str) -> TokenSource:
    """What a device with these settings uses."""
    records = Records(home)
    values = {"authentication": "oauth2", "account": USER, "token_source": token_source}
    records.change("smtp", values, {name: Secret(value) for name, value in secrets.items()})
    source = direct_token_source(records.vault, "smtp", records.settings.load()["smtp"])
    assert source is not None
    return source


class TestStatic(TokenSourceSuite):
    renews = False

    @pytest.fixture
    def source(self) -> TokenSource:
        return StaticToken(TOKEN)

    @pytest.fixture
    def broken(self) -> TokenSource:
        return UnavailableTokenSource(TokenError("No token has been obtained yet.", cause="token_not_retrieved"))


class TestStaticInSettings(TokenSourceSuite):
    renews = False

    @pytest.fixture
    def source(self, tmp_path: Path) -> TokenSource:
        return in_settings(tmp_path, "static", client_secret=f"{TOKEN}\n")

    @pytest.fixture
    def broken(self, tmp_path: Path) -> TokenSource:
        return in_settings(tmp_path, "static")


class TestFile(TokenSourceSuite):
    renews = False

    @pytest.fixture
    def source(self, tmp_path: Path) -> TokenSource:
        (tmp_path / "token").write_text(json.dumps({"access_token": TOKEN, "expires_in": 3600}))
        return in_settings(tmp_path, f"file {tmp_path / 'token'}")

    @pytest.fixture
    def broken(self, tmp_path: Path) -> TokenSource:
        (tmp_path / "token").write_text(json.dumps({"access_token": TOKEN, "expires_in": -1}))
        return in_settings(tmp_path, f"file {tmp_path / 'token'}")

    @pytest.fixture
    def secrets(self) -> Sequence[str]:
        return (TOKEN,)


class TestCommand(TokenSourceSuite):
    @pytest.fixture
    def source(self, tmp_path: Path) -> TokenSource:
        program = tmp_path / "program"
        program.write_text("""echo '{"access_token": "ya29.'$$'", "expires_in": 3600}'""")
        return in_settings(tmp_path, f"command /bin/sh {program}")

    @pytest.fixture
    def broken(self, tmp_path: Path) -> TokenSource:
        program = tmp_path / "program"
        program.write_text(f"echo {TOKEN}; echo {TOKEN} >&2; exit 1")
        return in_settings(tmp_path, f"command /bin/sh {program}")

    @pytest.fixture
    def slow(self, tmp_path: Path) -> TokenSource:
        return in_settings(tmp_path, "command /bin/sleep 60")

    @pytest.fixture
    def secrets(self) -> Sequence[str]:
        return (TOKEN,)


class TestMsal(TokenSourceSuite):
    @pytest.fixture
    async def machine(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AzureMachine]:
        async with run_machine() as running:
            monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", running.address)
            yield running

    @pytest.fixture
    def source(self, machine: AzureMachine) -> TokenSource:
        client = OAuthClient(
            custom_provider(token_endpoint="https://a.example/token"), "", USER, (f"{RESOURCE}/.default",)
        )
        return MsalToken(partial(ManagedIdentityCredential, client, ""))

    @pytest.fixture
    def broken(self, source: TokenSource, machine: AzureMachine) -> TokenSource:
        machine.answers = [(400, {"error": "invalid_request", "error_description": "Identity not found"})]
        return source

    @pytest.fixture
    def slow(self, source: TokenSource, machine: AzureMachine) -> TokenSource:
        machine.silent = True
        return source


class MemoryStore:
    """A grant's place in memory."""

    def __init__(self) -> None:
        self.grant = None
        self._lock = anyio.Lock()

    async def load(self):
        return self.grant

    async def save(self, grant) -> None:
        self.grant = grant

    async def delete(self) -> None:
        self.grant = None

    def lock(self) -> anyio.Lock:
        return self._lock


@pytest.fixture
async def app(sandbox: Sandbox, http: TokenHttp) -> OAuthClient:
    """An application with client credentials."""
    sandbox.provider.register("app", SECRET, [USER])
    provider = await complete_provider(custom_provider(issuer=sandbox.issuer), http)
    return OAuthClient(provider, "app", USER, ("mail.send",), client_secret=Secret(SECRET))


class TestGrantSource(TokenSourceSuite):
    @pytest.fixture
    async def source(self, app: OAuthClient, http: TokenHttp) -> TokenSource:
        source = GrantSource("smtp", MemoryStore(), AppFlow(), app, http)
        await source.obtain(NoPrompt())
        return source

    @pytest.fixture
    def broken(self, app: OAuthClient, http: TokenHttp) -> TokenSource:
        return GrantSource("smtp", MemoryStore(), AppFlow(), app, http)

    @pytest.fixture
    def secrets(self) -> Sequence[str]:
        return (SECRET,)


class TestAppFlow(FlowSuite):
    @pytest.fixture
    def flow(self) -> Flow:
        return AppFlow()

    @pytest.fixture
    def client(self, app: OAuthClient) -> OAuthClient:
        return app

    @pytest.fixture
    def refused(self, app: OAuthClient) -> OAuthClient:
        return replace(app, client_secret=Secret(f"{SECRET}-wrong"))

    @pytest.fixture
    def secrets(self) -> Sequence[str]:
        return (SECRET,)


class EntersCode(NoPrompt):
    async def show_code(self, code: UserCode) -> None:
        await enter_code(code)


class TestDeviceFlow(FlowSuite):
    @pytest.fixture
    def flow(self) -> Flow:
        return DeviceFlow(sleep=lambda _: anyio.sleep(0.02))

    @pytest.fixture
    def client(self, sandbox: Sandbox, panel: OAuthClient) -> OAuthClient:
        sandbox.token_service.authorizations.interval = 0
        return panel

    @pytest.fixture
    def refused(self, panel: OAuthClient) -> OAuthClient:
        return replace(panel, client_id="stranger")

    @pytest.fixture
    def person(self) -> EntersCode:
        return EntersCode()


class FaultySource:
    """What a stranger may have made of a token source."""

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.given = 0
        self.held = ""

    async def token(self, *, force: bool = False):
        self.given += 1
        self.held = f"ya29.number-{self.given:04}"
        match self.fault:
            case "says it":
                logging.getLogger("bad").debug("the token is %s", self.held)
            case "blocks":
                time.sleep(0.7)  # noqa: ASYNC251 - that is the fault
            case "says why":
                raise TokenError(f"There is none but {self.held}.", cause="token_source_failed")
            case "own error":
                raise ValueError("none today")
            case "own cause":
                raise TokenError("There is none today.", cause="moon_is_full")
            case "text":
                return self.held
            case "ended":
                return AccessToken(self.held, time.time() - 1)
            case "milliseconds":
                return AccessToken(self.held, time.time() * 1000)
            case "same":
                return AccessToken("ya29.same")
        return AccessToken(self.held)

    async def forget(self) -> None:
        raise KeyError(self.fault)


suite = TokenSourceSuite()


async def gives(bad: FaultySource, _: object) -> None:
    await suite.test_it_gives_a_token_that_is_valid_now(bad)


async def renews(bad: FaultySource, _: object) -> None:
    await suite.test_a_token_that_was_refused(bad)


async def waits(bad: FaultySource, _: object) -> None:
    await suite.test_waiting_does_not_block_and_can_be_cancelled(bad)


async def hides(bad: FaultySource, caplog: pytest.LogCaptureFixture) -> None:
    await suite.test_no_secret_is_shown(bad, (), caplog)


async def fails(bad: FaultySource, caplog: pytest.LogCaptureFixture) -> None:
    await suite.test_there_is_no_token(bad, ("ya29.number-0001",), caplog)


async def forgets(bad: FaultySource, _: object) -> None:
    await suite.test_forgetting(bad)


@pytest.mark.parametrize(
    ("fault", "test", "found"),
    [
        ("text", gives, AssertionError),
        ("ended", gives, AssertionError),
        ("milliseconds", gives, AssertionError),
        ("same", renews, AssertionError),
        ("blocks", waits, AssertionError),
        ("says it", hides, AssertionError),
        ("", hides, AssertionError),  # it holds its token as a text
        ("says why", fails, AssertionError),
        ("own cause", fails, AssertionError),
        ("own error", fails, ValueError),
        ("", fails, pytest.fail.Exception),
        ("", forgets, KeyError),
    ],
)
async def test_a_faulty_source_fails_the_suite(
    fault: str, test: Callable[..., Awaitable[None]], found: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(found):
        await test(FaultySource(fault), caplog)
