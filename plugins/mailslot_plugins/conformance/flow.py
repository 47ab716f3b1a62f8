"""Conformance tests for flows: a test module derives from `FlowSuite`."""

from __future__ import annotations

import inspect
import logging
import traceback
from typing import TYPE_CHECKING, NoReturn

import anyio
import pytest

from mailslot.errors import MailError
from mailslot.oauth.flow import Flow
from mailslot.oauth.grant import Grant
from mailslot.oauth.http import TokenHttp
from mailslot.sasl.credentials import AccessToken
from mailslot_plugins.conformance.token_source import check_error, check_hidden, check_token

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from mailslot.oauth.client import OAuthClient
    from mailslot.oauth.flow import UserCode


class NoPerson:
    """The person of a flow that needs nobody: any question fails the test."""

    async def show_address(self, address: str) -> NoReturn:
        """Fail."""
        pytest.fail(f"somebody should have opened {address}")

    async def show_code(self, code: UserCode) -> None:
        """Fail."""
        pytest.fail(f"somebody should have entered {code.user_code}")

    async def ask_pasted_address(self, address: str) -> NoReturn:
        """Fail."""
        pytest.fail(f"somebody should have opened {address}")

    async def show_message(self, text: str) -> None:
        """Check that it is one sentence."""
        assert text
        assert "\n" not in text


class FlowSuite:
    """Tests of a flow."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def flow(self) -> Flow[NoPerson]:
        """To be overridden: the flow."""
        raise NotImplementedError

    @pytest.fixture
    def client(self) -> OAuthClient:
        """To be overridden: a client of a running provider, such as the sandbox."""
        raise NotImplementedError

    @pytest.fixture
    def refused(self) -> OAuthClient:
        """To be overridden: a client that the provider refuses."""
        raise NotImplementedError

    @pytest.fixture
    async def http(self) -> AsyncGenerator[TokenHttp]:
        """To be overridden if the provider needs another one: an open `TokenHttp`."""
        async with TokenHttp(timeout=60, trust_env=False) as http:
            yield http

    @pytest.fixture
    def person(self) -> object:
        """To be overridden if the flow needs a person: the person who signs in."""
        return NoPerson()

    @pytest.fixture
    def secrets(self) -> Sequence[str]:
        """To be overridden if there are any: the application's secrets."""
        return ()

    async def test_it_implements_the_protocol(self, flow: Flow[NoPerson]) -> None:
        """It has a name, and ``obtain`` and ``refresh`` are coroutine functions."""
        assert isinstance(flow, Flow)
        assert flow.name
        assert inspect.iscoroutinefunction(flow.obtain)
        assert inspect.iscoroutinefunction(flow.refresh)

    async def test_a_grant(
        self,
        flow: Flow[NoPerson],
        client: OAuthClient,
        http: TokenHttp,
        person: NoPerson,
        secrets: Sequence[str],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """It has the flow's name and shows no secret; a refresh returns another access token."""
        caplog.set_level(logging.DEBUG)
        grant = await flow.obtain(client, http, person)
        renewed = await flow.refresh(client, http, grant)
        hidden = list(secrets)
        for each in (grant, renewed):
            assert isinstance(each, Grant)
            assert each.flow == flow.name
            assert each.access_token is not None
            check_token(AccessToken(each.access_token, each.expires_at))
            hidden += [secret.reveal() for secret in (each.access_token, each.refresh_token) if secret is not None]
        assert renewed.access_token != grant.access_token
        check_hidden("\n".join([caplog.text, repr(flow), repr(grant), repr(renewed)]), hidden)

    async def test_it_is_refused(
        self, flow: Flow[NoPerson], refused: OAuthClient, http: TokenHttp, person: NoPerson, secrets: Sequence[str]
    ) -> None:
        """It raises a `MailError` of the stage ``token``, with a known cause and one sentence."""
        with anyio.fail_after(60), pytest.raises(MailError) as raised:
            await flow.obtain(refused, http, person)
        check_error(raised.value)
        check_hidden("".join(traceback.format_exception(raised.value)) + raised.value.detail, secrets)
