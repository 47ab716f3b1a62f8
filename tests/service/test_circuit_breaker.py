"""One attempt for all jobs of a record, and none while only a person can help."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from mailslot.oauth.grant import Grant
from mailslot.oauth.location import Location
from mailslot.service.circuit_breaker import BACKOFF, PROBE_AFTER, CircuitBreaker, SettingsWatch
from mailslot.service.disposition import DeliveryFailure
from mailslot.slots.records import Records
from mailslot.wire.secret import Secret
from mailslot_plugins.sandbox import DOVECOT, Fault, Sandbox, run_sandbox
from mailslot_plugins.sandbox.web_faults import ScriptedResponse, WebFault
from service.sending_device import ALICE, SENDER, FastClocks, opened, received, run_sending_device, set_up
from shortage import no_descriptors

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.virtual_time

SCOPES = "openid offline_access mail.send mail.pop"


def secured(sandbox: Sandbox, home: Path, **more: object) -> dict[str, object]:
    home.mkdir(exist_ok=True)
    (home / "ca.pem").write_bytes(sandbox.ca_pem)
    return {
        "server": "localhost",
        "port": sandbox.smtp.port,
        "security": "starttls",
        "sender_address": SENDER,
        "account": SENDER,
        "timeout": 60,
        "ca_file": str(home / "ca.pem"),
        **more,
    }


def oauth(sandbox: Sandbox, home: Path) -> dict[str, object]:
    return secured(
        sandbox,
        home,
        authentication="oauth2",
        provider="custom",
        issuer=sandbox.issuer,
        token_endpoint=f"{sandbox.issuer}/token",
        authorization_endpoint=f"{sandbox.issuer}/authorize",
        client_id="printer",
        scopes=SCOPES,
    )


async def get_token(sandbox: Sandbox, records: Records, *, lifetime: float = 3600) -> Secret:
    """Obtain a token as another process does; return the refresh token."""
    client = sandbox.provider.clients.get("printer") or sandbox.provider.register("printer")
    refresh_token = sandbox.provider.consent(SENDER, client)
    access = sandbox.provider.issue(SENDER, lifetime=lifetime)
    now = time.time()
    grant = Grant(
        flow="browser",
        access_token=access.value,
        expires_at=now + lifetime,
        refresh_token=refresh_token,
        scopes=tuple(SCOPES.split()),
        obtained_at=now,
        renewed_at=now,
        account=SENDER,
        token_origin=sandbox.issuer,
    )
    await Records(records.home).tokens.store("smtp").save(grant)
    return refresh_token


async def test_a_job_waits_for_the_token_and_is_then_sent(tmp_path: Path) -> None:
    async with run_sandbox() as sandbox:
        records = set_up(tmp_path, oauth(sandbox, tmp_path))
        async with opened(records) as harness, harness.delivering():
            first = await harness.until(await harness.accept(text="1"), "held")
            assert (first.cause, first.attempts) == ("token_not_retrieved", 1)
            later = await harness.until(await harness.accept(text="2"), "held")
            assert later.cause == "token_not_retrieved"
            assert "C: AUTH" not in sandbox.transcript
            await get_token(sandbox, records)
            assert (await harness.until(first, "sent")).cause is None
            await harness.until(later, "sent")
            assert [subject for subject, _ in received(sandbox)] == ["1", "2"]


async def test_a_revoked_refresh_token(tmp_path: Path) -> None:
    """The record is paused, the provider is asked once, and a new token sets everything going."""
    async with run_sandbox() as sandbox:
        records = set_up(tmp_path, oauth(sandbox, tmp_path))
        refresh_token = await get_token(sandbox, records, lifetime=-1)
        sandbox.provider.revoke(refresh_token)
        async with opened(records) as harness, harness.delivering():
            jobs = [await harness.accept(text=str(number)) for number in range(5)]
            held = [await harness.until(job, "held") for job in jobs]
            assert {job.cause for job in held} == {"token_update_failed"}
            assert "delete the token and obtain it again" in held[0].sentence
            await anyio.sleep(0.7)
            assert {job.state for job in await harness.spool.jobs()} == {"held"}
            await get_token(sandbox, records)
            for job in jobs:
                await harness.until(job, "sent")


async def test_a_token_refused_by_the_mail_server(tmp_path: Path) -> None:
    async with run_sandbox() as sandbox:
        records = set_up(tmp_path, oauth(sandbox, tmp_path))
        await get_token(sandbox, records)
        client = sandbox.provider.clients["printer"]
        other = sandbox.provider.issue("alice@example.com")
        store = records.tokens.store("smtp")
        grant = await store.load()
        assert grant is not None
        await store.save(
            replace(grant, access_token=other.value, refresh_token=sandbox.provider.consent(ALICE, client))
        )
        async with opened(records) as harness, harness.delivering():
            job = await harness.until(await harness.accept(), "held")
            assert job.cause in {"token_refused", "account_mismatch"}
            tried = len(sandbox.dialogues)
            await anyio.sleep(0.7)
            # Nobody is asked again: accounts are locked for that.
            assert len(sandbox.dialogues) == tried
            await get_token(sandbox, records)
            await harness.until(job, "sent")


async def test_a_wrong_password_is_not_retried(tmp_path: Path) -> None:
    async with run_sandbox() as sandbox:
        settings = secured(sandbox, tmp_path, authentication="password")
        records = set_up(tmp_path, settings, password="wrong")
        async with opened(records) as harness, harness.delivering():
            job = await harness.until(await harness.accept(), "held")
            assert job.cause == "password_refused"
            another = await harness.until(await harness.accept(), "held")
            assert another.attempts == 1
            assert len(sandbox.dialogues) == 1
            # A person may want it tried all the same.
            await harness.spool.retry(job.id)
            await harness.until_true(lambda: len(sandbox.dialogues) == 2)
            await harness.until(job, "held")
            Records(tmp_path).change("smtp", {}, {"password": Secret("open sesame")})
            await harness.until(job, "sent")
            await harness.until(another, "sent")


async def test_jobs_are_held_until_the_record_is_set_up(tmp_path: Path) -> None:
    async with run_sandbox() as sandbox:
        settings = secured(sandbox, tmp_path, authentication="password")
        records = set_up(tmp_path, {}, password="open sesame")
        async with opened(records) as harness, harness.delivering():
            job = await harness.until(await harness.accept(), "held")
            assert job.cause == "not_configured"
            assert job.sentence
            Records(tmp_path).change("smtp", settings, {})
            await harness.until(job, "sent")


async def test_held_jobs_are_tried_when_the_service_starts(tmp_path: Path) -> None:
    async with run_sandbox() as sandbox:
        records = set_up(tmp_path, oauth(sandbox, tmp_path))
        async with opened(records) as harness:
            job = await harness.accept()
            await harness.deliver_due()
            assert (await harness.job(job)).state == "held"
        await get_token(sandbox, records)
        async with opened(records) as harness, harness.delivering():
            await harness.until(job, "sent")


async def test_a_temporary_authentication_failure_is_retried(tmp_path: Path) -> None:
    async with run_sandbox() as sandbox:
        records = set_up(tmp_path, secured(sandbox, tmp_path, authentication="password"), password="open sesame")
        sandbox.faults.append(Fault("sign_in", act=False, replace=b"454 4.7.0 Temporary authentication failure\r\n"))
        async with opened(records, FastClocks(200)) as harness, harness.delivering():
            job = await harness.until(await harness.accept(), "deferred")
            assert job.cause == "sign_in_temporarily_unavailable"
            sandbox.faults.clear()
            await harness.until(job, "sent")


async def test_one_probe_for_a_server_that_is_down(tmp_path: Path) -> None:
    async with run_sending_device(tmp_path, FastClocks(200)) as (harness, sandbox):
        sandbox.faults.append(Fault("greeting", act=False, replace=b"421 4.3.2 not now\r\n", ending="close"))
        jobs = [await harness.accept(text=str(number)) for number in range(100)]
        async with harness.delivering():
            await harness.until(jobs[-1], "deferred")
            job = await harness.job(jobs[-1])
            assert (job.cause, job.attempts) == ("server_busy", 1)
            assert job.next_attempt is not None
            await harness.until_true(lambda: len(sandbox.dialogues) >= 4)
            sandbox.faults.clear()
            for job in jobs:
                await harness.until(job, "sent", seconds=60)
            # Some probes, and then the sessions that it took.
            assert len(sandbox.dialogues) <= 12
        assert len(sandbox.submissions) == 100
        assert len({subject for subject, _ in received(sandbox)}) == 100


async def test_the_secondary_server_is_used_if_the_primary_is_unreachable(tmp_path: Path) -> None:
    async with run_sandbox(personality=replace(DOVECOT, tls_required=False, sign_in_required=None)) as sandbox:
        settings: dict[str, Any] = {
            "server": "127.0.0.2",
            "secondary_server": "127.0.0.1",
            "port": sandbox.smtp.port,
            "security": "none",
            "sender_address": SENDER,
        }
        async with opened(set_up(tmp_path, settings)) as harness:
            job = await harness.accept()
            await harness.deliver_due()
            assert (await harness.job(job)).state == "sent"
            assert len(sandbox.dialogues) == 1


async def test_a_refusal_does_not_lead_to_the_secondary_server(tmp_path: Path) -> None:
    async with run_sending_device(tmp_path) as (harness, sandbox):
        harness.device.records.change("smtp", {"secondary_server": "127.0.0.1"}, {})
        sandbox.rules.senders[SENDER] = "451 4.3.0 not now"
        job = await harness.accept()
        await harness.deliver_due()
        assert (await harness.job(job)).state == "deferred"
        assert len(sandbox.dialogues) == 1


# The gate by itself.


async def test_a_change_that_cannot_be_read_for_a_moment_is_noticed_later(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.change("smtp", {"account": "a@example.com", "authentication": "password"}, {"password": Secret("one")})
    watch = SettingsWatch(Records(tmp_path), "smtp")
    assert [await watch.changed(), await watch.changed()] == [True, False]
    for change in ({"account": "b@example.com"}, {}):
        records.change("smtp", change, {} if change else {"password": Secret("two")})
        with no_descriptors():
            assert not await watch.changed()
        assert [await watch.changed(), await watch.changed()] == [True, False]


def test_backoff_grows_to_a_limit() -> None:
    now = 0.0
    breaker = CircuitBreaker(lambda: now, lambda: 0.5)
    trouble = DeliveryFailure("back_off", "server_busy", "It is busy.")
    rests = []
    for _ in range(9):
        rest = breaker.trip(trouble)
        assert rest is not None
        rests.append(rest)
        assert not breaker.may_try
        assert breaker.remaining() == rest
        now += rest
        assert breaker.may_try
    assert rests == [*BACKOFF, BACKOFF[-1], BACKOFF[-1]]
    assert breaker.reset()
    assert not breaker.reset()
    assert breaker.trip(trouble) == BACKOFF[0]


@pytest.mark.parametrize(("random", "least", "most"), [(0.0, 0.79, 0.81), (1.0, 1.19, 1.21)])
def test_backoff_has_jitter(random: float, least: float, most: float) -> None:
    rest = CircuitBreaker(lambda: 0.0, lambda: random).trip(DeliveryFailure("back_off", "server_busy", ""))
    assert rest is not None
    assert least <= rest / BACKOFF[0] <= most


def test_a_daily_limit_is_not_probed_every_minute() -> None:
    rest = CircuitBreaker(lambda: 0.0, lambda: 0.5).trip(DeliveryFailure("back_off", "sending_limit_reached", ""))
    assert rest == 3600


def test_held_jobs_are_probed_occasionally() -> None:
    now = 0.0
    breaker = CircuitBreaker(lambda: now, lambda: 0.5)
    breaker.trip(DeliveryFailure("hold", "smtp_auth_disabled", "", by_administrator=True))
    assert (breaker.needs_operator, breaker.may_try) == (True, False)
    now = PROBE_AFTER
    assert breaker.may_try
    breaker.trip(DeliveryFailure("hold", "token_update_failed", ""))
    assert (breaker.needs_operator, breaker.may_try) == (True, False)
    now += PROBE_AFTER
    assert breaker.may_try
    breaker.trip(DeliveryFailure("hold", "password_refused", ""))
    now += 1e9
    assert not breaker.may_try
    assert breaker.remaining() is None


async def test_a_fix_at_the_server_is_noticed(tmp_path: Path) -> None:
    async with run_sandbox() as sandbox:
        records = set_up(tmp_path, secured(sandbox, tmp_path, authentication="password"), password="open sesame")
        words = b"535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.\r\n"
        sandbox.faults.append(Fault("sign_in", act=False, replace=words))
        async with opened(records, FastClocks(3000)) as harness, harness.delivering():
            job = await harness.until(await harness.accept(), "held")
            assert job.cause == "smtp_auth_disabled"
            sandbox.faults.clear()
            await harness.until(job, "sent")


async def test_a_single_unexpected_token_refusal_holds_no_jobs(tmp_path: Path) -> None:
    async with run_sandbox() as sandbox:
        sandbox.provider.rotation = "strict"
        records = set_up(tmp_path, oauth(sandbox, tmp_path))
        await get_token(sandbox, records, lifetime=0)
        refused(sandbox, 1)
        async with opened(records, FastClocks(20)) as harness, harness.delivering():
            job = await harness.until(await harness.accept(), "sent", "held")
            assert (job.state, job.attempts) == ("sent", 1)
        assert sandbox.token_service.requests == ["token refresh_token 400", "token refresh_token 200"]


async def test_a_recovered_token_service_releases_held_jobs(tmp_path: Path) -> None:
    """Nobody does anything here, and it is asked no more than once an hour."""
    async with run_sandbox() as sandbox:
        sandbox.provider.rotation = "strict"
        records = set_up(tmp_path, oauth(sandbox, tmp_path))
        await get_token(sandbox, records, lifetime=0)
        refused(sandbox, 2)
        clocks = FastClocks(3000)
        async with opened(records, clocks) as harness:
            async with harness.delivering():
                began = clocks.monotonic()
                job = await harness.until(await harness.accept(), "held")
                assert job.cause == "token_update_failed"
            harness.restart()
            async with harness.delivering():
                job = await harness.until(job, "sent")
            assert clocks.monotonic() - began >= 0.9 * PROBE_AFTER
        assert len(sandbox.token_service.requests) == 3


async def test_a_moved_device(tmp_path: Path) -> None:
    """What a copy holds leaves once a person says that it is none; nobody asks the token service before."""
    async with run_sandbox() as sandbox:
        sandbox.provider.rotation = "strict"
        records = set_up(tmp_path, oauth(sandbox, tmp_path))
        await get_token(sandbox, records, lifetime=0)
        store = records.tokens.store("smtp")
        grant = await store.load()
        assert grant is not None
        await store.save(replace(grant, location=Location((), None, "/elsewhere/locks/smtp.lock", 1)))
        async with opened(records) as harness, harness.delivering():
            job = await harness.until(await harness.accept(), "held")
            assert job.cause == "home_copied"
            assert sandbox.token_service.requests == []
            await store.move_here()
            await harness.until(job, "sent")


def refused(sandbox: Sandbox, times: int) -> None:
    """Have the token service refuse a refresh so often, for nothing."""
    no = WebFault("token", "refresh_token", act=False, answer=ScriptedResponse(400, {"error": "invalid_grant"}))
    sandbox.token_service.faults += [replace(no, nth=number + 1) for number in range(times)]


async def test_an_external_token_source_that_works_again(tmp_path: Path) -> None:
    """Nothing on the device changes when somebody else writes a new token into a file."""
    async with run_sandbox() as sandbox:
        good, dead = sandbox.provider.issue(SENDER), sandbox.provider.issue(SENDER)
        sandbox.provider.expire(dead)
        file = tmp_path / "token"
        file.write_text(dead.value.reveal())
        settings = secured(sandbox, tmp_path, authentication="oauth2", token_source=f"file {file}")
        records = set_up(tmp_path, settings)
        async with opened(records, FastClocks(300)) as harness, harness.delivering():
            job = await harness.until(await harness.accept(), "held")
            assert job.cause == "token_refused"
            file.write_text(good.value.reveal())
            await harness.until(job, "sent")
