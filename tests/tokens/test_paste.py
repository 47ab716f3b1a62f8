"""The paste flow: lenient about how the address was copied, strict about whose it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

import anyio
import pytest

from mailslot import InputError, TokenError
from mailslot_plugins.tokens.authorization import AuthorizationAttempt
from mailslot_plugins.tokens.paste import PasteFlow, UnusablePasteError, parse_pasted
from tokens.people import USER, NoPrompt, ScriptedPerson, sign_in
from tokens.test_authorization import CLIENT, HERE, ISSUER

if TYPE_CHECKING:
    from mailslot.oauth.client import OAuthClient
    from mailslot.oauth.http import TokenHttp
    from mailslot_plugins.sandbox import Sandbox

pytestmark = pytest.mark.virtual_time

FLOW = PasteFlow()


def state_of(attempt: AuthorizationAttempt) -> str:
    return parse_qs(urlsplit(attempt.url).query)["state"][0]


@pytest.mark.parametrize(
    "shape",
    [
        "{here}/?{query}",
        "{here}?{query}",
        "  {here}/?{query}\n",
        '"{here}/?{query}"',
        "“{here}/?{query}”",
        "<{here}/?{query}>",
        "'{here}/?{query}' ",
        "{wrapped}",
        "127.0.0.1:50000/?{query}",
        "{query}",
        "?{query}",
        "/?{query}",
        "{here}/?{query}#",
        "{here}/?{query}#_=_",
        "{here}/#{query}",
        "#{query}",
        "HTTP://127.0.0.1:50000/?{query}",
    ],
)
def test_a_redirect_url_copied_in_any_form(shape: str) -> None:
    attempt = AuthorizationAttempt(CLIENT, HERE)
    answer = {"code": "4/0A%b+c=d ü", "state": state_of(attempt), "iss": ISSUER}
    whole = f"{HERE}/?{urlencode(answer)}"
    wrapped = "\n".join(whole[at : at + 40] for at in range(0, len(whole), 40))
    pasted = shape.format(here=HERE, query=urlencode(answer), wrapped=wrapped)
    assert parse_pasted(pasted, attempt) == answer
    assert attempt.code(parse_pasted(pasted, attempt)) == answer["code"]


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ("{here}/?code=c&state=other", "another attempt"),
        ("{here}/?error=access_denied&state=other", "another attempt"),
        ("{here}/?code=c", "end of that address is missing"),
        ("{here}/?code=c&state=", "end of that address is missing"),
        ("{here}/?state={state}", "not the whole address"),
        ("{here}", "not the whole address"),
        ("4/0AbCdEf", "not the whole address"),
        ("{here}/?code=a&code=b&state={state}", "not the whole address"),
        ("http://127.0.0.1:50001/?code=c&state={state}", "another address"),
        ("https://127.0.0.1:50000/?code=c&state={state}", "another address"),
        ("http://127.0.0.1:50000.evil.example/?code=c&state={state}", "another address"),
        ("http://127.0.0.1:50000@evil.example/?code=c&state={state}", "another address"),
        ("http://evil.example/http://127.0.0.1:50000/?code=c&state={state}", "another address"),
        ("http://localhost:50000/?code=c&state={state}", "another address"),
        ("{here}/other?code=c&state={state}", "another address"),
        ("http://[/?code=c&state={state}", "another address"),
        ("{address}", "another address"),
        ("evil.example/?code=c&state={state}", "not the whole address"),
    ],
)
def test_unusable_input_is_distinguished(shape: str, sentence: str) -> None:
    attempt = AuthorizationAttempt(CLIENT, HERE)
    with pytest.raises(UnusablePasteError, match=sentence):
        parse_pasted(shape.format(here=HERE, state=state_of(attempt), address=attempt.url), attempt)


def test_an_endless_paste() -> None:
    attempt = AuthorizationAttempt(CLIENT, HERE)
    with pytest.raises(UnusablePasteError):
        parse_pasted(f"{HERE}/?{'a' * 32_768}&code=c&state={state_of(attempt)}", attempt)


async def test_a_sign_in(sandbox: Sandbox, panel: OAuthClient, http: TokenHttp) -> None:
    person = ScriptedPerson(act=sign_in)
    grant = await FLOW.obtain(panel, http, person)
    assert (grant.flow, grant.account) == ("paste", USER)
    assert grant.access_token
    assert sandbox.provider.check(grant.access_token.reveal(), USER, "mail.pop") is None
    assert len(person.addresses) == 1


async def test_invalid_input_is_explained_and_requested_again(panel: OAuthClient, http: TokenHttp) -> None:
    earlier: list[str] = []

    async def act(address: str) -> str:
        earlier.append(address)
        match len(earlier):
            case 1:
                return address
            case 2:
                return (await sign_in(address)).partition("&")[0]
            case _:
                return await sign_in(address)

    person = ScriptedPerson(act=act)
    assert (await FLOW.obtain(panel, http, person)).access_token
    assert len(set(earlier)) == 1
    assert [text.split(".")[0] for text in person.told] == [
        "That is another address",
        "The end of that address is missing",
    ]


@pytest.mark.parametrize(
    ("pastes", "sentence", "asked"),
    [
        ([""], "No address was pasted", 1),
        (["nonsense", "\n"], "not the whole address", 2),
        (["nonsense"] * 9, "not the whole address", 5),
    ],
)
async def test_giving_up(panel: OAuthClient, http: TokenHttp, pastes: list[str], sentence: str, asked: int) -> None:
    async def act(address: str) -> str:
        return pastes[len(person.addresses) - 1]

    person = ScriptedPerson(act=act)
    with pytest.raises(TokenError, match=sentence) as refused:
        await FLOW.obtain(panel, http, person)
    assert refused.value.cause == "token_not_retrieved"
    assert len(person.addresses) == asked


async def test_a_refusal_is_final(panel: OAuthClient, http: TokenHttp) -> None:
    async def declined(address: str) -> str:
        return await sign_in(address, decision="deny")

    async def other_issuer(address: str) -> str:
        return (await sign_in(address)).replace("iss=http", "iss=https")

    for act, sentence in ((declined, "declined"), (other_issuer, "not from the provider")):
        person = ScriptedPerson(act=act)
        with pytest.raises(TokenError, match=sentence):
            await FLOW.obtain(panel, http, person)
        assert len(person.addresses) == 1


async def test_nobody_pastes(panel: OAuthClient, http: TokenHttp) -> None:
    async def act(address: str) -> str:
        await anyio.sleep_forever()
        return address

    with pytest.raises(TokenError, match="Nobody finished the sign-in"), anyio.fail_after(60):
        await PasteFlow(timeout=0.05).obtain(panel, http, ScriptedPerson(act=act))


async def test_fewer_scopes_are_kept_and_reported(sandbox: Sandbox, panel: OAuthClient, http: TokenHttp) -> None:
    async def act(address: str) -> str:
        return await sign_in(address, scope="openid mail.pop")

    grant = await FLOW.obtain(panel, http, ScriptedPerson(act=act))
    assert grant.scopes == ("mail.pop",)
    assert grant.access_token
    assert sandbox.provider.check(grant.access_token.reveal(), USER, "mail.pop") is None
    assert grant.refresh_token is None


async def test_localhost_if_the_provider_requires_it(panel: OAuthClient, http: TokenHttp) -> None:
    provider = replace(panel.provider, quirks=replace(panel.provider.quirks, loopback_host="localhost"))
    person = ScriptedPerson(act=sign_in)
    assert (await FLOW.obtain(replace(panel, provider=provider), http, person)).access_token
    assert "redirect_uri=http%3A%2F%2Flocalhost%3A" in person.addresses[0]


EXACT = "https://Printer.example:443/Signed/In?from=printer"


@pytest.mark.parametrize(
    "shape",
    [
        "https://printer.example/Signed/In?from=printer&{query}",
        "https://printer.example:443/Signed/In?from=printer&{query}",
        "https://printer.example/Signed/In/?{query}",
        "Printer.example:443/Signed/In?{query}",
        "{query}",
    ],
)
def test_a_configured_redirect_uri(shape: str) -> None:
    attempt = AuthorizationAttempt(CLIENT, EXACT)
    assert parse_qs(urlsplit(attempt.url).query)["redirect_uri"] == [EXACT]
    answer = {"code": "c", "state": state_of(attempt), "iss": ISSUER}
    found = parse_pasted(shape.format(query=urlencode(answer)), attempt)
    assert attempt.code(found) == "c"


@pytest.mark.parametrize(
    "address",
    [
        "http://printer.example/Signed/In",
        "https://printer.example:444/Signed/In",
        "https://printer.example:x/Signed/In",
        "https://printer.example/signed/in",
        "https://printer.example/",
        "https://printer.example.evil.example/Signed/In",
        "https://printer.example@evil.example/Signed/In",
    ],
)
def test_a_different_redirect_uri(address: str) -> None:
    attempt = AuthorizationAttempt(CLIENT, EXACT)
    with pytest.raises(UnusablePasteError, match="another address"):
        parse_pasted(f"{address}?code=c&state={state_of(attempt)}", attempt)


async def test_signing_in_with_a_configured_redirect_uri(sandbox: Sandbox, panel: OAuthClient, http: TokenHttp) -> None:
    exact = "http://127.0.0.1:8765"
    redirects: list[str] = []

    async def act(address: str) -> str:
        redirects.append(await sign_in(address))
        return redirects[0]

    grant = await FLOW.obtain(replace(panel, redirect_uri=exact), http, ScriptedPerson(act=act))
    assert grant.access_token
    assert redirects[0].startswith(f"{exact}?")


async def test_a_provider_without_loopback_redirects(panel: OAuthClient, http: TokenHttp) -> None:
    provider = replace(panel.provider, refused_flows={"paste": "Not here."})
    with pytest.raises(InputError, match="Not here"):
        await FLOW.obtain(replace(panel, provider=provider), http, NoPrompt())
