"""Sign-ins of staff: their states, and the checks of the ID token, at a provider that sends anything."""

from __future__ import annotations

import base64
import hmac
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from mailslot.errors import MailError
from mailslot.oauth.http import TokenHttp
from mailslot.wire.secret import Secret
from mailslot_plugins.panel.fleet.openid import OpenIdProvider, SignInStates
from mailslot_plugins.panel.fleet.settings import OpenIdSettings
from oauth.scripted_service import http_response, run_scripted_service

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from oauth.scripted_service import Request

SESSION = "s" * 43
SIGNED_OUT = "https://fleet.example.com/sign-in"
KEYS = {name: RSAKey.generate_key(2048, {"kid": name}) for name in ("one", "two")}


@dataclass
class Issuer:
    """A provider that issues what a test wants.

    Attributes:
        url: its issuer identifier.
        known: the keys that it publishes.
        key: the key that it signs with.
        changes: what differs from a good ID token; None for a claim that is missing.
        token: the ID token that it sends; None for one that is made, empty for none.
        forge: what is done to an ID token that is made.
        paths: the paths that were requested.
        clock: what the client takes for its monotonic clock.
        more: what its metadata contain besides.
    """

    url: str = ""
    known: list[str] = field(default_factory=lambda: ["one"])
    key: Any = field(default_factory=lambda: KEYS["one"])
    changes: dict[str, object] = field(default_factory=dict[str, object])
    token: str | None = None
    forge: Callable[[str], str] = str
    nonce: str = ""
    paths: list[str] = field(default_factory=list[str])
    clock: float = 1000.0
    more: dict[str, object] = field(default_factory=dict[str, object])

    def answer(self, request: Request) -> bytes:
        self.paths.append(request.path)
        if request.path == "/jwks":
            return http_response(KeySet([KEYS[name] for name in self.known]).as_dict(private=False))
        if request.path == "/token":
            issued = self.forge(self.issue()) if self.token is None else self.token
            return http_response({"access_token": "a", "token_type": "Bearer", "expires_in": 60, "id_token": issued})
        metadata = {
            name: f"{self.url}/{name.partition('_')[0]}" for name in ("authorization_endpoint", "token_endpoint")
        }
        return http_response({"issuer": self.url, "jwks_uri": f"{self.url}/jwks", **metadata, **self.more})

    def issue(self) -> str:
        now = int(time.time())
        good = {"iss": self.url, "aud": "fleet", "sub": "1", "exp": now + 60, "iat": now, "nonce": self.nonce}
        claims = {name: value for name, value in {**good, **self.changes}.items() if value is not None}
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.key)


@asynccontextmanager
async def signing_in(issuer: Issuer) -> AsyncGenerator[OpenIdProvider]:
    async with run_scripted_service(issuer.answer) as service, TokenHttp() as http:
        issuer.url = service.url
        settings = OpenIdSettings(service.url, "fleet", Secret("secret"), ("openid",), "groups", None, ())
        redirect_uri = "https://fleet.example.com/sign-in/callback"
        yield OpenIdProvider(settings, redirect_uri, SIGNED_OUT, http, monotonic=lambda: issuer.clock)


async def finish(issuer: Issuer, provider: OpenIdProvider) -> Any:
    begun = SignInStates(lambda: 0.0).begin(SESSION, "/")
    issuer.nonce = begun.secrets.nonce.reveal()
    return (await provider.identify(begun, {"code": "c", "state": begun.secrets.state.reveal()})).claims


async def test_a_good_token() -> None:
    issuer = Issuer(changes={"groups": ["x"], "azp": "fleet", "aud": ["fleet"]})
    async with signing_in(issuer) as provider:
        claims = await finish(issuer, provider)
        assert (claims["sub"], claims["groups"]) == ("1", ["x"])
        await finish(issuer, provider)
        # Metadata and keys are asked for once an hour.
        assert len(issuer.paths) == 4
        issuer.clock += 3601
        await finish(issuer, provider)
        assert issuer.paths.count("/jwks") == 2


@pytest.mark.parametrize(
    "changes",
    [
        *({"iss": "https://evil.example"}, {"aud": "another"}, {"aud": ["another", "fleet"]}, {"nonce": "x"}),
        *({"exp": 1}, {"iat": 99_999_999_999}, {"nbf": 99_999_999_999}, {"azp": "another"}, {"sub": 7}),
        *({name: None} for name in ("iss", "aud", "exp", "iat", "nonce", "sub")),
    ],
    ids=str,
)
async def test_tokens_that_are_not_for_this(changes: dict[str, object]) -> None:
    issuer = Issuer(changes=changes)
    async with signing_in(issuer) as provider:
        with pytest.raises(MailError) as raised:
            await finish(issuer, provider)
        assert raised.value.cause == "token_not_retrieved"


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0."])
async def test_what_is_no_token(token: str) -> None:
    issuer = Issuer(token=token)
    async with signing_in(issuer) as provider:
        with pytest.raises(MailError):
            await finish(issuer, provider)


async def test_signatures() -> None:
    """By a key that is not published, and by what is no secret: the public key."""
    issuer = Issuer(key=KEYS["two"])
    async with signing_in(issuer) as provider:
        with pytest.raises(MailError):
            await finish(issuer, provider)
    issuer = Issuer()
    async with signing_in(issuer) as provider:
        issuer.forge = _sign_with_public_key
        with pytest.raises(MailError):
            await finish(issuer, provider)


def _sign_with_public_key(token: str) -> str:
    signed = f"{_encoded(json.dumps({'alg': 'HS256', 'kid': 'one'}).encode())}.{token.split('.')[1]}"
    return f"{signed}.{_encoded(hmac.digest(KEYS['one'].as_pem(private=False), signed.encode(), 'sha256'))}"


def _encoded(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


async def test_a_new_key_is_asked_for() -> None:
    issuer = Issuer()
    async with signing_in(issuer) as provider:
        await finish(issuer, provider)
        issuer.key, issuer.known = KEYS["two"], ["one", "two"]
        # Not with every wrong token.
        with pytest.raises(MailError):
            await finish(issuer, provider)
        assert issuer.paths.count("/jwks") == 1
        issuer.clock += 31
        await finish(issuer, provider)
        assert issuer.paths.count("/jwks") == 2


async def test_a_provider_that_does_not_answer_is_not_asked_by_everybody() -> None:
    asked: list[str] = []

    def answer(request: Request) -> bytes:
        asked.append(request.path)
        return http_response(status=503)

    async with run_scripted_service(answer) as service, TokenHttp() as http:
        settings = OpenIdSettings(service.url, "fleet", None, ("openid",), "groups", None, ())
        clock = [0.0]
        provider = OpenIdProvider(settings, "https://f.example/x", SIGNED_OUT, http, monotonic=lambda: clock[0])
        begun = SignInStates(lambda: 0.0).begin(SESSION, "/")
        for seconds, number in ((0, 1), (1, 1), (5, 2)):
            clock[0] += seconds
            with pytest.raises(MailError):
                await provider.address(begun)
            assert len(asked) == number
        # Whoever signs out does so here.
        assert await provider.sign_out_address(None, "state") is None


@pytest.mark.parametrize(
    ("endpoint", "begins"),
    [
        ("{}/end", "{}/end?client_id=fleet&"),
        ("{}/end?p=x", "{}/end?p=x&client_id=fleet&"),
        *((endpoint, None) for endpoint in (None, 7, "", "http://login.example/end", "javascript:alert(1)")),
    ],
)
async def test_where_people_sign_out(endpoint: object, begins: str | None) -> None:
    """An endpoint that cannot be used keeps nobody from signing in."""
    issuer = Issuer()
    async with signing_in(issuer) as provider:
        issuer.more["end_session_endpoint"] = endpoint.format(issuer.url) if isinstance(endpoint, str) else endpoint
        await finish(issuer, provider)
        address = await provider.sign_out_address(Secret("a.b.c"), "s t")
        if begins is None:
            assert address is None
            return
        assert address is not None
        assert address.startswith(begins.format(issuer.url))
        query = parse_qs(urlsplit(address).query)
        assert query["post_logout_redirect_uri"] == [SIGNED_OUT]
        assert (query["state"], query["id_token_hint"]) == (["s t"], ["a.b.c"])
        # An address has not room for any token.
        long = await provider.sign_out_address(Secret("x" * 5000), "s")
        assert long is not None
        assert len(long) < 1000


def test_states() -> None:
    clock = [0.0]
    states = SignInStates(lambda: clock[0])
    begun = states.begin(SESSION, "/tenants?search=ü")
    state = begun.secrets.state.reveal()
    found = states.find(SESSION, state)
    assert found == begun
    assert begun != states.begin(SESSION, "/tenants?search=ü")
    assert len({begun.secrets.state.reveal(), begun.secrets.verifier.reveal(), begun.secrets.nonce.reveal()}) == 3
    for other in ("", ".", "ü", "x.y", state[:-1], f"{state}x", state.replace(".", "x.", 1)):
        assert states.find(SESSION, other) is None
    assert states.find("t" * 43, state) is None
    # Any process of the panel can go on with it.
    assert SignInStates(lambda: -60.0).find(SESSION, state) == begun
    clock[0] = 601.0
    assert states.find(SESSION, state) is None


@pytest.mark.parametrize("document", ["", "7", "{}", "[]", '["x", "y", "/"]', "[" * 9_000])
def test_states_that_the_owner_of_a_session_makes(document: str) -> None:
    """Whoever has the session can compute its states, and harms nobody by it."""
    states = SignInStates(lambda: 0.0)
    state = states._state(SESSION, _encoded(document.encode()))
    assert states.find(SESSION, state) is None


def test_states_of_sign_outs() -> None:
    states = SignInStates(lambda: 0.0)
    assert states.sign_out(SESSION) == SignInStates(lambda: 9.0).sign_out(SESSION)
    assert states.sign_out(SESSION) != states.sign_out("t" * 43)
