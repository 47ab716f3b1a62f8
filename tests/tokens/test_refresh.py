"""Refreshing at the sandbox: every kind of rotation, and what is kept after a failure."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot import TokenError
from mailslot.oauth.http import TokenHttp
from mailslot.oauth.token_error_table import Remedy
from mailslot.oauth.token_errors import TokenServiceError
from mailslot_plugins.sandbox import ENTRA, GOOGLE, PORTAL, ScriptedResponse, WebFault
from mailslot_plugins.tokens.paste import PasteFlow
from tokens.people import USER, ScriptedPerson, sign_in

if TYPE_CHECKING:
    from mailslot.oauth.client import OAuthClient
    from mailslot.oauth.grant import Grant
    from mailslot_plugins.sandbox import Sandbox

pytestmark = pytest.mark.virtual_time

FLOW = PasteFlow()
REFRESH = "refresh_token"


@pytest.fixture
async def grant(panel: OAuthClient, http: TokenHttp) -> Grant:
    return await FLOW.obtain(panel, http, ScriptedPerson(act=sign_in))


def is_good(sandbox: Sandbox, grant: Grant) -> bool:
    assert grant.access_token
    return sandbox.provider.check(grant.access_token.reveal(), USER, "mail.send") is None


async def test_no_new_refresh_token_keeps_the_old_one(
    sandbox: Sandbox, panel: OAuthClient, http: TokenHttp, grant: Grant
) -> None:
    without = WebFault("token", REFRESH, alter=lambda answer: {k: v for k, v in answer.items() if k != REFRESH})
    sandbox.token_service.faults.append(without)
    renewed = await FLOW.refresh(panel, http, grant)
    assert renewed.refresh_token == grant.refresh_token
    assert renewed.previous_refresh_token is None
    assert renewed.access_token != grant.access_token
    assert is_good(sandbox, await FLOW.refresh(panel, http, renewed))


async def test_the_same_refresh_token_is_returned(
    sandbox: Sandbox, panel: OAuthClient, http: TokenHttp, grant: Grant
) -> None:
    renewed = await FLOW.refresh(panel, http, grant)
    assert renewed.refresh_token == grant.refresh_token
    assert renewed.previous_refresh_token is None
    assert is_good(sandbox, renewed)


async def test_a_new_refresh_token_while_the_old_one_stays_valid(
    sandbox: Sandbox, panel: OAuthClient, http: TokenHttp, grant: Grant
) -> None:
    sandbox.provider.rotation = "lax"
    renewed = await FLOW.refresh(panel, http, grant)
    assert renewed.refresh_token not in {None, grant.refresh_token}
    assert renewed.previous_refresh_token == grant.refresh_token
    for still_good in (grant, renewed):
        assert is_good(sandbox, await FLOW.refresh(panel, http, still_good))


async def test_a_new_refresh_token_and_reuse_revokes_the_grant(
    sandbox: Sandbox, panel: OAuthClient, http: TokenHttp, grant: Grant
) -> None:
    sandbox.provider.rotation = "strict"
    renewed = await FLOW.refresh(panel, http, grant)
    assert is_good(sandbox, await FLOW.refresh(panel, http, renewed))
    with pytest.raises(TokenServiceError) as refused:
        await FLOW.refresh(panel, http, grant)
    assert (refused.value.cause, refused.value.remedy) == ("token_update_failed", Remedy.NEW_GRANT)
    assert not is_good(sandbox, renewed)


async def test_without_a_refresh_token(sandbox: Sandbox, panel: OAuthClient, http: TokenHttp, grant: Grant) -> None:
    sandbox.token_service.requests.clear()
    with pytest.raises(TokenError) as refused:
        await FLOW.refresh(panel, http, replace(grant, refresh_token=None))
    assert refused.value.cause == "token_not_renewable"
    assert not sandbox.token_service.requests


async def test_the_scopes_are_those_that_were_granted(
    sandbox: Sandbox, panel: OAuthClient, http: TokenHttp, grant: Grant
) -> None:
    silent = WebFault("token", REFRESH, alter=lambda answer: {k: v for k, v in answer.items() if k != "scope"})
    sandbox.token_service.faults.append(silent)
    asking_more = replace(panel, scopes=(*panel.scopes, "calendar"))
    assert (await FLOW.refresh(asking_more, http, grant)).scopes == grant.scopes


@pytest.mark.parametrize("rotation", ["lax", "strict"])
@pytest.mark.parametrize("way", ["cut", "silence"])
async def test_a_response_lost_after_the_service_acted(
    sandbox: Sandbox, panel: OAuthClient, grant: Grant, rotation: str, way: str
) -> None:
    """The error says so; whether the old token is good for another try, only the service knows."""
    sandbox.provider.rotation = "lax" if rotation == "lax" else "strict"
    lost = WebFault("token", REFRESH, nth=1, cut=way == "cut", delay=0 if way == "cut" else math.inf)
    sandbox.token_service.faults.append(lost)
    async with TokenHttp(timeout=0.3, trust_env=False) as http:
        with pytest.raises(TokenServiceError) as refused:
            await FLOW.refresh(panel, http, grant)
        assert (refused.value.cause, refused.value.remedy) == ("token_service_unreachable", Remedy.WAIT)
        assert refused.value.response_lost
        if rotation == "lax":
            assert is_good(sandbox, await FLOW.refresh(panel, http, grant))
        else:
            with pytest.raises(TokenServiceError) as refused:
                await FLOW.refresh(panel, http, grant)
            assert refused.value.remedy is Remedy.NEW_GRANT


async def test_a_slow_response_is_awaited(sandbox: Sandbox, panel: OAuthClient, http: TokenHttp, grant: Grant) -> None:
    sandbox.token_service.faults.append(WebFault("token", REFRESH, delay=0.5))
    assert is_good(sandbox, await FLOW.refresh(panel, http, grant))


async def test_a_clock_skew_is_learnt(sandbox: Sandbox, panel: OAuthClient, http: TokenHttp, grant: Grant) -> None:
    assert abs(grant.skew) < 2
    sandbox.provider.clock_ahead = -86_400
    renewed = await FLOW.refresh(panel, http, grant)
    assert abs(renewed.skew + 86_400) < 2


@pytest.mark.parametrize(
    ("said", "cause", "kind"),
    [
        (ENTRA[700082], "token_update_failed", Remedy.NEW_GRANT),
        (ENTRA[50173], "token_update_failed", Remedy.NEW_GRANT),
        (ENTRA[50076], "token_update_failed", Remedy.NEW_GRANT),
        (ENTRA[65001], "consent_missing", Remedy.CONFIGURATION),
        (ENTRA[53003], "sign_in_blocked_by_policy", Remedy.CONFIGURATION),
        (ENTRA[7000222], "app_secret_expired", Remedy.CONFIGURATION),
        (ENTRA[90033], "token_service_busy", Remedy.WAIT),
        (GOOGLE["revoked"], "token_update_failed", Remedy.NEW_GRANT),
        (PORTAL, "not_a_token_service", Remedy.WAIT),
        (
            ScriptedResponse(302, b"", {"Location": "http://login.hotel.example/"}),
            "token_service_unreachable",
            Remedy.WAIT,
        ),
        (ScriptedResponse(400, {"error": "made_up"}), "unknown", Remedy.UNKNOWN),
    ],
)
async def test_refusals(
    sandbox: Sandbox,
    panel: OAuthClient,
    http: TokenHttp,
    grant: Grant,
    said: ScriptedResponse,
    cause: str,
    kind: Remedy,
) -> None:
    sandbox.token_service.faults.append(WebFault("token", REFRESH, act=False, answer=said))
    with pytest.raises(TokenServiceError) as refused:
        await FLOW.refresh(panel, http, grant)
    assert (refused.value.cause, refused.value.remedy) == (cause, kind)
    sandbox.token_service.faults.clear()
    assert is_good(sandbox, await FLOW.refresh(panel, http, grant))


async def test_errors_do_not_contain_the_token(
    sandbox: Sandbox, panel: OAuthClient, http: TokenHttp, grant: Grant
) -> None:
    assert grant.refresh_token
    token = grant.refresh_token.reveal()
    echo = ScriptedResponse(400, {"error": "invalid_grant", "error_description": f"the token {token} is unknown"})
    sandbox.token_service.faults.append(WebFault("token", REFRESH, act=False, answer=echo))
    with pytest.raises(TokenServiceError) as refused:
        await FLOW.refresh(panel, http, grant)
    assert token not in f"{refused.value!r} {refused.value.detail} {refused.value.error_description} {grant!r}"


async def test_no_log_holds_a_token(
    panel: OAuthClient, http: TokenHttp, grant: Grant, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"):
        renewed = await FLOW.refresh(panel, http, grant)
    assert "/token" in caplog.text
    tokens = [grant.access_token, grant.refresh_token, renewed.access_token, renewed.refresh_token]
    assert not any(token.reveal() in caplog.text for token in tokens if token)


async def test_cancellation(sandbox: Sandbox, panel: OAuthClient, http: TokenHttp, grant: Grant) -> None:
    sandbox.token_service.faults.append(WebFault("token", REFRESH, nth=1, delay=math.inf))
    with anyio.move_on_after(0.1) as scope:
        await FLOW.refresh(panel, http, grant)
    assert scope.cancelled_caught
    assert is_good(sandbox, await FLOW.refresh(panel, http, grant))
