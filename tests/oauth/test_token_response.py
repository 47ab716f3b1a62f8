"""The token response: what counts as a token, the grant made from it, and nonsense in it."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot.oauth.grant import Grant, RefreshFailure
from mailslot.oauth.http import TokenHttp
from mailslot.oauth.response import TokenServiceResponse
from mailslot.oauth.token_error_table import Remedy
from mailslot.oauth.token_errors import TokenServiceError
from mailslot.oauth.token_response import (
    MAX_LIFETIME,
    TokenResponse,
    new_grant,
    parse_token_response,
    refreshed_grant,
    request_token,
)
from mailslot.wire.secret import Secret
from oauth.scripted_service import client, http_response, run_scripted_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.virtual_time

ASKED = ("mail.send", "offline_access")
GOOD = {"access_token": "ya29.a", "token_type": "Bearer"}


@pytest.fixture
async def http() -> AsyncIterator[TokenHttp]:
    async with TokenHttp(timeout=5) as http:
        yield http


def response(**members: object) -> TokenResponse:
    return parse_token_response(TokenServiceResponse(200, {**GOOD, **members}, host="issuer.test"), ASKED)


def jwt(**claims: object) -> str:
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{part}.c2ln"


def test_every_member() -> None:
    found = response(expires_in=3599, refresh_token="1//r", scope="mail.send mail.pop", id_token="a.b.c", more=1)
    assert found == TokenResponse(Secret("ya29.a"), 3599.0, Secret("1//r"), ("mail.send", "mail.pop"), Secret("a.b.c"))
    assert "ya29" not in repr(found)
    assert "1//r" not in repr(found)


def test_required_members_only() -> None:
    assert response() == TokenResponse(Secret("ya29.a"), None, None, ASKED)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (3600, 3600),
        (3600.5, 3600.5),
        ("3600", 3600),
        (" 900 ", 900),
        (1, 1),
        (10**30, MAX_LIFETIME),
        ("1e300", MAX_LIFETIME),
        (10**400, None),
        (None, None),
        (0, None),
        (-1, None),
        ("-3600", None),
        ("", None),
        ("an hour", None),
        ("nan", None),
        ("inf", None),
        (True, None),
        ([3600], None),
        ({}, None),
    ],
)
def test_expires_in(value: object, seconds: float | None) -> None:
    assert response(expires_in=value).lifetime == seconds


@pytest.mark.parametrize("value", ["bearer", "BEARER", "Bearer"])
def test_bearer_in_any_case(value: str) -> None:
    assert response(token_type=value).access_token == "ya29.a"


def test_without_a_type_it_is_bearer() -> None:
    assert parse_token_response(TokenServiceResponse(200, {"access_token": "a"}), ASKED).access_token == "a"


@pytest.mark.parametrize(
    ("value", "scopes"),
    [
        ("a b", ("a", "b")),
        ("  a  ", ("a",)),
        (["a", "b c"], ("a", "b", "c")),
        ("", ASKED),
        (None, ASKED),
        (7, ASKED),
        ([7, None], ASKED),
    ],
)
def test_scope(value: object, scopes: tuple[str, ...]) -> None:
    assert response(scope=value).scopes == scopes


@pytest.mark.parametrize("value", [None, "", 7, "ü", "a\nb", ["a"]])
def test_an_invalid_refresh_token(value: object) -> None:
    assert response(refresh_token=value).refresh_token is None


@pytest.mark.parametrize(
    ("members", "because"),
    [
        (None, "cut off or is not JSON"),
        ({}, "no access token"),
        ({"token_type": "Bearer"}, "no access token"),
        ({**GOOD, "access_token": None}, "not text"),
        ({**GOOD, "access_token": 7}, "not text"),
        ({**GOOD, "access_token": ["a"]}, "not text"),
        ({**GOOD, "access_token": ""}, "empty"),
        ({**GOOD, "access_token": "a b"}, "characters"),
        ({**GOOD, "access_token": "a\r\nb"}, "characters"),
        ({**GOOD, "access_token": "ü"}, "characters"),
        ({**GOOD, "access_token": "a\ud800"}, "characters"),
        ({**GOOD, "token_type": "mac"}, "type mac, and mail takes bearer tokens"),
        ({**GOOD, "token_type": 7}, "type ?"),
        ({**GOOD, "token_type": None}, "type ?"),
    ],
)
def test_a_success_without_a_token(members: dict[str, object] | None, because: str) -> None:
    with pytest.raises(TokenServiceError) as caught:
        parse_token_response(TokenServiceResponse(200, members, host="issuer.test"), ASKED)
    error = caught.value
    assert because in str(error)
    assert "issuer.test" in str(error)
    assert (error.cause, error.remedy, error.status, error.response_lost) == ("unknown", Remedy.WAIT, 200, True)


@pytest.mark.parametrize("status", [200, 400, 401])
def test_a_refusal_with_any_status(status: int) -> None:
    with pytest.raises(TokenServiceError) as caught:
        parse_token_response(TokenServiceResponse(status, {**GOOD, "error": "invalid_grant"}), ASKED)
    assert (caught.value.cause, caught.value.remedy) == ("token_update_failed", Remedy.NEW_GRANT)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
MEMBERS = ("access_token", "token_type", "expires_in", "refresh_token", "scope", "id_token", "error")


@given(
    st.none()
    | st.fixed_dictionaries({}, optional=dict.fromkeys(MEMBERS, anything))
    | st.fixed_dictionaries(dict.fromkeys(MEMBERS[2:6], anything)).map(lambda found: {**GOOD, **found})
)
def test_any_response_is_a_token_or_an_error(members: dict[str, object] | None) -> None:
    try:
        found = parse_token_response(TokenServiceResponse(200, members, host="issuer.test"), ASKED)
    except TokenServiceError as error:
        assert str(error).isprintable()  # noqa: PT017 - either outcome is right, and each is looked at
        return
    assert found.access_token.reveal().isascii()
    assert found.lifetime is None or 0 < found.lifetime <= MAX_LIFETIME
    assert found.scopes
    Grant.from_secret(_grant(found).to_secret())


def _grant(found: TokenResponse) -> Grant:
    return refreshed_grant(Grant("device", None, None, None, (), 0, 0), client(), TokenHttp(trust_env=False), found)


class TestNewGrant:
    async def test_every_member(self, http: TokenHttp) -> None:
        http.skew = 12
        token = jwt(preferred_username="Scanner@example.com", tid="tenant-1")
        before = time.time()
        grant = new_grant("device", client(), http, response(expires_in=60, refresh_token="r", id_token=token))
        assert before <= grant.obtained_at == grant.renewed_at <= time.time()
        assert grant.expires_at == grant.renewed_at + 60
        assert grant == Grant(
            "device",
            Secret("ya29.a"),
            grant.expires_at,
            Secret("r"),
            ASKED,
            grant.obtained_at,
            grant.renewed_at,
            account="Scanner@example.com",
            tenant="tenant-1",
            skew=12,
        )

    async def test_the_account_from_the_access_token(self, http: TokenHttp) -> None:
        grant = new_grant("device", client(), http, response(access_token=jwt(upn="bob@example.com", tid="t")))
        assert (grant.account, grant.tenant) == ("bob@example.com", "t")

    async def test_an_unknown_account(self, http: TokenHttp) -> None:
        grant = new_grant("device", client(), http, response())
        assert (grant.account, grant.tenant, grant.expires_at) == (None, None, None)

    @pytest.mark.parametrize("granted", ["mail.send", "MAIL.SEND other", "https://mail.example/mail.send"])
    async def test_sufficient_scopes(self, http: TokenHttp, granted: str) -> None:
        assert new_grant("device", client(), http, response(scope=granted)).scopes == tuple(granted.split())

    @pytest.mark.parametrize("granted", ["offline_access", "mail.pop openid", "mail.sendx"])
    async def test_insufficient_scopes_are_kept_as_granted(self, http: TokenHttp, granted: str) -> None:
        grant = new_grant("device", client(), http, response(scope=granted))
        assert grant.scopes == tuple(granted.split())
        assert grant.access_token

    async def test_a_default_scope_is_never_missing(self, http: TokenHttp) -> None:
        oauth_client = replace(client(), scopes=("https://outlook.office365.com/.default",))
        assert new_grant("app", oauth_client, http, response(scope="https://outlook.office365.com/SMTP.SendAsApp"))


class TestRefreshedGrant:
    OLD = Grant(
        "device",
        Secret("old"),
        1.0,
        Secret("r1"),
        ASKED,
        0.0,
        0.0,
        previous_refresh_token=Secret("r0"),
        account="a@example.com",
        tenant="t",
        settings="digest",
        failure=RefreshFailure("unknown", "", "", 0, None),
    )

    async def test_rotation_keeps_the_previous_refresh_token(self, http: TokenHttp) -> None:
        new = refreshed_grant(self.OLD, client(), http, response(refresh_token="r2", expires_in=60))
        assert (new.refresh_token, new.previous_refresh_token) == ("r2", "r1")
        assert new.access_token == "ya29.a"
        assert new.expires_at == new.renewed_at + 60
        assert (new.obtained_at, new.failure, new.settings) == (0.0, None, "digest")
        assert (new.account, new.tenant) == ("a@example.com", "t")

    @pytest.mark.parametrize("members", [{}, {"refresh_token": "r1"}, {"refresh_token": ""}, {"refresh_token": 7}])
    async def test_without_rotation_the_refresh_token_is_kept(
        self, http: TokenHttp, members: dict[str, object]
    ) -> None:
        new = refreshed_grant(self.OLD, client(), http, response(**members))
        assert (new.refresh_token, new.previous_refresh_token) == ("r1", None)

    async def test_fewer_scopes_are_kept_so_that_no_refresh_token_is_lost(self, http: TokenHttp) -> None:
        new = refreshed_grant(self.OLD, client(), http, response(refresh_token="r2", scope="openid"))
        assert (new.refresh_token, new.scopes) == ("r2", ("openid",))


async def test_a_request(http: TokenHttp) -> None:
    async with run_scripted_service(http_response({**GOOD, "refresh_token": "r2"})) as service:
        oauth_client = client(service.url, secret="s")
        found = await request_token(oauth_client, http, {"grant_type": "refresh_token", "refresh_token": Secret("r1")})
    assert found.refresh_token == "r2"
    assert found.scopes == oauth_client.scopes
    assert service.last.path == "/token"
    assert service.last.form == {"grant_type": "refresh_token", "refresh_token": "r1"}
    assert service.last.headers["authorization"].startswith("Basic ")


@pytest.mark.parametrize(
    ("grant_type", "cause"), [("refresh_token", "token_update_failed"), ("authorization_code", "token_not_retrieved")]
)
async def test_a_refused_request(http: TokenHttp, grant_type: str, cause: str) -> None:
    answer = {"error": "invalid_grant", "error_description": "r1-which-is-secret is over"}
    async with run_scripted_service(http_response(answer, status=400)) as service:
        with pytest.raises(TokenServiceError) as caught:
            await request_token(
                client(service.url), http, {"grant_type": grant_type, "refresh_token": Secret("r1-which-is-secret")}
            )
    assert caught.value.cause == cause
    assert "r1-which" not in repr((caught.value.args, caught.value.detail, caught.value.error_description))
