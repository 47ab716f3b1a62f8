"""The provider's pages and endpoints, and their faults, with clients that are not ours."""

from __future__ import annotations

import email.utils
import http.client
import math
import time
import urllib.parse
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from mailslot_plugins.sandbox import ENTRA, GOOGLE, PORTAL, ScriptedResponse, WebFault
from sandbox.raw_client import USER, in_thread
from sandbox.test_authorizations import CHALLENGE, HERE, VERIFIER
from sandbox.test_provider import fetch

if TYPE_CHECKING:
    from mailslot_plugins.sandbox import Sandbox

ASKED = {
    "response_type": "code",
    "client_id": "panel",
    "redirect_uri": HERE,
    "scope": "openid mail.send",
    "state": "s&t",
    "nonce": "n",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
    "login_hint": '"><script>',
}


def visit(sandbox: Sandbox, path: str, form: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Get, or post a form; return status, body and where it leads."""
    with closing(http.client.HTTPConnection(sandbox.issuer.removeprefix("http://"), timeout=120)) as connection:
        body = None if form is None else urllib.parse.urlencode(form)
        connection.request("GET" if form is None else "POST", path, body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.headers.get("Location", "")


def authorize(sandbox: Sandbox, form: dict[str, str] | None = None, **changed: str) -> tuple[int, str, str]:
    asked = {name: value for name, value in {**ASKED, **changed}.items() if value}
    return visit(sandbox, f"/authorize?{urllib.parse.urlencode(asked)}", form)


def parameters(location: str) -> dict[str, str]:
    assert location.startswith(f"{HERE}?")
    return dict(urllib.parse.parse_qsl(location.partition("?")[2]))


async def test_a_person_signs_in(sandbox: Sandbox) -> None:
    sandbox.provider.register("panel")

    def talk() -> None:
        status, page, _ = authorize(sandbox)
        assert status == 200
        assert "panel asks for: mail.send openid" in page
        assert "<script>" not in page
        status, _, there = authorize(sandbox, {"user": USER, "decision": "allow"})
        assert status == 303
        answer = parameters(there)
        assert (answer["state"], answer["iss"]) == ("s&t", sandbox.issuer)
        form = {
            "grant_type": "authorization_code",
            "client_id": "panel",
            "code": answer["code"],
            "redirect_uri": HERE,
            "code_verifier": VERIFIER,
        }
        status, tokens, _ = fetch(f"{sandbox.issuer}/token", **form)
        assert status == 200
        assert tokens["scope"] == "mail.send"
        assert "refresh_token" not in tokens
        assert tokens["id_token"]

    await in_thread(talk)
    assert sandbox.token_service.requests == ["token authorization_code 200"]


async def test_a_person_grants_fewer_scopes_or_none(sandbox: Sandbox) -> None:
    sandbox.provider.register("panel")

    def talk() -> None:
        answer = parameters(authorize(sandbox, {"user": USER, "decision": "deny"})[2])
        assert answer["error"] == "access_denied"
        assert answer["state"] == "s&t"
        for form in ({"decision": "allow"}, {}):
            assert parameters(authorize(sandbox, form)[2])["error"] == "access_denied"
        form = {"user": USER, "decision": "allow", "scope": "mail.pop"}
        code = parameters(authorize(sandbox, form, scope="mail.pop mail.send")[2])["code"]
        client = sandbox.provider.clients["panel"]
        assert sandbox.token_service.authorizations.redeem(client, code, HERE, VERIFIER).scopes == {"mail.pop"}

    await in_thread(talk)


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"scope": "calendar"}, "invalid_scope"),
    ],
)
async def test_requests_that_are_refused(sandbox: Sandbox, changed: dict[str, str], error: str) -> None:
    sandbox.provider.register("panel")
    status, _, there = await in_thread(authorize, sandbox, **changed)
    assert status == 303
    assert parameters(there) == {
        "error": error,
        "error_description": parameters(there)["error_description"],
        "state": "s&t",
        "iss": sandbox.issuer,
    }


@pytest.mark.parametrize(
    "changed",
    [
        {"client_id": "nobody"},
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": "http://127.0.0.1:5000/elsewhere"},
        {"redirect_uri": "http://[/"},
        {"redirect_uri": ""},
    ],
)
async def test_no_redirect_to_unregistered_addresses(sandbox: Sandbox, changed: dict[str, str]) -> None:
    sandbox.provider.register("panel")
    status, _, there = await in_thread(authorize, sandbox, **changed)
    assert (status, there) == (400, "")


async def test_the_device_flow_in_a_browser(sandbox: Sandbox) -> None:
    sandbox.provider.register("panel")

    def talk() -> None:
        _, first, _ = fetch(f"{sandbox.issuer}/device_authorization", client_id="panel", scope="mail.send")
        _, second, _ = fetch(f"{sandbox.issuer}/device_authorization", client_id="panel")
        assert (first["interval"], first["expires_in"]) == (5.0, 900.0)
        assert visit(sandbox, "/device")[0] == 200
        assert visit(sandbox, "/device?user_code=wrong")[0] == 404
        status, page, _ = visit(sandbox, first["verification_uri_complete"].removeprefix(sandbox.issuer))
        assert status == 200
        assert "panel asks for: mail.send" in page
        for answer, decision in ((first, "allow"), (second, "deny")):
            form = {"user": USER, "decision": decision, "user_code": answer["user_code"]}
            assert visit(sandbox, "/device", form)[0] == 200
            assert visit(sandbox, "/device", form)[0] == 404

    await in_thread(talk)
    allowed, denied = sandbox.token_service.authorizations.devices
    assert (allowed.user, allowed.denied, denied.user, denied.denied) == (USER, False, None, True)


async def test_faults_of_the_token_service(sandbox: Sandbox) -> None:
    client = sandbox.provider.register("panel")
    sandbox.provider.rotation = "strict"
    refresh_token = sandbox.provider.consent(USER, client).reveal()
    faults = sandbox.token_service.faults
    form = {"grant_type": "refresh_token", "client_id": "panel", "refresh_token": refresh_token}

    def ask() -> tuple[int, dict[str, str]]:
        status, answer, _ = fetch(f"{sandbox.issuer}/token", **form)
        return status, answer

    def talk() -> None:
        faults.append(WebFault("token", "client_credentials", act=False))
        faults.append(WebFault("revoke", act=False))
        faults.append(WebFault("token", "refresh_token", nth=1, act=False))
        with pytest.raises(ValueError, match="Expecting value"):
            ask()
        faults.append(WebFault("token", nth=2, act=False, answer=ENTRA[700082]))
        status, answer = ask()
        assert status == 400
        assert answer["error_codes"] == [700082]
        assert answer["error_description"].startswith("AADSTS700082: ")
        faults.append(WebFault("token", nth=3, cut=True))
        with pytest.raises(http.client.IncompleteRead):
            ask()
        assert ask()[0] == 400  # it had acted, so that the token was used up

    await in_thread(talk)
    assert [request[-3:] for request in sandbox.token_service.requests] == ["503", "400", "200", "400"]


async def test_a_fault_can_change_or_delay_a_response(sandbox: Sandbox) -> None:
    sandbox.provider.register("app", "s", [USER])
    faults = sandbox.token_service.faults
    form = {"grant_type": "client_credentials", "client_id": "app", "client_secret": "s"}

    def talk() -> None:
        faults.append(WebFault("token", nth=1, alter=lambda answer: {**answer, "expires_in": "soon"}))
        status, answer, _ = fetch(f"{sandbox.issuer}/token", **form)
        assert (status, answer["expires_in"]) == (200, "soon")
        assert sandbox.provider.find(answer["access_token"])
        faults.append(WebFault("token", nth=2, delay=0.2))
        began = time.monotonic()
        assert fetch(f"{sandbox.issuer}/token", **form)[0] == 200
        assert time.monotonic() - began >= 0.2
        faults.append(WebFault("metadata", act=False, answer=PORTAL))
        assert "<html>" in visit(sandbox, "/.well-known/openid-configuration")[1]
        faults.append(WebFault("token", nth=3, delay=math.inf))
        with closing(http.client.HTTPConnection(sandbox.issuer.removeprefix("http://"), timeout=0.2)) as connection:
            connection.request("POST", "/token", urllib.parse.urlencode(form))
            with pytest.raises(TimeoutError):
                connection.getresponse()

    await in_thread(talk)


@pytest.mark.parametrize("ahead", [0, -3_000_000, 86_400])
async def test_the_date_header_has_the_providers_clock(sandbox: Sandbox, ahead: float) -> None:
    sandbox.provider.clock_ahead = ahead
    for answer in (None, ScriptedResponse(500, {})):
        if answer is not None:
            sandbox.token_service.faults.append(WebFault("metadata", act=False, answer=answer))
        began = time.time()
        with closing(http.client.HTTPConnection(sandbox.issuer.removeprefix("http://"), timeout=120)) as connection:
            await in_thread(connection.request, "GET", "/.well-known/openid-configuration")
            response = await in_thread(connection.getresponse)
            await in_thread(response.read)
        [date] = response.headers.get_all("Date")
        # It has whole seconds.
        assert began - 1 <= email.utils.parsedate_to_datetime(date).timestamp() - ahead <= time.time() + 1


def test_every_refusal_has_its_source() -> None:
    assert all(said.source for said in (*ENTRA.values(), *GOOGLE.values(), PORTAL))
    for number, said in ENTRA.items():
        assert isinstance(said.body, dict)
        assert said.body["error_codes"] == [number]
