"""The follow-up checks of a failed connection test: TLS modes, the certificate, the clock."""

from __future__ import annotations

import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from diagnosis.device import SCANNER
from diagnosis.scenarios import POP, SMTP, with_certificate
from mailslot.diagnosis.clock import EARLIEST, skew_by_certificate
from mailslot.net.certificate_contents import CertificateContents, parse_certificate
from mailslot.timestamps import day
from mailslot_plugins.sandbox import DOVECOT

if TYPE_CHECKING:
    from trustme import CA

    from diagnosis.device import Device
    from mailslot_plugins.sandbox import Sandbox

pytestmark = pytest.mark.virtual_time

PLAIN = replace(
    DOVECOT,
    tls_required=False,
    smtp=replace(DOVECOT.smtp, capabilities=DOVECOT.smtp.capabilities_tls),
    pop3=replace(DOVECOT.pop3, capabilities=DOVECOT.pop3.capabilities_tls),
)


@pytest.mark.parametrize("slot", [SMTP, POP])
@pytest.mark.parametrize(
    ("now", "right", "stage"),
    [("tls", "starttls", "tls"), ("starttls", "tls", "greeting"), ("none", "tls", "greeting")],
)
async def test_the_working_tls_mode_is_named(
    device: Device, sandbox: Sandbox, slot: str, now: str, right: str, stage: str
) -> None:
    smtp = slot == SMTP
    plain, encrypted = (sandbox.smtp, sandbox.smtps) if smtp else (sandbox.pop3, sandbox.pop3s)
    port = plain.port if right == "starttls" else encrypted.port
    signing: dict[str, Any] = {"authentication": "none", "keep": False} if now == "none" else {}
    sender = {"sender_address": SCANNER} if smtp else {}
    await device.set_up_slot(slot, sandbox, port=port, security=now, **signing, **sender)
    result = await device.test(slot, timeout=0.4)
    assert (result.stage, result.diagnosis.cause) == (stage, "tls_port_mismatch")
    facts = result.diagnosis.facts
    assert (facts["security_now"], facts["security_right"]) == (now, right)
    assert f"port {port} speaks {right}" in result.diagnosis.detail
    tried = sandbox.dialogues[-1]
    assert tried.user is None
    assert "AUTH" not in "\n".join(line for line in tried.transcript.lines if line.startswith("C: "))


async def test_the_working_tls_mode_is_named_despite_a_bad_certificate(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot(SMTP, sandbox, security="tls")
    sandbox.tls = sandbox.authority.server_context("mail.example.com")
    result = await device.test(SMTP)
    assert result.diagnosis.cause == "tls_port_mismatch"
    assert result.diagnosis.facts["security_right"] == "starttls"


@pytest.mark.parametrize("slot", [SMTP, POP])
@pytest.mark.parametrize("personality", [PLAIN], ids=["plain"])
async def test_no_tls_mode_works(device: Device, sandbox: Sandbox, slot: str) -> None:
    port = (sandbox.smtp if slot == SMTP else sandbox.pop3).port
    await device.set_up_slot(slot, sandbox, port=port, security="tls")
    result = await device.test(slot)
    assert (result.stage, result.diagnosis.cause) == ("tls", "tls_not_offered")


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("slot", [SMTP, POP])
async def test_a_bad_certificate_is_described_without_sending_credentials(
    device: Device, sandbox: Sandbox, slot: str, security: str
) -> None:
    smtp = slot == SMTP
    by_security = {
        "starttls": sandbox.smtp if smtp else sandbox.pop3,
        "tls": sandbox.smtps if smtp else sandbox.pop3s,
    }
    await device.set_up_slot(slot, sandbox, port=by_security[security].port, security=security)
    ends = datetime.now(UTC) + timedelta(days=40)
    sandbox.tls = sandbox.authority.server_context("mail.example.com", "*.example.org", not_after=ends)
    result = await device.test(slot)
    assert (result.stage, result.diagnosis.cause) == ("tls", "certificate_name_mismatch")
    facts = result.diagnosis.facts
    assert facts["seen_name"] == "mail.example.com, *.example.org"
    assert facts["until"] == day(ends.timestamp())
    assert "O=mailslot sandbox" in result.diagnosis.detail
    first, look = sandbox.dialogues
    assert not first.tls
    assert look.tls
    after = look.transcript.lines[look.transcript.lines.index("*  encrypted from here on") + 1 :]
    assert not [line for line in after if line.startswith("C: ")]
    assert sandbox.dialogues[-1].user is None


async def test_the_validity_dates_are_shown(device: Device, sandbox: Sandbox) -> None:
    before, ahead = datetime.now(UTC), timedelta(days=5)
    await with_certificate(begins=5, ends=9)(device, sandbox)
    after = datetime.now(UTC)
    result = await device.test(SMTP)
    assert result.diagnosis.cause == "certificate_not_yet_valid"
    assert result.diagnosis.facts["until"] in {day((each + ahead).timestamp()) for each in (before, after)}


async def test_the_clock_is_blamed_only_if_it_explains_the_failure(device: Device, sandbox: Sandbox) -> None:
    # By true time, ten days ahead, the certificate has ended too.
    await with_certificate(begins=-20, ends=-5, ahead=10)(device, sandbox)
    assert (await device.test(SMTP)).diagnosis.cause == "certificate_expired"


async def test_the_size_of_the_clock_error(device: Device, sandbox: Sandbox) -> None:
    await with_certificate(begins=5, ahead=10)(device, sandbox)
    result = await device.test(SMTP)
    assert result.diagnosis.cause == "clock_wrong"
    assert result.diagnosis.facts["days"] == "10"
    assert "14,400 minutes behind" in result.diagnosis.detail


async def test_the_time_is_fetched_from_the_issuer(device: Device, sandbox: Sandbox) -> None:
    await with_certificate(begins=5, ahead=10)(device, sandbox)
    device.set(SMTP, token_endpoint=None, authorization_endpoint=None, issuer=sandbox.issuer)
    assert (await device.test(SMTP)).diagnosis.cause == "clock_wrong"


async def test_no_server_for_the_time(device: Device, sandbox: Sandbox) -> None:
    await with_certificate(begins=5, ahead=10)(device, sandbox)
    device.set(SMTP, token_endpoint=None, authorization_endpoint=None, provider=None)
    device.set(SMTP, authentication="password", password="open sesame")
    assert (await device.test(SMTP)).diagnosis.cause == "certificate_not_yet_valid"


async def test_an_unreachable_token_service(device: Device, sandbox: Sandbox) -> None:
    await with_certificate(begins=5, ahead=10)(device, sandbox)
    device.set(SMTP, token_endpoint="http://127.0.0.1:1/token")
    assert (await device.test(SMTP)).diagnosis.cause == "certificate_not_yet_valid"


async def test_a_wrong_clock_alone_is_a_warning(device: Device, sandbox: Sandbox) -> None:
    sandbox.provider.clock_ahead = 3600.0
    await device.set_up_slot(SMTP, sandbox, left=-10)
    result = await device.test(SMTP)
    assert result.ok
    [warning] = result.warnings
    assert (warning.cause, warning.facts["minutes"]) == ("clock_wrong", "60")
    assert result.as_json()["warnings"][0]["cause"] == "clock_wrong"


@pytest.mark.parametrize(("ahead", "warned"), [(3600.0, True), (0.0, False)])
async def test_a_remembered_clock_error_is_checked_again(
    device: Device, sandbox: Sandbox, ahead: float, warned: bool
) -> None:
    sandbox.provider.clock_ahead = ahead
    await device.set_up_slot(SMTP, sandbox, keep=False)
    await device.store_token(SMTP, sandbox.provider.issue(SCANNER).value.reveal(), skew=3600.0)
    result = await device.test(SMTP)
    assert result.ok
    assert bool(result.warnings) is warned


async def test_a_refusal_because_of_the_clock_is_the_cause(device: Device, sandbox: Sandbox) -> None:
    sandbox.provider.clock_ahead = 86_400.0
    sandbox.provider.revoke(await device.set_up_slot(SMTP, sandbox, left=-10))
    result = await device.test(SMTP)
    assert (result.stage, result.diagnosis.cause) == ("token", "clock_wrong")


CERTIFICATE = CertificateContents(("a",), "b", self_signed=False, valid_from=EARLIEST + 100, valid_until=EARLIEST + 1e6)


@pytest.mark.parametrize(
    ("now", "shows", "skew"),
    [
        # A clock that shows 1970 needs no second opinion.
        (0.0, "", EARLIEST + 101),
        (EARLIEST + 50, "", 0.0),
        (EARLIEST + 50, "early", 51.0),
        (EARLIEST + 2e6, "", 0.0),
        (EARLIEST + 2e6, "late", -1e6 - 1),
        (EARLIEST + 500, "late", 0.0),
    ],
)
def test_two_certificates_outside_their_dates_indicate_a_wrong_clock(now: float, shows: str, skew: float) -> None:
    assert skew_by_certificate(CERTIFICATE, shows, now) == skew


@pytest.mark.parametrize("octets", [b"", b"\x30\x82", b"x" * 1000])
def test_an_unreadable_certificate(octets: bytes) -> None:
    assert parse_certificate(octets) is None


def test_certificate_names_are_bounded_and_printable(ca: CA) -> None:
    leaf = ca.issue_cert(*[f"host{number}.example.com" for number in range(200)], common_name="\x1b[2J" + "x" * 40)
    seen = parse_certificate(ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode()))
    assert seen is not None
    assert len(seen.names) == 8
    assert str(seen).isprintable()
