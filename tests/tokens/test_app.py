"""Applications that sign in themselves: with a secret, a certificate, or a service account's key."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lab.key_pair import KeyPair, make_key_pair
from mailslot import InputError
from mailslot.oauth.client import ClientCertificate
from mailslot.oauth.http import TokenHttp
from mailslot.oauth.response import TokenServiceResponse
from mailslot.oauth.token_error_table import Remedy
from mailslot.oauth.token_errors import TokenServiceError
from mailslot.wire.secret import Secret
from mailslot_plugins.sandbox import ENTRA, GOOGLE, WebFault
from mailslot_plugins.tokens.app import AppFlow
from mailslot_plugins.tokens.service_account import ServiceAccountFlow
from tokens.people import USER, NoPrompt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mailslot.oauth.client import OAuthClient
    from mailslot.oauth.response import TokenServiceResponse
    from mailslot_plugins.sandbox import Sandbox, ScriptedResponse

pytestmark = pytest.mark.virtual_time

ROBOT = "robot@project.iam.gserviceaccount.example"


@pytest.fixture(scope="module")
def key_pair() -> KeyPair:
    return make_key_pair("mailslot")


def public(key_pair: KeyPair) -> str:
    certificate = x509.load_pem_x509_certificate(key_pair.certificate.encode())
    return certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture
def app(sandbox: Sandbox, panel: OAuthClient) -> OAuthClient:
    sandbox.provider.register("app", "s3cret", [USER])
    return replace(panel, client_id="app", client_secret=Secret("s3cret"), scopes=("mail.send",))


@pytest.fixture
def certified(sandbox: Sandbox, panel: OAuthClient, key_pair: KeyPair) -> OAuthClient:
    sandbox.provider.register("certified", mailboxes=[USER], key=public(key_pair))
    certificate = ClientCertificate(Secret(key_pair.key), key_pair.certificate)
    return replace(panel, client_id="certified", certificate=certificate, scopes=("mail.send",))


@pytest.fixture
def robot(sandbox: Sandbox, panel: OAuthClient, key_pair: KeyPair) -> OAuthClient:
    sandbox.provider.register(ROBOT, mailboxes=[USER], key=public(key_pair))
    return robot_of(panel, key_file(key_pair))


def robot_of(panel: OAuthClient, file: str) -> OAuthClient:
    provider = replace(panel.provider, refused_flows={})
    return replace(panel, provider=provider, client_id="1234", client_secret=Secret(file), scopes=("mail.send",))


def key_file(key_pair: KeyPair, **changed: object) -> str:
    """What Google Cloud gives for a service account."""
    members = {
        "type": "service_account",
        "project_id": "project",
        "private_key_id": "f00d",
        "private_key": key_pair.key,
        "client_email": ROBOT,
        "client_id": "1234",
        "token_uri": "https://evil.example/token",
    }
    return json.dumps({name: value for name, value in {**members, **changed}.items() if value is not None})


@pytest.mark.parametrize("post", [False, True])
async def test_with_a_secret(sandbox: Sandbox, app: OAuthClient, http: TokenHttp, post: bool) -> None:
    way = "client_secret_post" if post else "client_secret_basic"
    quirks = replace(app.provider.quirks, client_authentication=way)
    client = replace(app, provider=replace(app.provider, quirks=quirks))
    flow = AppFlow()
    grant = await flow.obtain(client, http, NoPrompt())
    assert (grant.flow, grant.refresh_token, grant.scopes) == ("app", None, ("mail.send",))
    renewed = await flow.refresh(client, http, grant)
    assert renewed.access_token not in {None, grant.access_token}
    assert renewed.obtained_at == grant.obtained_at
    assert renewed.access_token
    assert sandbox.provider.check(renewed.access_token.reveal(), USER, "mail.send") is None


async def test_default_scope_requests_all_permissions(sandbox: Sandbox, app: OAuthClient, http: TokenHttp) -> None:
    grant = await AppFlow().obtain(replace(app, scopes=("https://outlook.office365.com/.default",)), http, NoPrompt())
    assert set(grant.scopes) == sandbox.provider.scopes


async def test_without_a_secret(panel: OAuthClient, http: TokenHttp) -> None:
    with pytest.raises(InputError, match="needs a client secret or a certificate"):
        await AppFlow().obtain(panel, http, NoPrompt())


@pytest.mark.parametrize("algorithm", ["RS256", "PS256"])
async def test_with_a_certificate(
    sandbox: Sandbox, certified: OAuthClient, http: TokenHttp, key_pair: KeyPair, algorithm: str
) -> None:
    quirks = replace(certified.provider.quirks, assertion_algorithm=algorithm)
    client = replace(certified, provider=replace(certified.provider, quirks=quirks))
    flow = AppFlow()
    grant = await flow.obtain(client, http, NoPrompt())
    for _ in range(2):
        grant = await flow.refresh(client, http, grant)
    assertions = sandbox.token_service.assertions
    assert len({claims["jti"] for claims in assertions.claims}) == 3
    octets = x509.load_pem_x509_certificate(key_pair.certificate.encode()).public_bytes(Encoding.DER)
    thumbprint = base64.urlsafe_b64encode(hashlib.sha256(octets).digest()).rstrip(b"=").decode()
    for header, claims in zip(assertions.headers, assertions.claims, strict=True):
        assert header["alg"] == algorithm
        assert header["x5t#S256"] == thumbprint
        assert claims["iss"] == claims["sub"] == "certified"
        assert claims["aud"] == f"{sandbox.issuer}/token"
        assert 0 < claims["exp"] - time.time() <= 300
    assert sandbox.token_service.requests == ["token client_credentials 200"] * 3


async def test_with_another_applications_certificate(sandbox: Sandbox, certified: OAuthClient, http: TokenHttp) -> None:
    other = make_key_pair("other")
    client = replace(certified, certificate=ClientCertificate(Secret(other.key), other.certificate))
    with pytest.raises(TokenServiceError) as refused:
        await AppFlow().obtain(client, http, NoPrompt())
    assert (refused.value.cause, refused.value.remedy) == ("app_secret_invalid", Remedy.CONFIGURATION)
    assert not sandbox.token_service.assertions.claims


@pytest.mark.parametrize("hours", [-5, 5, 24 * 365 * 20])
@pytest.mark.parametrize("who", ["certified", "robot"])
async def test_with_a_wrong_clock(
    sandbox: Sandbox, http: TokenHttp, certified: OAuthClient, robot: OAuthClient, who: str, hours: float
) -> None:
    """The service's own clock is learnt from its first refusal, and the second assertion is dated by it."""
    client = certified if who == "certified" else robot
    sandbox.provider.clock_ahead = hours * 3600.0
    flow = AppFlow() if who == "certified" else ServiceAccountFlow()
    grant = await flow.obtain(client, http, NoPrompt())
    assert abs(grant.skew - hours * 3600) < 5
    await flow.refresh(client, http, grant)
    assert [request.rpartition(" ")[2] for request in sandbox.token_service.requests] == [
        "401" if who == "certified" else "400",
        "200",
        "200",
    ]


@pytest.mark.parametrize("hours", [3.0, -3.0])
@pytest.mark.parametrize("who", ["certified", "service account"])
async def test_the_clock_is_set_right_later(
    sandbox: Sandbox, http: TokenHttp, certified: OAuthClient, robot: OAuthClient, who: str, hours: float
) -> None:
    """As on a device that starts without the time: what was learnt of its clock holds no more."""
    client = certified if who == "certified" else robot
    flow = AppFlow() if who == "certified" else ServiceAccountFlow()
    sandbox.provider.clock_ahead = hours * 3600.0
    grant = await flow.obtain(client, http, NoPrompt())
    sandbox.provider.clock_ahead = 0.0
    refreshed = await flow.refresh(client, http, grant)
    assert refreshed.access_token not in {None, grant.access_token}
    assert abs(refreshed.skew) < 5


async def test_a_service_account(sandbox: Sandbox, robot: OAuthClient, http: TokenHttp) -> None:
    flow = ServiceAccountFlow()
    grant = await flow.obtain(robot, http, NoPrompt())
    assert (grant.flow, grant.refresh_token, grant.scopes) == ("service_account", None, ("mail.send",))
    renewed = await flow.refresh(robot, http, grant)
    assert renewed.access_token not in {None, grant.access_token}
    assert renewed.access_token
    assert sandbox.provider.check(renewed.access_token.reveal(), USER, "mail.send") is None
    assertions = sandbox.token_service.assertions
    assert assertions.headers[0] == {"alg": "RS256", "typ": "JWT", "kid": "f00d"}
    claims = assertions.claims[0]
    assert 0 < claims.pop("exp") - claims.pop("iat") <= 3600
    assert claims.pop("nbf") <= time.time()
    assert claims.pop("jti") != assertions.claims[1]["jti"]
    assert claims == {"iss": ROBOT, "sub": USER, "scope": "mail.send", "aud": f"{sandbox.issuer}/token"}
    assert sandbox.token_service.requests == ["token urn:ietf:params:oauth:grant-type:jwt-bearer 200"] * 2


async def test_the_key_file_is_never_sent(robot: OAuthClient) -> None:
    sent: list[tuple[dict[str, str | Secret], OAuthClient | None]] = []

    class Watched(TokenHttp):
        async def post(
            self, url: str, form: Mapping[str, str | Secret], *, client: OAuthClient | None = None
        ) -> TokenServiceResponse:
            sent.append((dict(form), client))
            return await super().post(url, form, client=client)

    async with Watched(trust_env=False) as http:
        await ServiceAccountFlow().obtain(robot, http, NoPrompt())
    [(form, client)] = sent
    assert set(form) == {"grant_type", "assertion"}
    assert client is not None
    assert (client.client_id, client.client_secret, client.certificate) == ("", None, None)


async def test_a_service_account_without_delegation(robot: OAuthClient, http: TokenHttp) -> None:
    with pytest.raises(TokenServiceError) as refused:
        await ServiceAccountFlow().obtain(replace(robot, account="boss@example.com"), http, NoPrompt())
    assert (refused.value.cause, refused.value.remedy) == ("consent_missing", Remedy.CONFIGURATION)


@pytest.mark.parametrize(
    "file",
    [
        lambda _: "",
        lambda _: "GOCSPX-abc",
        lambda _: "[]",
        lambda pair: key_file(pair)[:-20],
        lambda pair: key_file(pair, type="authorized_user"),
        lambda pair: key_file(pair, client_email=None),
        lambda pair: key_file(pair, private_key=None),
        lambda pair: key_file(pair, private_key=5),
    ],
)
async def test_invalid_key_files(
    sandbox: Sandbox, panel: OAuthClient, http: TokenHttp, key_pair: KeyPair, file: Callable[[KeyPair], str]
) -> None:
    secret = file(key_pair)
    with pytest.raises(InputError, match="the whole JSON that Google Cloud gave") as refused:
        await ServiceAccountFlow().obtain(robot_of(panel, secret), http, NoPrompt())
    assert refused.value.cause == "app_secret_invalid"
    assert refused.value.__cause__ is None
    assert not sandbox.token_service.requests


async def test_a_key_file_without_a_key(
    sandbox: Sandbox, panel: OAuthClient, http: TokenHttp, key_pair: KeyPair
) -> None:
    file = key_file(key_pair, private_key=key_pair.key.replace("\n", "\nA", 1))
    with pytest.raises(InputError) as refused:
        await ServiceAccountFlow().obtain(robot_of(panel, file), http, NoPrompt())
    assert refused.value.cause == "app_secret_invalid"
    assert not sandbox.token_service.requests


@pytest.mark.parametrize(
    ("said", "cause", "kind"),
    [
        (ENTRA[7000215], "app_secret_invalid", Remedy.CONFIGURATION),
        (ENTRA[7000222], "app_secret_expired", Remedy.CONFIGURATION),
        (ENTRA[7000218], "app_type_wrong", Remedy.CONFIGURATION),
        (ENTRA[700025], "app_type_wrong", Remedy.CONFIGURATION),
        (ENTRA[700016], "app_or_tenant_unknown", Remedy.CONFIGURATION),
        (ENTRA[53003], "sign_in_blocked_by_policy", Remedy.CONFIGURATION),
        (ENTRA[90033], "token_service_busy", Remedy.WAIT),
        (GOOGLE["not delegated"], "consent_missing", Remedy.CONFIGURATION),
        (GOOGLE["no such client"], "app_or_tenant_unknown", Remedy.CONFIGURATION),
    ],
)
async def test_refusals(
    sandbox: Sandbox, app: OAuthClient, http: TokenHttp, said: ScriptedResponse, cause: str, kind: Remedy
) -> None:
    assert said.source
    sandbox.token_service.faults.append(WebFault("token", act=False, answer=said))
    with pytest.raises(TokenServiceError) as refused:
        await AppFlow().obtain(app, http, NoPrompt())
    assert (refused.value.cause, refused.value.remedy) == (cause, kind)


async def test_providers_that_do_not_allow_it(app: OAuthClient, http: TokenHttp) -> None:
    for flow in (AppFlow(), ServiceAccountFlow()):
        provider = replace(app.provider, refused_flows={flow.name: "Somebody has to sign in."})
        with pytest.raises(InputError, match="Somebody has to sign in"):
            await flow.obtain(replace(app, provider=provider), http, NoPrompt())
