"""The health of a grant: its state, who must act, and its notes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mailslot.oauth.grant import RefreshFailure
from mailslot.oauth.health import DAY, Health, TokenSettings, health, token_status_line
from mailslot.oauth.presets import preset
from mailslot.oauth.providers import Endpoints, Provider, Quirks
from mailslot.oauth.settings_digest import settings_digest
from mailslot.vault.errors import unreadable_error, unwritable_error
from refresh.device import ACCOUNT, client, grant, running
from refresh.service import ScriptedResponse
from vault.conftest import limit_file_size

if TYPE_CHECKING:
    from pathlib import Path

    from refresh.service import Service

NOW = 1_800_000_000.0
PLAIN = Provider("custom", "Test", Endpoints(token="https://t.test/token"))
FACTS = TokenSettings(ACCOUNT, ("mail.send",))
GOOD = grant(("a", "r"), NOW, age=600)


def failed(cause: str, *, passing: bool = False, at: float = NOW - 60) -> RefreshFailure:
    return RefreshFailure(cause, "It failed.", "detail", at, at + 300 if passing else None)


def tell(
    of: object = GOOD, facts: TokenSettings = FACTS, provider: Provider = PLAIN, now: float = NOW, **more: object
) -> Health:
    return health(of, facts, provider, now, **more)


def test_token_line() -> None:
    assert token_status_line(None) == "Not Retrieved"
    assert token_status_line(replace(GOOD, access_token=None)) == "Not Retrieved"
    assert token_status_line(GOOD) == "Retrieved"
    assert token_status_line(GOOD.with_failure(failed("token_update_failed"))) == "Retrieved"


def test_healthy() -> None:
    assert tell() == Health(
        "ok",
        account=ACCOUNT,
        scopes=("mail.send",),
        obtained_at=NOW - 600,
        renewed_at=NOW - 600,
        expires_at=NOW + 3000,
        flow="browser",
    )


def test_an_expired_access_token_is_healthy() -> None:
    assert tell(now=NOW + 5 * DAY).state == "ok"


def test_without_a_grant() -> None:
    told = tell(None)
    assert (told.state, told.cause) == ("needs_token", "token_not_retrieved")


def test_unreadable() -> None:
    told = tell(None, store_error=unreadable_error("The record is damaged.", "d"))
    assert (told.state, told.cause, told.sentence) == (
        "unreadable",
        "token_store_unreadable",
        "The record is damaged.",
    )


def test_unwritable() -> None:
    told = tell(store_error=unwritable_error("The disk is full."))
    assert (told.state, told.cause, told.sentence) == (
        "needs_administrator",
        "token_store_unwritable",
        "The disk is full.",
    )
    assert told.account == ACCOUNT


@pytest.mark.parametrize(
    ("cause", "state"),
    [
        ("token_update_failed", "needs_token"),
        ("token_not_renewable", "needs_token"),
        ("token_for_other_service", "needs_token"),
        ("consent_missing", "needs_administrator"),
        ("app_secret_expired", "needs_administrator"),
        ("account_locked", "needs_administrator"),
        ("unknown", "needs_administrator"),
    ],
)
def test_failures_that_need_action(cause: str, state: str) -> None:
    told = tell(GOOD.with_failure(failed(cause)))
    assert (told.state, told.cause, told.sentence) == (state, cause, "It failed.")
    assert told.failure == failed(cause)


def test_a_temporary_failure() -> None:
    told = tell(GOOD.with_failure(failed("token_service_busy", passing=True)))
    assert (told.state, told.cause) == ("expiring", "token_service_busy")


def test_a_failure_under_other_settings() -> None:
    old = replace(GOOD.with_failure(failed("app_secret_invalid")), settings="old")
    assert tell(old, replace(FACTS, digest="old")).state == "needs_administrator"
    assert tell(old, replace(FACTS, digest="new")).state == "ok"
    assert tell(old, replace(FACTS, digest="new")).failure is not None


def test_no_refresh_token() -> None:
    bare = replace(GOOD, refresh_token=None)
    told = tell(bare)
    assert (told.state, told.cause) == ("expiring", "token_not_renewable")
    assert any("No refresh token" in note for note in told.notes)
    assert tell(bare, now=NOW + 3001).state == "needs_token"
    forever = tell(replace(bare, expires_at=None))
    assert forever.state == "ok"
    assert len(forever.notes) == 1
    alone = tell(bare, replace(FACTS, app_only=True), now=NOW + 3001)
    assert (alone.state, alone.notes) == ("ok", ())


def test_another_account() -> None:
    told = tell(replace(GOOD, account="boss@example.com"))
    assert told.state == "ok"
    assert told.account == "boss@example.com"
    assert told.notes == (f"boss@example.com signed in, while the account is {ACCOUNT}.",)
    assert tell(replace(GOOD, account=ACCOUNT.upper())).notes == ()
    assert tell(replace(GOOD, account=None)).notes == ()


def test_fewer_scopes() -> None:
    asked = replace(FACTS, scopes=("mail.send", "mail.pop", "offline_access", "openid"))
    assert tell(facts=asked).notes == ("Fewer permissions were granted than asked for: mail.pop is missing.",)
    outlook = TokenSettings(ACCOUNT, ("https://outlook.office.com/SMTP.Send", "offline_access"))
    assert tell(replace(GOOD, scopes=("SMTP.Send",)), outlook).notes == ()


@pytest.mark.parametrize(("name", "days"), [("microsoft", 90), ("google", 180)])
def test_expiry_by_disuse(name: str, days: int) -> None:
    provider = preset(name)
    quirk = provider.quirks.disuse_days
    assert quirk is not None
    assert abs(quirk - days) < 5
    told = tell(provider=provider, now=NOW - 600 + 10 * DAY)
    assert told.renewal_days_left == pytest.approx(quirk - 10)
    assert (told.state, told.notes) == ("ok", ())
    told = tell(provider=provider, now=NOW - 600 + (quirk - 10) * DAY)
    assert told.state == "expiring"
    assert "10 days are left" in told.notes[0]
    told = tell(provider=provider, now=NOW + (quirk + 1) * DAY)
    assert told.renewal_days_left < 0
    assert "may have ended" in told.notes[0]
    assert tell(provider=provider, now=0.0).renewal_days_left == quirk
    assert tell(replace(GOOD, refresh_token=None), provider=provider).renewal_days_left is None


def test_an_application_in_testing() -> None:
    google = preset("google")
    assert google.quirks.testing_days == 7
    signed_in = NOW - 8 * DAY
    died = replace(GOOD, obtained_at=signed_in, renewed_at=NOW - 1.05 * DAY)
    told = tell(died.with_failure(failed("token_update_failed", at=NOW - 0.99 * DAY)), provider=google)
    assert told.state == "needs_token"
    assert any("Testing" in note for note in told.notes)
    later = replace(died, renewed_at=NOW - DAY / 2)
    assert not tell(later.with_failure(failed("token_update_failed", at=NOW)), provider=google).notes
    sooner = failed("token_update_failed", at=signed_in + 5 * DAY)
    assert not tell(replace(died, renewed_at=signed_in).with_failure(sooner), provider=google).notes
    assert not tell(died.with_failure(failed("token_service_busy", passing=True)), provider=google).notes
    assert not tell(died.with_failure(failed("token_update_failed")), provider=PLAIN).notes


def test_the_applications_secret() -> None:
    ends = replace(FACTS, secret_expires_at=NOW + 100 * DAY)
    assert tell(facts=ends).state == "ok"
    assert tell(facts=ends).secret_expires_at == NOW + 100 * DAY
    soon = tell(facts=ends, now=NOW + 93 * DAY)
    assert soon.state == "expiring"
    assert soon.notes[0] == "The application's secret expires in 7 days."
    assert "has expired" in tell(facts=ends, now=NOW + 101 * DAY).notes[0]


def test_a_wrong_clock() -> None:
    assert "60 minutes" in tell(replace(GOOD, skew=-3600.0)).notes[0]
    assert tell(replace(GOOD, skew=100.0)).notes == ()


def test_health_contains_no_secret() -> None:
    told = repr(tell(grant(("at-secret", "rt-secret"), NOW).with_failure(failed("unknown"))))
    assert "at-" not in told
    assert "rt-" not in told


async def test_health_after_a_real_failure(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        service.policy = "lax"
        facts = replace(FACTS, digest=settings_digest(device.client, "browser"))
        await device.sign_in(age=7200)
        await device.token()
        assert tell(await device.grant(), facts, device.client.provider, device.clocks.wall).state == "ok"
        device.clocks.pass_by(3601)
        service.say = [ScriptedResponse(400, {"error": "invalid_grant"})] * 3
        error = await device.refuse("token_update_failed")
        told = tell(await device.grant(), facts, device.client.provider, device.clocks.wall)
        assert (told.state, told.cause, told.sentence) == ("needs_token", error.cause, str(error))
        with limit_file_size(10):
            await device.token(ignore_backoff=True)
        told = tell(
            await device.grant(),
            facts,
            device.client.provider,
            device.clocks.wall,
            store_error=device.source.save_error,
        )
        assert (told.state, told.cause) == ("needs_administrator", "token_store_unwritable")


def test_digests_distinguish_settings() -> None:
    one, other = client("http://localhost"), client("http://localhost", secret="s")
    assert settings_digest(one, "browser") == settings_digest(client("http://localhost"), "browser")
    assert len({settings_digest(one, "browser"), settings_digest(other, "browser"), settings_digest(one, "app")}) == 3
    assert Quirks().disuse_days is None
