"""Sign-in methods, redirect URIs, registration steps and token states on their own."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.datastructures import URL

from mailslot.errors import TokenError
from mailslot.oauth.client import OAuthClient
from mailslot.oauth.grant import Grant, RefreshFailure
from mailslot.oauth.health import TokenSettings, health, token_status_line
from mailslot.oauth.presets import preset, presets
from mailslot.oauth.providers import custom_provider
from mailslot.oauth.token_error_table import Remedy
from mailslot.oauth.token_errors import TokenServiceError
from mailslot.slots.settings import Settings
from mailslot.slots.slot import SLOTS
from mailslot.wire.secret import Secret
from mailslot_plugins.panel.home.token_warning import token_warning
from mailslot_plugins.panel.security.session import Session
from mailslot_plugins.panel.token.application import fields_of, steps_of
from mailslot_plugins.panel.token.authorization import TIMED_OUT, PendingAuthorization
from mailslot_plugins.panel.token.failure import failure_of
from mailslot_plugins.panel.token.qr_code import qr
from mailslot_plugins.panel.token.registration import registration_text
from mailslot_plugins.panel.token.sign_in import SignIn
from mailslot_plugins.panel.token.sign_in_methods import SignInMethod, callback_at, redirect_uris, sign_in_methods
from mailslot_plugins.panel.token.state import TokenState
from mailslot_plugins.panel.translations import LANGUAGES
from mailslot_plugins.tokens.authorization import AuthorizationAttempt

if TYPE_CHECKING:
    from mailslot.oauth.providers import Provider
    from mailslot_plugins.panel.token.failure import SignInFailure

HERE = "http://127.0.0.1:8080/slots/network.smtp/token"
THERE = "https://panel.example:8443/slots/network.smtp/token"
NOW = 1_800_000_000.0
OWN = custom_provider(issuer="https://id.example", scopes="mail")


def names(
    provider: Provider,
    url: str,
    settings: Settings = Settings(),  # noqa: B008 - it is frozen
    *,
    confidential: bool = False,
    blocked: tuple[str, ...] = (),
) -> list[str]:
    at = provider.at_tenant(settings.tenant)
    return [each.flow for each in sign_in_methods(at, settings, URL(url), confidential=confidential, blocked=blocked)]


@pytest.mark.parametrize(
    ("provider", "url", "methods"),
    [
        ("microsoft365", HERE, ["browser", "paste", "device"]),
        ("microsoft365", THERE, ["browser", "paste", "device"]),
        ("microsoft365", "http://printer.local/", ["paste", "device"]),
        ("google", HERE, ["browser", "paste"]),
        ("google", THERE, ["browser", "paste"]),
        ("google", "http://[::1]:8080/", ["paste"]),
        ("microsoft365", "http://[::1]:8080/", ["browser", "paste", "device"]),
        ("outlook", "http://localhost/", ["browser", "paste", "device"]),
        ("fastmail", HERE, ["browser", "paste"]),
    ],
)
def test_methods_by_provider_and_address(provider: str, url: str, methods: list[str]) -> None:
    assert names(preset(provider), url) == methods


def test_methods_by_settings() -> None:
    microsoft = preset("microsoft365")
    assert names(microsoft, HERE, Settings(flow="paste"))[0] == "paste"
    assert "app" not in names(microsoft, HERE, confidential=True)  # no tenant of one's own
    own = Settings(tenant="contoso.example")
    assert names(microsoft, HERE, own, confidential=True) == ["browser", "paste", "app", "device"]
    assert names(microsoft, HERE, Settings(flow="device"))[0] == "device"
    assert names(microsoft, HERE, replace(own, flow="app"))[0] == "app"
    assert names(preset("google"), HERE, confidential=True) == ["browser", "paste", "service_account"]
    assert names(OWN, HERE, confidential=True) == ["browser", "device", "paste", "app"]


def test_a_blocked_flow_is_not_offered() -> None:
    microsoft = preset("microsoft365")
    assert names(microsoft, HERE, blocked=("device",)) == ["browser", "paste"]
    # Not even if the settings name it.
    assert names(microsoft, HERE, Settings(flow="device"), blocked=("device",)) == ["browser", "paste"]
    at = microsoft.at_tenant(None)
    risky = [
        each.flow for each in sign_in_methods(at, Settings(), URL(HERE), confidential=False) if each.can_be_blocked
    ]
    assert risky == ["device"]


@pytest.mark.parametrize(
    ("provider", "url", "callback"),
    [
        ("microsoft365", HERE, "http://localhost:8080"),
        ("google", "http://localhost:8080/x", "http://127.0.0.1:8080"),
        ("google", "http://127.0.0.1/", "http://127.0.0.1:80"),
        ("google", "http://panel.localhost:81/", "http://127.0.0.1:81"),
        ("google", THERE, "https://panel.example:8443/oauth/callback"),
        ("google", "http://192.0.2.7:8080/", ""),
        ("google", "http://panel.example/", ""),
        ("google", "http://127.0.0.1.evil.example/", ""),
    ],
)
def test_redirect_uri_of_the_panel(provider: str, url: str, callback: str) -> None:
    assert callback_at(URL(url), preset(provider)) == callback


def test_redirect_uris_to_register() -> None:
    assert redirect_uris(preset("microsoft365"), URL(HERE)) == ("http://localhost",)
    assert redirect_uris(OWN, URL(THERE)) == ("http://127.0.0.1", "https://panel.example:8443/oauth/callback")
    exact = "https://printer.example/signed-in"
    assert redirect_uris(OWN, URL(HERE), redirect_uri=exact, redirect_port=8765) == ("http://127.0.0.1:8765", exact)


def test_configured_redirect_uri() -> None:
    exact = "https://printer.example/signed-in"
    for settings, redirect_uri in ((Settings(redirect_uri=exact), exact), (Settings(), "http://127.0.0.1:")):
        [paste] = [
            each for each in sign_in_methods(OWN, settings, URL(HERE), confidential=False) if each.name == "paste"
        ]
        assert paste.redirect_uri.startswith(redirect_uri)


@pytest.mark.parametrize("provider", [*presets().values(), OWN], ids=lambda provider: provider.id)
def test_instructions_lose_nothing_but_our_own_commands(provider: Provider) -> None:
    steps = steps_of(provider.registration)
    parts = [part for step in steps for part in (step, *step.steps)]
    shown = " ".join(f"{part.text} {' '.join(part.commands)}" for part in parts)
    assert "mailslot set" not in shown
    assert "SLOT" not in shown
    assert "below" in shown
    for line in map(str.strip, provider.registration.splitlines()):
        if "mailslot set" not in line:
            assert re.sub(r"^[0-9a-z]\. ", "", line) in shown


@pytest.mark.parametrize("provider", [*presets().values(), OWN], ids=lambda provider: provider.id)
def test_instructions_are_the_same_in_every_language(provider: Provider) -> None:
    def shape(language: str) -> list[object]:
        steps = steps_of(registration_text(provider, language))
        return [(step.commands, [part.commands for part in step.steps]) for step in steps]

    def addresses(language: str) -> list[str]:
        return re.findall(r"https?://[\w./-]*\w", registration_text(provider, language))

    texts = {registration_text(provider, language) for language in LANGUAGES}
    assert len(texts) == len(LANGUAGES)
    assert not any("{" in text for text in texts)
    for language in LANGUAGES:
        assert shape(language) == shape("en"), language
        assert sorted(addresses(language)) == sorted(addresses("en")), language


def test_instructions_in_steps() -> None:
    steps = steps_of(preset("microsoft365").registration)
    assert len(steps) == 7
    assert steps[2].text.endswith("from the overview: enter that below.")
    [*_, last] = steps[5].steps
    named = [command.split()[0] for command in last.commands]
    assert named == ["New-ServicePrincipal", "Add-MailboxPermission", "Add-RecipientPermission"]
    assert fields_of(preset("microsoft365")) == ("client_id", "tenant")
    assert fields_of(OWN) == ("client_id", "scopes")


def test_qr_code_has_no_inline_style() -> None:
    picture = qr('https://id.example/device?user_code=A"><script>')
    assert picture.startswith("<svg")
    assert "style" not in picture
    assert "script" not in picture


GRANT = Grant(
    flow="browser",
    access_token=Secret("access"),
    expires_at=NOW + 3600,
    refresh_token=Secret("renewal"),
    scopes=("mail",),
    obtained_at=NOW - 86_400,
    renewed_at=NOW,
    account="bob@example.com",
)


def state(
    grant: Grant | None, account: str = "bob@example.com", provider: str = "google", **facts: object
) -> TokenState:
    settings = Settings(authentication="oauth2", account=account)
    known = TokenSettings(account=account, scopes=("mail",), **facts)  # type: ignore[arg-type] - as they are
    return TokenState(token_status_line(grant), health(grant, known, preset(provider), NOW), settings)


def test_token_state() -> None:
    well = state(GRANT)
    assert (well.line, well.kind, well.sentence("en"), well.is_there) == ("Retrieved", "ok", "", True)
    none = state(None)
    assert (none.line, none.kind, none.is_there) == ("Not Retrieved", "error", False)
    assert none.sentence("de") == "Es wurde noch kein Token abgerufen."
    dead = state(GRANT.with_failure(RefreshFailure("token_update_failed", "The token service said no.", "", NOW, None)))
    assert (dead.line, dead.kind) == ("Retrieved", "error")
    assert dead.sentence("en") == "Token update failed. Please delete the token and obtain it again."
    assert dead.sentence("de").startswith("Token-Update fehlgeschlagen.")
    elsewhere = TokenState("Not Retrieved", None, Settings(authentication="oauth2", token_source="file /t"))
    assert (elsewhere.kind, elsewhere.sentence("en")) == ("none", "The tokens come from another source.")
    unused = TokenState("Not Retrieved", None, Settings())
    assert (unused.kind, unused.sentence("en")) == ("none", "")


@pytest.mark.parametrize(
    ("token", "topic"),
    [
        (state(GRANT, "alice@example.com"), "another_user"),
        (state(replace(GRANT, scopes=("other",))), "fewer_permissions"),
        (state(replace(GRANT, refresh_token=None)), "no_renewal"),
        (state(replace(GRANT, renewed_at=NOW - 175 * 86_400, expires_at=None)), "unused"),
        (state(GRANT, secret_expires_at=NOW + 86_400), "secret_ends"),
        (state(replace(GRANT, skew=900.0)), "clock"),
        (state(replace(GRANT, flow="device"), provider="microsoft365"), "blockable_flow"),
    ],
)
def test_notes_in_every_language(token: TokenState, topic: str) -> None:
    assert token.health is not None
    assert token.health.topics == (topic,)
    assert token.kind == "warning"
    result = {language: token.sentence(language) for language in LANGUAGES}
    assert result["en"] == token.health.notes[0]
    assert len(set(result.values())) == len(LANGUAGES)
    assert all(result.values())


def test_a_token_that_ends_for_want_of_a_refresh_token() -> None:
    ends = state(replace(GRANT, refresh_token=None))
    assert ends.lacks_offline_access
    assert ends.renewal_advice("en").startswith("Add offline_access to the scopes")
    asked = replace(ends, settings=replace(ends.settings, scopes=("mail", "offline_access")))
    preset_provider = replace(ends, settings=replace(ends.settings, provider="google"))
    for other in (asked, preset_provider):
        assert not other.lacks_offline_access
        assert "must allow refresh tokens" in other.renewal_advice("en")
    assert state(GRANT).renewal_advice("en") == ""

    item = token_warning(ends, "Quick Settings", "network.quick", 0, "en")
    assert item is not None
    assert (item.step, item.address) == ("settings", "/slots/network.quick#scopes")
    assert item.sentence == ends.sentence("en")
    other_item = token_warning(asked, "", "network.quick", 0, "en")
    assert other_item is not None
    assert other_item.address == "/slots/network.quick/token"
    assert token_warning(state(GRANT), "", "network.quick", 0, "en") is None
    assert token_warning(state(GRANT, "alice@example.com"), "", "network.quick", 0, "en") is None


async def test_a_pending_authorization_accepts_one_response_before_it_expires() -> None:
    provider = custom_provider(
        authorization_endpoint="https://id.example/auth", token_endpoint="https://id.example/token"
    )
    question = PendingAuthorization(
        AuthorizationAttempt(OAuthClient(provider, "panel", "bob", ()), "http://127.0.0.1:8080")
    )
    with pytest.raises(TokenError) as late:
        await question.wait(0.01)
    assert late.value.detail == TIMED_OUT
    [state] = parse_qs(urlsplit(question.attempt.url).query)["state"]
    assert not question.accept({"state": "another", "code": "x"})
    assert question.accept({"state": state, "code": "first"})
    assert not question.accept({"state": state, "code": "second"})  # also while the first is being redeemed
    assert (await question.wait(1))["code"] == "first"


@pytest.mark.parametrize("language", LANGUAGES)
def test_sign_in_failures(language: str) -> None:
    def failure(method: str, error: TokenError | None) -> SignInFailure:
        sign_in = SignIn(SLOTS[0], SignInMethod(method, method), Session("csrf"), "http://127.0.0.1")  # type: ignore[arg-type] - a name
        sign_in.end("failed", error)
        return failure_of(sign_in, language)

    declined = TokenServiceError("No.", cause="token_not_retrieved", remedy=Remedy.NEW_GRANT, error="access_denied")
    late = TokenError("Late.", cause="token_not_retrieved", detail=TIMED_OUT)
    other = TokenError("Another provider.", cause="token_not_retrieved", detail="iss is missing")
    unreachable = TokenError("Not reached.", cause="token_service_unreachable", detail="timeout")
    found = [
        failure("browser", declined),
        failure("browser", late),
        failure("paste", other),
        failure("device", other),
        failure("device", unreachable),
        failure("device", None),
    ]
    assert len({each.sentence for each in found}) == len(found)
    assert found[1].detail == ""
    assert found[2].detail == "Another provider. iss is missing"
    assert "timeout" in found[4].detail
