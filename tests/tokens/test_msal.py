"""MSAL as a token source: managed identity, certificate, federation, and their failures."""

from __future__ import annotations

import logging
import time
import traceback
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import anyio
import msal.managed_identity
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lab.key_pair import KeyPair, make_key_pair
from mailslot import InputError, MailError
from mailslot.slots.direct_token_source import direct_token_source
from mailslot.slots.records import Records
from mailslot.wire.secret import Secret
from mailslot_plugins.sandbox import ScriptedResponse, WebFault
from mailslot_plugins.tokens.msal import MsalToken
from tokens.azure import ARC_KEY, IDENTITY_HEADER, RESOURCE, AzureMachine, run_entra, run_machine
from tokens.people import USER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import trustme

    from tokens.azure import EntraServer

MICROSOFT = {"provider": "microsoft365", "tenant": "contoso.onmicrosoft.com", "account": USER}
GOOGLE = {"provider": "google", "account": USER}
OWN = {"provider": "custom", "account": USER, "client_id": "x", "scopes": "mail"}
AZURES = ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT", "IMDS_ENDPOINT", "MSI_ENDPOINT")


@pytest.fixture
async def machine(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AzureMachine]:
    """A virtual machine in Azure, as MSAL sees one."""
    async with run_machine() as running:
        for name in AZURES:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", running.address)
        yield running


@pytest.fixture
def app_service(machine: AzureMachine, monkeypatch: pytest.MonkeyPatch) -> AzureMachine:
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{machine.address}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
    return machine


@pytest.fixture
def arc(machine: AzureMachine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AzureMachine:
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{machine.address}/arc")
    monkeypatch.setenv("IMDS_ENDPOINT", machine.address)
    # Its agent's folder is the system's own.
    monkeypatch.setitem(msal.managed_identity._supported_arc_platforms_and_their_prefixes, "linux", str(tmp_path))
    machine.keys = tmp_path
    return machine


def source_of(home: Path, token_source: str, record: str = "smtp", **settings: object) -> MsalToken:
    """The source that a device with these settings uses."""
    records = Records(home)
    secrets = {name: Secret(str(settings.pop(name))) for name in ("client_secret",) if name in settings}
    records.change(record, {**settings, "authentication": "oauth2", "token_source": token_source}, secrets)
    made = direct_token_source(records.vault, record, records.settings.load()[record])
    assert isinstance(made, MsalToken)
    return made


async def refusal(source: MsalToken, *, force: bool = False) -> MailError:
    with anyio.fail_after(120), pytest.raises(MailError) as raised:
        await source.token(force=force)
    assert raised.value.stage == "token"
    return raised.value


@pytest.mark.parametrize("record", ["smtp", "fax-pop"])
async def test_a_virtual_machine(machine: AzureMachine, tmp_path: Path, record: str) -> None:
    source = source_of(tmp_path, "msal managed_identity", record, **MICROSOFT)
    token = await source.token()
    assert token.value == machine.tokens[0]
    assert token.expires_at == pytest.approx(time.time() + 3599, abs=300)
    assert machine.asked == [{"api-version": "2018-02-01", "resource": RESOURCE}]
    assert (await source.token()).value == token.value.reveal()
    assert len(machine.asked) == 1
    assert (await source.token(force=True)).value == machine.tokens[1]
    assert (await source.token()).value == machine.tokens[1]
    await source.forget()
    assert (await source.token()).value == machine.tokens[2]


async def test_a_national_cloud(machine: AzureMachine, tmp_path: Path) -> None:
    await source_of(tmp_path, "msal managed_identity", **{**MICROSOFT, "provider": "microsoft365-us"}).token()
    assert machine.asked[0]["resource"] == "https://outlook.office365.us"


async def test_one_of_several_identities(machine: AzureMachine, tmp_path: Path) -> None:
    [known] = machine.identities
    await source_of(tmp_path, f"msal managed_identity {known}", **MICROSOFT).token()
    assert machine.asked[0]["client_id"] == known


async def test_app_service(app_service: AzureMachine, tmp_path: Path) -> None:
    token = await source_of(tmp_path, "msal managed_identity", **MICROSOFT).token()
    assert token.value == app_service.tokens[0]
    assert token.expires_at == pytest.approx(time.time() + 3599, abs=300)
    assert app_service.asked == [{"api-version": "2019-08-01", "resource": RESOURCE}]


async def test_an_azure_arc_server(arc: AzureMachine, tmp_path: Path) -> None:
    source = source_of(tmp_path, "msal managed_identity", **MICROSOFT)
    assert (await source.token()).value == arc.tokens[0]
    arc.answers = [(403, {"echo": ARC_KEY})]
    error = await refusal(source, force=True)
    assert ARC_KEY not in f"{error} {error.detail}"


async def test_an_unreadable_arc_key(arc: AzureMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(msal.managed_identity._supported_arc_platforms_and_their_prefixes, "linux", "/nowhere")
    error = await refusal(source_of(tmp_path, "msal managed_identity", **MICROSOFT))
    assert (error.cause, "No such file" in str(error)) == ("token_source_failed", True)
    assert "/nowhere/challenge.key" in error.detail


@pytest.mark.parametrize("kind", ["machine", "app_service"])
async def test_an_identity_not_assigned_to_the_machine(
    kind: str, request: pytest.FixtureRequest, machine: AzureMachine, tmp_path: Path
) -> None:
    request.getfixturevalue(kind)
    source = source_of(tmp_path, "msal managed_identity 00000000-0000-0000-0000-000000000000", **MICROSOFT)
    error = await refusal(source)
    assert (error.cause, error.retryable) == ("app_or_tenant_unknown", False)
    machine.identities += ("00000000-0000-0000-0000-000000000000",)
    assert (await source.token()).value == machine.tokens[-1], "what was refused is asked for again at once"


@pytest.mark.parametrize(
    ("status", "said", "cause"),
    [
        (
            400,
            {"error": "invalid_resource", "error_description": "AADSTS50001: The application was not found"},
            "scope_wrong",
        ),
        (429, {"error": "too_many", "error_description": "Temporarily throttled"}, "token_service_busy"),
        (500, {"error": "unknown", "error_description": "Failed to retrieve token"}, "token_service_busy"),
        (200, '{"access_token": "eyJ0eXAi.cut-off-in-the-mid', "token_source_failed"),
        (200, "[]", "token_source_failed"),
        (200, {"access_token": "two words", "expires_in": "3599"}, "unknown"),
        (200, {"token": "eyJ0eXAi.under-another-name"}, "unknown"),
        (302, "", "token_service_unreachable"),
        (200, "<html>sign in first</html>", "not_a_token_service"),
        (200, {"access_token": "x" * 70_000}, "token_service_unreachable"),
    ],
)
async def test_error_responses_of_the_machine(
    machine: AzureMachine, tmp_path: Path, status: int, said: object, cause: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    machine.answers = [(status, said)]
    error = await refusal(source_of(tmp_path, "msal managed_identity", **MICROSOFT))
    assert error.cause == cause
    assert error.retryable == (cause.startswith("token_service_") or cause in {"not_a_token_service", "unknown"})
    shown = f"{error} {error.detail} {caplog.text} {''.join(traceback.format_exception(error))}"
    assert not any(part in shown for part in ("cut-off", "under-another", "xxxxxx"))


async def test_echoed_secrets_are_masked(app_service: AzureMachine, tmp_path: Path) -> None:
    app_service.answers = [(400, {"statusCode": 400, "message": f"bad header {IDENTITY_HEADER}"})]
    error = await refusal(source_of(tmp_path, "msal managed_identity", **MICROSOFT))
    assert IDENTITY_HEADER not in f"{error} {error.detail}"


async def test_outside_of_azure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in AZURES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1")
    error = await refusal(source_of(tmp_path, "msal managed_identity", **MICROSOFT))
    assert (error.cause, error.retryable) == ("token_service_unreachable", True)
    assert str(error).startswith("No managed identity is offered on this machine.")


async def test_a_valid_token_is_returned_if_the_refresh_fails(machine: AzureMachine, tmp_path: Path) -> None:
    machine.lifetime = 250  # MSAL wants another one for the last five minutes
    source = source_of(tmp_path, "msal managed_identity", **MICROSOFT)
    token = await source.token()
    machine.answers = [(503, {"error": "busy"})]
    assert (await source.token()).value == token.value.reveal()
    assert len(machine.asked) == 2
    assert (await refusal(source, force=True)).cause == "token_service_busy"
    machine.answers, machine.lifetime = [], 3
    await source.forget()
    await source.token()
    machine.answers = [(503, {"error": "busy"})]
    assert (await refusal(source)).cause == "token_service_busy"


async def test_concurrent_refused_tasks_share_one_new_token(machine: AzureMachine, tmp_path: Path) -> None:
    source = source_of(tmp_path, "msal managed_identity", **MICROSOFT)
    await source.token()
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(partial(source.token, force=True))
    assert len(machine.tokens) == 2


async def test_cancelled_while_waiting(machine: AzureMachine, tmp_path: Path) -> None:
    source = source_of(tmp_path, "msal managed_identity", **MICROSOFT)
    machine.silent = True
    with anyio.move_on_after(0.3) as scope:
        await source.token()
    assert scope.cancelled_caught
    machine.silent = False
    assert (await source.token()).value == machine.tokens[-1]


@pytest.fixture(scope="module")
def key_pair() -> KeyPair:
    return make_key_pair("mailslot")


@pytest.fixture
async def entra(
    tmp_path: Path, ca: trustme.CA, certificate: trustme.LeafCert, key_pair: KeyPair
) -> AsyncIterator[EntraServer]:
    public = x509.load_pem_x509_certificate(key_pair.certificate.encode()).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    async with run_entra(tmp_path, ca, certificate) as running:
        running.provider.register("device", mailboxes=[USER], key=pem)
        yield running


def at(entra: EntraServer, **more: object) -> dict[str, object]:
    """Settings for an application there."""
    own = {"provider": "custom", "token_endpoint": entra.address, "scopes": "https://outlook.office365.com/.default"}
    return {**own, "account": USER, "client_id": "device", "ca_file": str(entra.ca_file), **more}


def pem(key_pair: KeyPair) -> str:
    return f"{key_pair.key}\n{key_pair.certificate}"


async def test_client_credentials_with_a_certificate(entra: EntraServer, tmp_path: Path, key_pair: KeyPair) -> None:
    source = source_of(tmp_path, "msal certificate", **at(entra, client_secret=pem(key_pair)))
    token = await source.token()
    issued = entra.provider.find(token.value.reveal())
    assert issued is not None
    assert issued.grant.mailboxes == {USER}
    assert token.expires_at == pytest.approx(time.time() + 3600, abs=300)
    assert (await source.token()).value == token.value.reveal()
    assert (await source.token(force=True)).value != token.value.reveal()
    assert entra.service.requests == ["token client_credentials 200"] * 2
    [first, _] = entra.service.assertions.headers
    assert (first["alg"], "x5t#S256" in first, "x5t" in first) == ("PS256", True, False)
    assert entra.service.assertions.claims[0]["aud"] == entra.address


async def test_workload_identity(entra: EntraServer, tmp_path: Path) -> None:
    file = tmp_path / "assertion"
    source = source_of(tmp_path, f"msal workload_identity {file}", **at(entra))
    error = await refusal(source)
    assert (error.cause, str(file) in str(error)) == ("token_source_failed", True)
    file.write_text("eyJhbGciOiJ.of-another-cluster.c2ln")
    error = await refusal(source)
    assert (error.cause, entra.service.requests) == ("app_secret_invalid", ["token client_credentials 401"])
    assert "of-another-cluster" not in f"{error} {error.detail}"


@pytest.mark.parametrize(
    ("fault", "cause", "retryable"),
    [
        (
            ScriptedResponse(400, {"error": "unauthorized_client", "error_description": "AADSTS700016: …"}),
            "app_or_tenant_unknown",
            False,
        ),
        (
            ScriptedResponse(401, {"error": "invalid_client", "error_description": "AADSTS700027: …"}),
            "app_secret_invalid",
            False,
        ),
        (ScriptedResponse(429, {"error": "busy"}, {"Retry-After": "7"}), "token_service_busy", True),
        (ScriptedResponse(503, b"<html>"), "token_service_busy", True),
        (ScriptedResponse(200, {"token_type": "Bearer"}), "unknown", True),
    ],
)
async def test_error_responses_of_entra(
    entra: EntraServer, tmp_path: Path, key_pair: KeyPair, fault: ScriptedResponse, cause: str, retryable: bool
) -> None:
    source = source_of(tmp_path, "msal certificate", **at(entra, client_secret=pem(key_pair)))
    entra.service.faults.append(WebFault("token", answer=fault))
    error = await refusal(source)
    assert (error.cause, error.retryable) == (cause, retryable)
    entra.service.faults.clear()
    if not retryable:
        assert await source.token()


async def test_an_unknown_tenant(entra: EntraServer, tmp_path: Path, key_pair: KeyPair) -> None:
    result = ScriptedResponse(
        400, {"error": "invalid_tenant", "error_description": "AADSTS90002: Tenant 'contoso' not found."}
    )
    entra.service.faults.append(WebFault("metadata", answer=result))
    source = source_of(tmp_path, "msal certificate", **at(entra, client_secret=pem(key_pair)))
    assert (await refusal(source)).cause == "app_or_tenant_unknown"


async def test_an_invalid_certificate(entra: EntraServer, tmp_path: Path, key_pair: KeyPair) -> None:
    other = replace(key_pair, key=make_key_pair("other").key)
    for secret, sentence in ((pem(other), "does not belong"), ("s3cret", "needs a private key and its certificate")):
        source = source_of(tmp_path, "msal certificate", **at(entra, client_secret=secret))
        assert sentence in str(await refusal(source))
    assert entra.service.requests == []


@pytest.mark.parametrize(
    ("token_source", "settings", "sentence"),
    [
        ("msal", MICROSOFT, "is one of"),
        ("msal magic", MICROSOFT, "is one of"),
        ("msal certificate file.pem", MICROSOFT, "is one of"),
        ("msal workload_identity file", MICROSOFT, "is one of"),
        ("msal certificate", MICROSOFT, "client_id"),
        ("msal certificate", {**MICROSOFT, "client_id": "x", "tenant": "common"}, "own tenant"),
        ("msal certificate", {**GOOGLE, "client_id": "x"}, "Google knows no application of this kind"),
        ("msal certificate", {**OWN, "token_endpoint": "https://a.example/token"}, "Microsoft's token service alone"),
        ("msal managed_identity", {"account": USER}, "No provider"),
        ("msal managed_identity", {"provider": "microsoft365"}, "account"),
    ],
)
async def test_unusable_settings(
    tmp_path: Path, key_pair: KeyPair, token_source: str, settings: dict[str, object], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        await source_of(tmp_path, token_source, client_secret=pem(key_pair), **settings).token()
