"""One attempt at the authorization code grant: its request, and which responses are believed."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from mailslot import InputError, TokenError
from mailslot.oauth.claims import decode_claims
from mailslot.oauth.client import OAuthClient
from mailslot.oauth.presets import preset
from mailslot.oauth.providers import Endpoints, Provider
from mailslot.oauth.token_errors import TokenServiceError
from mailslot_plugins.sandbox import WebFault
from mailslot_plugins.tokens.authorization import AuthorizationAttempt, parse_parameters
from tokens.people import USER, sign_in

if TYPE_CHECKING:
    from mailslot.oauth.http import TokenHttp
    from mailslot_plugins.sandbox import Sandbox

ISSUER = "https://login.example"
ENDPOINTS = Endpoints(
    issuer=ISSUER,
    token=f"{ISSUER}/token",
    authorization=f"{ISSUER}/authorize?keep=this",
    names_issuer=True,
)
CLIENT = OAuthClient(Provider("custom", "Example", ENDPOINTS), "panel", USER, ("openid", "offline_access", "mail.send"))
HERE = "http://127.0.0.1:50000"


def asked(attempt: AuthorizationAttempt) -> dict[str, str]:
    return {name: value for name, [value] in parse_qs(urlsplit(attempt.url).query, strict_parsing=True).items()}


@pytest.mark.parametrize(
    ("provider", "prompt"),
    [
        (CLIENT.provider, "login consent"),
        (preset("microsoft365").at_tenant(None), "select_account"),
        (preset("google"), "select_account consent"),
        (preset("fastmail"), "select_account"),
    ],
)
def test_another_user_than_the_one_who_is_signed_in(provider: Provider, prompt: str) -> None:
    attempt = AuthorizationAttempt(replace(CLIENT, provider=provider), HERE, another_user=True)
    assert asked(attempt)["prompt"] == prompt
    # Another process goes on with the same request.
    again = AuthorizationAttempt(replace(CLIENT, provider=provider), HERE, attempt.values, another_user=True)
    assert again.url == attempt.url


def test_the_authorization_url() -> None:
    attempt = AuthorizationAttempt(CLIENT, HERE)
    assert attempt.url.startswith(f"{ISSUER}/authorize?keep=this&")
    parameters = asked(attempt)
    assert len(parameters.pop("state")) >= 43
    assert len(parameters.pop("nonce")) >= 43
    challenge = parameters.pop("code_challenge")
    assert len(base64.urlsafe_b64decode(challenge + "=")) == hashlib.sha256().digest_size
    assert parameters == {
        "keep": "this",
        "response_type": "code",
        "client_id": "panel",
        "redirect_uri": HERE,
        "scope": "openid offline_access mail.send",
        "code_challenge_method": "S256",
        "login_hint": USER,
        "prompt": "consent",
    }
    assert attempt.url == attempt.url


def test_everything_is_fresh_in_each_attempt() -> None:
    first, second = asked(AuthorizationAttempt(CLIENT, HERE)), asked(AuthorizationAttempt(CLIENT, HERE))
    assert not any(first[name] == second[name] for name in ("state", "nonce", "code_challenge"))


def test_no_nonce_without_openid_and_no_consent_without_need() -> None:
    parameters = asked(AuthorizationAttempt(replace(CLIENT, scopes=("mail.send",)), HERE))
    assert "nonce" not in parameters
    assert "prompt" not in parameters


def test_prompts_by_provider() -> None:
    google = preset("google")
    parameters = asked(AuthorizationAttempt(replace(CLIENT, provider=google, scopes=google.scopes("pop")), HERE))
    assert parameters["access_type"] == "offline"
    assert parameters["prompt"] == "consent"
    microsoft = preset("microsoft365").at_tenant(None)
    attempt = AuthorizationAttempt(replace(CLIENT, provider=microsoft, scopes=microsoft.scopes("smtp")), HERE)
    assert attempt.url.startswith("https://login.microsoftonline.com/organizations/")
    assert asked(attempt).get("prompt") != "consent"  # it would ask users for what an administrator has allowed


def test_no_authorization_endpoint() -> None:
    provider = replace(CLIENT.provider, endpoints=Endpoints(token=f"{ISSUER}/token"))
    with pytest.raises(InputError, match="no authorization endpoint"):
        AuthorizationAttempt(replace(CLIENT, provider=provider), HERE)


def test_state() -> None:
    attempt = AuthorizationAttempt(CLIENT, HERE)
    state = asked(attempt)["state"]
    assert attempt.matches({"state": state})
    for other in (
        "",
        state[:-1],
        state.swapcase(),
        f"{state} ",
        "ü",
        asked(AuthorizationAttempt(CLIENT, HERE))["state"],
    ):
        assert not attempt.matches({"state": other})
    assert not attempt.matches({})


@pytest.mark.parametrize(
    ("known", "always", "iss", "believed"),
    [
        (ISSUER, True, ISSUER, True),
        (ISSUER, True, None, False),
        (ISSUER, False, None, True),
        (ISSUER, False, "https://evil.example", False),
        (ISSUER, True, f"{ISSUER}/", False),
        (ISSUER, True, ISSUER.upper(), False),
        (ISSUER, True, "", False),
        (None, False, "https://login.example", True),
    ],
)
@pytest.mark.parametrize("answer", [{"code": "c"}, {"error": "access_denied"}])
def test_the_issuer_is_compared_exactly(
    known: str | None, always: bool, iss: str | None, believed: bool, answer: dict[str, str]
) -> None:
    endpoints = replace(ENDPOINTS, issuer=known, names_issuer=always)
    attempt = AuthorizationAttempt(replace(CLIENT, provider=replace(CLIENT.provider, endpoints=endpoints)), HERE)
    parameters = answer | ({} if iss is None else {"iss": iss})
    if believed and "code" in answer:
        assert attempt.code(parameters) == "c"
        return
    with pytest.raises(TokenError) as refused:
        attempt.code(parameters)
    assert ("declined" in str(refused.value)) == believed
    assert refused.value.cause == "token_not_retrieved"


@pytest.mark.parametrize(
    ("parameters", "cause"),
    [
        ({}, "token_not_retrieved"),
        ({"code": ""}, "token_not_retrieved"),
        ({"error": "access_denied"}, "token_not_retrieved"),
        ({"error": "invalid_scope"}, "scope_wrong"),
        ({"error": "temporarily_unavailable"}, "token_service_busy"),
        ({"error": "consent_required", "error_description": "AADSTS65001: no consent"}, "consent_missing"),
        (
            {"error": "access_denied", "error_description": "AADSTS65004: User declined to consent."},
            "token_not_retrieved",
        ),
        ({"error": "\x1b[31mnonsense", "code": "c"}, "unknown"),
    ],
)
def test_responses_without_a_code(parameters: dict[str, str], cause: str) -> None:
    with pytest.raises(TokenError) as refused:
        AuthorizationAttempt(CLIENT, HERE).code({**parameters, "iss": ISSUER})
    assert refused.value.cause == cause
    assert "\x1b" not in f"{refused.value} {refused.value.detail}"


def test_duplicate_parameters_are_refused() -> None:
    assert parse_parameters("a=1&b=&c=%C3%BC") == {"a": "1", "b": "", "c": "ü"}
    assert parse_parameters("code=mine&code=theirs") is None


async def test_the_verifier_belongs_to_the_attempt(sandbox: Sandbox, panel: OAuthClient, http: TokenHttp) -> None:
    first, second = AuthorizationAttempt(panel, HERE), AuthorizationAttempt(panel, HERE)
    parameters = parse_parameters(urlsplit(await sign_in(first.url)).query)
    assert parameters
    assert first.matches(parameters)
    code = first.code(parameters)
    with pytest.raises(TokenServiceError) as refused:
        await second.redeem(code, http)
    assert refused.value.cause == "token_not_retrieved"
    response = await first.redeem(code, http)
    assert sandbox.provider.check(response.access_token.reveal(), USER, "mail.send") is None
    with pytest.raises(TokenServiceError):  # and a code is good for once; the second time ends it all
        await first.redeem(code, http)
    assert sandbox.provider.check(response.access_token.reveal(), USER, "mail.send") == "token"


@pytest.mark.parametrize("id_token", ["", "e30.e30.e30", "no JWT"])
async def test_an_id_token_without_our_nonce(
    sandbox: Sandbox, panel: OAuthClient, http: TokenHttp, id_token: str
) -> None:
    sandbox.token_service.faults.append(WebFault("token", alter=lambda answer: {**answer, "id_token": id_token}))
    attempt = AuthorizationAttempt(panel, HERE)
    parameters = parse_parameters(urlsplit(await sign_in(attempt.url)).query)
    assert parameters
    if not id_token:
        assert (await attempt.redeem(attempt.code(parameters), http)).id_token is None
        return
    with pytest.raises(TokenError, match="another sign-in") as refused:
        await attempt.redeem(attempt.code(parameters), http)
    assert refused.value.cause == "token_not_retrieved"


@pytest.mark.parametrize(
    ("changed", "is_ours"),
    [
        ({}, True),
        ({"aud": ["panel"]}, True),
        ({"aud": ["panel", "other"], "azp": "panel"}, True),
        ({"aud": ["panel", "other"]}, False),
        ({"aud": "other"}, False),
        ({"aud": "other", "azp": "panel"}, False),
        ({"azp": "other"}, False),
        ({"aud": None}, False),
        ({"aud": {"panel": 1}}, False),
        ({"nonce": "other"}, False),
        ({"nonce": None}, False),
    ],
)
async def test_an_id_token_of_another_sign_in_or_client(
    sandbox: Sandbox, panel: OAuthClient, http: TokenHttp, changed: dict[str, object], is_ours: bool
) -> None:
    def alter(answer: dict[str, object]) -> dict[str, object]:
        head, _, signature = str(answer["id_token"]).split(".")
        members = {**(decode_claims(str(answer["id_token"])) or {}), **changed}
        kept = {name: value for name, value in members.items() if value is not None}
        payload = base64.urlsafe_b64encode(json.dumps(kept).encode()).decode().rstrip("=")
        return {**answer, "id_token": f"{head}.{payload}.{signature}"}

    sandbox.token_service.faults.append(WebFault("token", alter=alter))
    attempt = AuthorizationAttempt(panel, HERE)
    parameters = parse_parameters(urlsplit(await sign_in(attempt.url)).query)
    assert parameters
    with contextlib.nullcontext() if is_ours else pytest.raises(TokenError, match="another sign-in"):
        await attempt.redeem(attempt.code(parameters), http)
