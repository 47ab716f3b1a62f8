"""The tables and clocks behind delivery: retry policies, dispositions, quotas, and a clock that is set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mailslot.causes.cause import causes
from mailslot.diagnosis.catalogue import explain
from mailslot.diagnosis.diagnosis import Diagnosis
from mailslot.errors import InputError, MailError, NetworkError, RefusedError, SignInError, TokenError
from mailslot.net.tls import context_trusting
from mailslot.oauth.presets import preset
from mailslot.oauth.providers import Limits
from mailslot.service.disposition import classify_failure
from mailslot.service.pipeline import RetryPolicies, find_pipelines
from mailslot.service.retry_policy import ATTENDED, DEFAULT, UNATTENDED, RetryPolicy
from mailslot.service.sending_quota import SendingQuota
from mailslot.service.wall_clock import WallClock
from mailslot.slots.connector import Connector
from mailslot.slots.records import Records
from mailslot.spool.spool import Spool
from mailslot.vault.errors import VaultError
from mailslot.wire.reply import Reply
from mailslot.wire.secret import Secret
from service.sending_device import FastClocks
from shortage import no_descriptors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from mailslot.causes.cause import Disposition

DAY = 86_400.0


# Retry policies.


@pytest.mark.parametrize("name", ["scan", "fax", "alerts", "status", "print", "another"])
async def test_a_retry_policy(name: str) -> None:
    policy = await RetryPolicies().of(name)
    delays = [policy.delay(attempt, lambda: 0.5) for attempt in range(1, 40)]
    assert delays == sorted(delays)
    assert delays[0] == (60 if name in {"alerts", "status", "print"} else 30)
    # Two tries in the first hour, then every two or three hours at least (RFC 5321 section 4.5.4.1).
    assert sum(delays[:2]) <= 3600
    assert delays[-1] <= 3 * 3600
    assert policy.delay(1, lambda: 0.0) == pytest.approx(delays[0] * 0.8)
    assert policy.delay(1, lambda: 1.0) == pytest.approx(delays[0] * 1.2)
    assert policy.delay(0, lambda: 0.5) == delays[0]


async def test_recipients_to_resend_after_a_doubt() -> None:
    """All of ours may arrive twice rather than not at all; of others nobody knows."""
    policies = RetryPolicies()
    sending = [each.name for each in find_pipelines() if each.name not in {"addressbook", "rules"}]
    assert {(await policies.of(name)).resubmit_after for name in sending} == {600.0}
    assert await policies.of("another") == DEFAULT == RetryPolicy(ATTENDED, None)
    assert (UNATTENDED[0], UNATTENDED[1:]) == (60.0, ATTENDED[1:])


@pytest.mark.parametrize("given", [{"delays": ()}, {"delays": (1.0, 0.0)}, {"resubmit_after": -1.0}])
def test_a_retry_policy_without_delay_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        RetryPolicy(**given)


# Verdicts.


def said(cause: str, error: MailError) -> Disposition:
    return classify_failure(error, explain(Diagnosis(cause))).disposition


async def test_a_machine_without_descriptors_holds_no_jobs(tmp_path: Path) -> None:
    """Secrets, plugins and certificates cannot be read for a moment, and nobody else would release the jobs."""
    records = Records(tmp_path)
    settings = {"server": "mail.example.com", "sender_address": "a@example.com", "account": "a@example.com"}
    records.change("smtp", {**settings, "authentication": "password"}, {"password": Secret("hush")})
    authority = tmp_path / "authority.pem"
    authority.write_text("none")
    async with Connector(records) as connector:
        await connector.profile("smtp")
        with no_descriptors(), pytest.raises(VaultError) as caught:
            await connector.profile("smtp")
    with no_descriptors(), pytest.raises(InputError) as unread:
        context_trusting(authority)
    assert caught.value.retryable
    assert said(caught.value.cause, caught.value) == said(unread.value.cause, unread.value) == "back_off"
    with pytest.raises(InputError) as useless:
        context_trusting(authority)
    assert said(useless.value.cause, useless.value) == "hold"


def test_no_authentication_failure_fails_a_job() -> None:
    """Whatever is wrong with the record, its jobs are kept."""
    for cause in causes():
        for retryable in (True, False):
            error = SignInError("No.", cause=cause, reply=Reply(535, None, "no", positive=False), retryable=retryable)
            assert said(cause, error) in {"hold", "back_off"}, cause


def test_failures_of_the_record_and_of_the_job() -> None:
    """What the catalogue calls the network's or a matter of waiting passes; what wants somebody at work is held."""
    for cause, follows in causes().items():
        assert follows.disposition != "hold" or follows.actor not in {"wait", None}, cause
        # A clock is set right by a person, but of what fails meanwhile nobody says when.
        of_a_job = cause in {"in_doubt", "try_again_later"} or cause.startswith("spool_")
        if follows.actor == "wait" and not of_a_job:
            assert follows.disposition == "back_off", cause


@pytest.mark.parametrize(
    ("error", "disposition"),
    [
        (NetworkError("lost", stage="data", cause="in_doubt", in_doubt=True, retryable=True), "in_doubt"),
        (NetworkError("lost", stage="data", cause="connection_lost", retryable=True), "back_off"),
        (NetworkError("no", stage="tls", cause="certificate_untrusted"), "back_off"),
        (TokenError("no", cause="token_update_failed"), "hold"),
        (TokenError("no", cause="unknown"), "hold"),
        (TokenError("later", cause="unknown", retryable=True), "back_off"),
        (InputError("not set", stage="resolve", cause="not_configured"), "hold"),
        (InputError("gone", stage="data"), "fail"),
        (MailError("too large", stage="envelope", cause="message_too_large"), "fail"),
        (RefusedError("no", stage="envelope", cause="try_again_later", retryable=True), "back_off"),
        (RefusedError("no", stage="data", cause="try_again_later", retryable=True), "defer"),
        (RefusedError("no", stage="data", cause="content_refused"), "fail"),
        (RefusedError("no", stage="data", cause="mailbox_full"), "defer"),
        (RefusedError("no", stage="data", cause="mailbox_not_allowed", retryable=True), "hold"),
        (RefusedError("no", stage="greeting", cause="unknown"), "back_off"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.stage}-{value.cause}",
)
def test_dispositions(error: MailError, disposition: Disposition) -> None:
    assert said(error.cause, error) == disposition


# Limits.

EXCHANGE = preset("microsoft365").limits


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    async with Spool(tmp_path) as spool:
        yield spool


async def test_thirty_messages_a_minute(spool: Spool) -> None:
    assert (EXCHANGE.messages_per_minute, EXCHANGE.recipients_per_day, EXCHANGE.connections) == (30, 10_000, 3)
    allowance = SendingQuota(EXCHANGE, spool.store("delivery"), "a")
    for second in range(30):
        assert allowance.wait(1000.0 + second) == 0.0
        await allowance.count(1000.0 + second, 1)
    assert allowance.wait(1030.0) == pytest.approx(30.0)
    assert allowance.wait(1060.0) == 0.0


async def test_daily_recipient_counts_survive_a_restart(spool: Spool) -> None:
    store = spool.store("delivery")
    allowance = SendingQuota(EXCHANGE, store, "a")
    now = 1_000_000.0
    for hour in range(20):
        await allowance.count(now + 3600 * hour, 490)
    now += 3600 * 19
    assert allowance.remaining_recipients(now) == 200
    another = SendingQuota(EXCHANGE, store, "a")
    await another.load(now)
    assert another.remaining_recipients(now) == 200
    await another.count(now, 200)
    assert another.remaining_recipients(now) == 0
    wait = another.wait(now)
    # The first 490 are a day old then.
    assert 4 * 3600 < wait <= 5 * 3600 + 600
    assert another.wait(now + wait) == 0.0
    assert another.remaining_recipients(now + wait) == 490
    assert SendingQuota(EXCHANGE, store, "b").remaining_recipients(now) == 10_000


async def test_a_crash_loses_the_counts_of_the_last_seconds_at_most(spool: Spool) -> None:
    store = spool.store("delivery")
    allowance = SendingQuota(EXCHANGE, store, "a")
    for second in range(100):
        await allowance.count(1000.0 + second, 1)
    another = SendingQuota(EXCHANGE, store, "a")
    await another.load(1100.0)
    remaining = another.remaining_recipients(1100.0)
    assert remaining is not None
    assert 9_900 <= remaining <= 9_906


async def test_counts_use_bounded_memory(spool: Spool) -> None:
    store = spool.store("delivery")
    allowance = SendingQuota(EXCHANGE, store, "a")
    for bucket in range(400):
        await allowance.count(600.0 * bucket, 1)
    await allowance.save(600.0 * 400)
    [kept] = (await store.items()).values()
    assert len(kept["day"]) <= 146
    assert len(kept["minute"]) <= 30


async def test_messages_a_day(spool: Spool) -> None:
    allowance = SendingQuota(Limits(messages_per_day=3), spool.store("delivery"), "a")
    for _ in range(3):
        assert allowance.wait(0.0) == 0.0
        await allowance.count(0.0, 5)
    assert allowance.wait(0.0) == DAY + 600
    assert allowance.remaining_recipients(0.0) is None


async def test_messages_that_are_being_sent_count_for_others(spool: Spool) -> None:
    """Several sessions of an account ask before any of them has sent."""
    allowance = SendingQuota(Limits(messages_per_day=2, recipients_per_day=10), spool.store("delivery"), "a")
    with allowance.attempt(3):
        assert (allowance.wait(0.0), allowance.remaining_recipients(0.0)) == (0.0, 7)
        with allowance.attempt(4):
            assert 0 < allowance.wait(0.0) < 60
            assert allowance.remaining_recipients(0.0) == 3
        # The server has refused it.
        assert allowance.wait(0.0) == 0.0
        await allowance.count(0.0, 3)
    assert (allowance.wait(0.0), allowance.remaining_recipients(0.0)) == (0.0, 7)


async def test_counts_follow_a_clock_change(spool: Spool) -> None:
    allowance = SendingQuota(EXCHANGE, spool.store("delivery"), "a")
    for _ in range(30):
        await allowance.count(1000.0, 1)
    allowance.shift_clock(1e9)
    assert allowance.wait(1e9 + 1000) == pytest.approx(60.0)
    allowance.shift_clock(-1e9)
    assert allowance.wait(1000.0) == pytest.approx(60.0)


async def test_without_limits_nothing_is_counted(spool: Spool) -> None:
    allowance = SendingQuota(Limits(), spool.store("delivery"), "a")
    await allowance.load(0.0)
    for _ in range(1000):
        await allowance.count(0.0, 1000)
    assert (allowance.wait(0.0), allowance.remaining_recipients(0.0)) == (0.0, None)
    assert await spool.store("delivery").items() == {}


# The wall clock.


def test_a_clock_change() -> None:
    clocks = FastClocks(0)
    watched = WallClock(clocks.clocks)
    assert watched.step() == 0.0
    clocks.set(30)
    assert watched.step() == 0.0
    clocks.set(31)
    assert watched.step() == pytest.approx(61)
    assert watched.step() == 0.0
    clocks.set(-1e9)
    assert watched.step() == pytest.approx(-1e9)
    clocks.set(1e9)
    assert watched.step() == pytest.approx(1e9)


def test_a_clock_set_back_while_the_device_was_off() -> None:
    clocks = FastClocks(0)
    watched = WallClock(clocks.clocks, clocks.wall() + 1e9)
    assert watched.step() == pytest.approx(-1e9)
    assert watched.step() == 0.0
    assert WallClock(clocks.clocks, clocks.wall() - 1e9).step() == 0.0


def test_time_while_the_device_was_off_is_not_counted_at_once() -> None:
    clocks = FastClocks(0)
    last = clocks.wall()
    clocks.set(3 * DAY)
    watched = WallClock(clocks.clocks, last)
    watched.step()
    assert watched.expiry_time(3600) == pytest.approx(last)
    assert watched.expiry_time(0) == clocks.wall()
    assert WallClock(clocks.clocks).expiry_time(3600) == clocks.wall()
