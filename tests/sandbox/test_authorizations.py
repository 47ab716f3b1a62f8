"""Authorization codes, device codes, refresh tokens and assertions of the simulated provider."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mailslot_plugins.sandbox.assertions import Assertions
from mailslot_plugins.sandbox.authorizations import PendingAuthorizations
from mailslot_plugins.sandbox.provider import GrantError, Provider
from sandbox.raw_client import USER

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot_plugins.sandbox.provider import Client

VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
HERE = "http://127.0.0.1:5000"
ISSUER = "http://localhost:1"


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider(clock: Clock) -> Provider:
    return Provider(ISSUER, ["mail.pop", "mail.send"], clock=clock)


@pytest.fixture
def authorizations(provider: Provider) -> PendingAuthorizations:
    return PendingAuthorizations(provider)


@pytest.fixture
def panel(provider: Provider) -> Client:
    return provider.register("panel")


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(GrantError) as refused:
        act()
    return refused.value.error


def test_an_authorization_code_is_valid_once_for_its_request(
    provider: Provider, authorizations: PendingAuthorizations, panel: Client, clock: Clock
) -> None:
    def code() -> str:
        return authorizations.authorize(USER, panel, ["mail.send"], redirect_uri=HERE, challenge=CHALLENGE)

    assert refusal(lambda: authorizations.redeem(panel, code(), HERE, "w" * 43)) == "invalid_grant"
    assert refusal(lambda: authorizations.redeem(panel, code(), f"{HERE}/", VERIFIER)) == "invalid_grant"
    assert refusal(lambda: authorizations.redeem(provider.register("other"), code(), HERE, VERIFIER)) == "invalid_grant"
    assert refusal(lambda: authorizations.redeem(panel, "unknown", HERE, VERIFIER)) == "invalid_grant"
    once = code()
    issued = authorizations.redeem(panel, once, HERE, VERIFIER)
    value = issued.token.value.reveal()
    assert provider.check(value, USER, "mail.send") is None
    assert provider.check(value, USER, "mail.pop") == "token"
    assert refusal(lambda: authorizations.redeem(panel, once, HERE, VERIFIER)) == "invalid_grant"
    assert provider.check(value, USER, "mail.send") == "token"  # RFC 6749 section 4.1.2
    late = code()
    clock.now += 60
    assert refusal(lambda: authorizations.redeem(panel, late, HERE, VERIFIER)) == "invalid_grant"


def test_openid_scopes_add_an_id_token_and_refresh_token(provider: Provider, panel: Client) -> None:
    plain = provider.complete_sign_in(USER, panel, ["mail.send"])
    assert plain.refresh_token is None
    assert plain.id_token is None
    issued = provider.complete_sign_in(USER, panel, ["openid", "offline_access", "mail.send"], nonce="n")
    assert issued.scopes == {"mail.send"}
    assert issued.refresh_token
    assert issued.id_token
    claims = json.loads(base64.urlsafe_b64decode(issued.id_token.reveal().split(".")[1] + "=="))
    assert (claims["iss"], claims["aud"], claims["nonce"], claims["email"]) == (ISSUER, "panel", "n", USER)


def test_scopes(authorizations: PendingAuthorizations) -> None:
    assert authorizations.check_scopes("openid mail.send") == {"openid", "mail.send"}
    assert authorizations.check_scopes("openid") == {"openid", "mail.send", "mail.pop"}
    assert refusal(lambda: authorizations.check_scopes("mail.send calendar")) == "invalid_scope"


def test_the_device_flow(
    provider: Provider, authorizations: PendingAuthorizations, panel: Client, clock: Clock
) -> None:
    device = authorizations.authorize_device(panel, "mail.send")

    def fetch(after: float, client: Client = panel) -> str:
        clock.now += after
        return refusal(lambda: authorizations.redeem_device_code(client, device.code))

    assert fetch(5) == "authorization_pending"
    assert fetch(1) == "slow_down"
    assert fetch(5) == "slow_down"  # it has grown to 10
    assert fetch(15) == "authorization_pending"
    assert fetch(15, provider.register("other")) == "invalid_grant"
    assert authorizations.find("no-such") is None
    assert authorizations.find(device.user_code.lower().replace("-", " ")) is device
    device.user = USER
    assert authorizations.find(device.user_code) is None
    clock.now += 15
    assert (
        provider.check(authorizations.redeem_device_code(panel, device.code).token.value.reveal(), USER, "mail.send")
        is None
    )
    assert fetch(15) == "invalid_grant"


def test_a_declined_or_expired_device_code(authorizations: PendingAuthorizations, panel: Client, clock: Clock) -> None:
    declined, forgotten = authorizations.authorize_device(panel, ""), authorizations.authorize_device(panel, "")
    declined.denied = True
    clock.now += 5
    assert refusal(lambda: authorizations.redeem_device_code(panel, declined.code)) == "access_denied"
    clock.now += 900
    assert authorizations.find(forgotten.user_code) is None
    assert refusal(lambda: authorizations.redeem_device_code(panel, forgotten.code)) == "expired_token"


@pytest.mark.parametrize("rotation", ["none", "lax", "strict"])
def test_rotation(provider: Provider, panel: Client, rotation: Any) -> None:
    provider.rotation = rotation
    first = provider.consent(USER, panel).reveal()

    def renew(refresh_token: str) -> str:
        issued = provider.refresh(panel, refresh_token, "")
        assert issued.refresh_token
        return issued.refresh_token.reveal()

    second = renew(first)
    assert (second == first) == (rotation == "none")
    third = renew(second)
    if rotation == "strict":
        assert refusal(lambda: renew(first)) == "invalid_grant"
        assert refusal(lambda: renew(third)) == "invalid_grant"
    else:
        renew(first)
        renew(third)


def test_a_refused_refresh_does_not_use_up_the_token(provider: Provider, panel: Client) -> None:
    provider.rotation = "strict"
    refresh_token = provider.consent(USER, panel, ["mail.send"]).reveal()
    assert refusal(lambda: provider.refresh(panel, refresh_token, "mail.pop")) == "invalid_scope"
    assert refusal(lambda: provider.refresh(provider.register("other"), refresh_token, "")) == "invalid_grant"
    assert provider.refresh(panel, refresh_token, "").refresh_token


def test_the_provider_has_its_own_clock(provider: Provider, panel: Client, clock: Clock) -> None:
    provider.clock_ahead = 5000
    issued = provider.complete_sign_in(USER, panel, ["openid", "mail.send"])
    assert issued.expires_at == clock.now + 5000 + 3600
    provider.clock_ahead = 9000
    assert provider.find(issued.token.value.reveal()) is None


KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CLAIMS: dict[str, Any] = {
    "iss": "robot",
    "sub": "robot",
    "aud": f"{ISSUER}/token",
    "jti": "1",
    "iat": 999_990,
    "exp": 1_000_300,
}


def signed(claims: dict[str, Any], header: dict[str, Any] | None = None, key: rsa.RSAPrivateKey = KEY) -> str:
    parts = [json.dumps(part).encode() for part in (header or {"alg": "RS256"}, claims)]
    text = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
    signature = key.sign(text.encode(), PKCS1v15(), SHA256())
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


@pytest.fixture
def assertions(provider: Provider) -> Assertions:
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    provider.register("robot", mailboxes=[USER], key=pem)
    return Assertions(provider)


def test_an_assertion_is_valid_once(assertions: Assertions) -> None:
    assert assertions.authenticate(signed(CLAIMS)).id == "robot"
    assert refusal(lambda: assertions.authenticate(signed(CLAIMS))) == "invalid_client"
    assert assertions.authenticate(signed({**CLAIMS, "jti": "2"})).id == "robot"
    assert [claims["jti"] for claims in assertions.claims] == ["1", "1", "2"]


@pytest.mark.parametrize(
    "assertion",
    [
        "",
        "a.b.c",
        "e30.e30.e30",
        signed(CLAIMS)[:-4],
        signed(CLAIMS, {"alg": "none"}),
        signed(CLAIMS, key=rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        signed({**CLAIMS, "iss": "nobody"}),
        signed({**CLAIMS, "sub": "somebody"}),
        signed({**CLAIMS, "aud": "https://elsewhere.example/token"}),
        signed({**CLAIMS, "jti": None}),
        signed({**CLAIMS, "iat": 1_000_300, "exp": 1_000_600}),
        signed({**CLAIMS, "iat": 999_000, "exp": 999_300}),
        signed({**CLAIMS, "exp": 1_009_000}),
    ],
)
def test_other_assertions(assertions: Assertions, assertion: str) -> None:
    assert refusal(lambda: assertions.authenticate(assertion)) == "invalid_client"


def test_delegation(provider: Provider, assertions: Assertions) -> None:
    client, user, scope = assertions.verify_delegation(signed({**CLAIMS, "sub": USER, "scope": "mail.send"}))
    issued = provider.issue_delegated(client, user, scope)
    assert provider.check(issued.token.value.reveal(), USER, "mail.send") is None
    assert refusal(lambda: provider.issue_delegated(client, "boss@example.com", scope)) == "unauthorized_client"
    assert refusal(lambda: provider.issue_delegated(client, user, "calendar")) == "invalid_scope"
    assert refusal(lambda: assertions.verify_delegation("a.b.c")) == "invalid_grant"
