"""Client authentication, checked by an independent verifier, and by a token service with another clock."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import time
from dataclasses import replace
from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote_plus

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from joserfc import jwt
from joserfc.jwk import OctKey, import_key

from mailslot import InputError
from mailslot.oauth.certificate import certificate_expiry
from mailslot.oauth.client import ClientCertificate, OAuthClient
from mailslot.oauth.http import TokenHttp
from mailslot.oauth.request import TokenRequest as Prepared
from mailslot.oauth.request import prepare_request
from mailslot.wire.secret import Secret
from oauth.scripted_service import client, http_response, run_scripted_service

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

    from oauth.scripted_service import Request, ScriptedAnswer

pytestmark = pytest.mark.virtual_time

NOW = 1_800_000_000.0
URL = "https://issuer.test/token"
ENDS = dt.datetime(2035, 1, 1, tzinfo=dt.UTC)


def pair(key: CertificateIssuerPrivateKeyTypes, password: bytes | None = None) -> ClientCertificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "scanner")])
    certificate = x509.CertificateBuilder(name, name, key.public_key(), 1, ENDS - dt.timedelta(days=9999), ENDS).sign(
        key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    )
    hidden = BestAvailableEncryption(password) if password else NoEncryption()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden)
    return ClientCertificate(Secret(pem.decode()), certificate.public_bytes(Encoding.PEM).decode())


@pytest.fixture(scope="module")
def rsa_pair() -> ClientCertificate:
    return pair(rsa.generate_private_key(65537, 2048))


def with_certificate(certificate: ClientCertificate, **quirks: object) -> OAuthClient:
    return replace(client(secret="ignored", **quirks), certificate=certificate)


def prove(oauth_client: OAuthClient) -> Prepared:
    return prepare_request(URL, {}, oauth_client, now=NOW)


def form(request: Prepared) -> dict[str, str]:
    return dict(parse_qsl(request.body, strict_parsing=bool(request.body)))


def test_a_public_client_sends_no_secret() -> None:
    request = prove(client())
    assert form(request) == {"client_id": "the client"}
    assert "Authorization" not in request.headers


def test_a_provider_that_requires_a_client_secret() -> None:
    with pytest.raises(InputError, match="set client_secret"):
        prove(client(secret_required=True))
    assert prove(client(secret="s", secret_required=True)).headers["Authorization"]
    assert form(prove(replace(client(secret_required=True), client_id=""))) == {}


@pytest.mark.parametrize("secret", ["simple", "a:b", "50%", "a+b c", "ü€", "~.-_"])
def test_basic_encodes_each_half(secret: str) -> None:
    request = prove(client(secret=secret))
    assert form(request) == {}
    scheme, _, coded = request.headers["Authorization"].partition(" ")
    name, _, password = base64.b64decode(coded, validate=True).decode("ascii").partition(":")
    assert (scheme, unquote_plus(name), unquote_plus(password)) == ("Basic", "the client", secret)


def test_post() -> None:
    request = prove(client(secret="the-secret", client_authentication="client_secret_post"))
    assert form(request) == {"client_id": "the client", "client_secret": "the-secret"}
    assert "Authorization" not in request.headers
    assert "the-secret" not in repr(request)


def test_an_assertion_by_secret() -> None:
    secret = "a secret of many characters, as servers give them"
    requests = [prove(client(secret=secret, client_authentication="client_secret_jwt")) for _ in range(2)]
    tokens = [jwt.decode(form(request)["client_assertion"], OctKey.import_key(secret)) for request in requests]
    for request, token in zip(requests, tokens, strict=True):
        assert form(request)["client_id"] == token.claims["iss"] == token.claims["sub"] == "the client"
        assert token.claims["aud"] == URL
        assert token.header["alg"] == "HS256"
        assert secret not in repr(request) + request.body
        assert Secret(form(request)["client_assertion"]) in request.secrets
    assert tokens[0].claims["jti"] != tokens[1].claims["jti"]


@pytest.mark.parametrize("algorithm", ["RS256", "PS256"])
def test_an_rsa_certificate(rsa_pair: ClientCertificate, algorithm: str) -> None:
    _check(with_certificate(rsa_pair, assertion_algorithm=algorithm), algorithm, "RSA")


@pytest.mark.parametrize(("curve", "algorithm"), [(ec.SECP256R1(), "ES256"), (ec.SECP384R1(), "ES384")])
def test_an_elliptic_certificate(curve: ec.EllipticCurve, algorithm: str) -> None:
    _check(with_certificate(pair(ec.generate_private_key(curve)), assertion_algorithm="PS256"), algorithm, "EC")


def _check(oauth_client: OAuthClient, algorithm: str, kind: str) -> None:
    assert oauth_client.certificate is not None
    proofs = [form(prove(oauth_client)) for _ in range(2)]
    certificate = x509.load_pem_x509_certificate(oauth_client.certificate.certificate.encode())
    key = import_key(oauth_client.certificate.key.reveal(), kind)
    ids = set()
    for proof in proofs:
        assert proof["client_id"] == "the client"
        assert proof["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        token = jwt.decode(proof["client_assertion"], key, algorithms=[algorithm])
        thumbprint = hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()
        assert token.header["x5t#S256"] == base64.urlsafe_b64encode(thumbprint).decode().rstrip("=")
        claims = token.claims
        ids.add(claims.pop("jti"))
        times = {name: claims.pop(name) for name in ("iat", "nbf", "exp")}
        assert claims == {"iss": "the client", "sub": "the client", "aud": URL}
        assert times["iat"] == times["nbf"] <= NOW < times["exp"] <= NOW + 600
    assert len(ids) == 2


class TestUnusable:
    def test_the_expiry_of_a_certificate(self, rsa_pair: ClientCertificate) -> None:
        assert certificate_expiry(rsa_pair) == ENDS.timestamp()

    @pytest.mark.parametrize(
        "text", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----"]
    )
    def test_no_certificate(self, rsa_pair: ClientCertificate, text: str) -> None:
        _refused(replace(rsa_pair, certificate=text), "certificate cannot be used")

    def test_no_key(self, rsa_pair: ClientCertificate) -> None:
        _refused(replace(rsa_pair, key=Secret("not-a-key")), "private key cannot be used")

    def test_an_encrypted_key(self) -> None:
        _refused(pair(ec.generate_private_key(ec.SECP256R1()), b"password"), "not encrypted")

    def test_a_key_of_another_certificate(self, rsa_pair: ClientCertificate) -> None:
        other = pair(ec.generate_private_key(ec.SECP256R1()))
        with pytest.raises(InputError, match="does not belong"):
            certificate_expiry(replace(rsa_pair, key=other.key))
        with pytest.raises(InputError, match="right kind"):
            prove(with_certificate(replace(rsa_pair, key=other.key)))

    def test_an_unsupported_key_type(self) -> None:
        _refused(pair(ed25519.Ed25519PrivateKey.generate()), "use RSA")


def _refused(certificate: ClientCertificate, because: str) -> None:
    for call in (lambda: certificate_expiry(certificate), lambda: prove(with_certificate(certificate))):
        with pytest.raises(InputError, match=because) as caught:
            call()
        assert caught.value.cause == "app_secret_invalid"
        assert "not-a-key" not in repr((caught.value, caught.value.detail, caught.value.__cause__))


async def test_a_wrong_clock_is_corrected_by_the_refusals_date(rsa_pair: ClientCertificate) -> None:
    ahead = 86_400 * 365
    oauth_client = with_certificate(rsa_pair)
    key = import_key(rsa_pair.key.reveal(), "RSA")
    seen: list[str] = []

    def judge(request: Request) -> ScriptedAnswer:
        server_time = time.time() + ahead
        claims = jwt.decode(request.form["client_assertion"], key).claims
        seen.append(str(claims["jti"]))
        fits = claims["nbf"] <= server_time < claims["exp"]
        date = formatdate(server_time, usegmt=True)
        return (
            http_response({"a": 1}, date=date)
            if fits
            else http_response({"error": "invalid_client"}, status=401, date=date)
        )

    async with run_scripted_service(judge) as service, TokenHttp(timeout=5) as http:
        assert (await http.post(service.url, {}, client=oauth_client)).ok
        assert len(service.requests) == 2
        assert (await http.post(service.url, {}, client=oauth_client)).ok
        assert len(service.requests) == 3
    assert len(set(seen)) == 3


async def test_other_refusals_are_not_retried(rsa_pair: ClientCertificate) -> None:
    for oauth_client, date in ((with_certificate(rsa_pair), time.time()), (client(secret="s"), time.time() + 86_400)):
        answer = http_response({"error": "invalid_client"}, status=401, date=formatdate(date, usegmt=True))
        async with run_scripted_service(answer) as service, TokenHttp(timeout=5) as http:
            assert (await http.post(service.url, {}, client=oauth_client)).status == 401
            assert len(service.requests) == 1
