"""The flows against oidc-provider, with its real pages, and what Dovecot and Postfix say to what came of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mailslot import OAuth, StaticToken, TokenError, connect_pop3, connect_smtp
from mailslot.oauth.client import ClientCertificate
from mailslot.oauth.token_error_table import Remedy
from mailslot.oauth.token_errors import TokenServiceError
from mailslot.wire.secret import Secret
from mailslot_plugins.tokens.app import AppFlow
from mailslot_plugins.tokens.browser import BrowserFlow
from mailslot_plugins.tokens.device import DeviceFlow
from mailslot_plugins.tokens.paste import PasteFlow
from tokens.people import ChromiumUser, NoPrompt, ScriptedPerson, until

if TYPE_CHECKING:
    import ssl

    from playwright.sync_api import Page

    from lab.browser import Browser
    from lab.dovecot import Dovecot
    from lab.postfix import Postfix
    from lab.provider import Provider
    from mailslot.oauth.client import OAuthClient
    from mailslot.oauth.http import TokenHttp
    from mailslot.oauth.refresh_token_flow import RefreshTokenFlow

BY_PERSON = {
    "browser": BrowserFlow(),
    "paste": PasteFlow(),
    "device": DeviceFlow(interval=0.3),  # oidc-provider names none, and five seconds are long
}


@pytest.fixture(params=BY_PERSON)
def flow(request: pytest.FixtureRequest) -> RefreshTokenFlow:
    return BY_PERSON[request.param]


async def test_a_person_signs_in(
    flow: BrowserFlow | PasteFlow | DeviceFlow,
    provider: Provider,
    browser: Browser,
    lab_panel: OAuthClient,
    http: TokenHttp,
) -> None:
    person = ChromiumUser(browser=browser)
    grant = await flow.obtain(lab_panel, http, person)
    assert grant.flow == flow.name
    assert grant.account == "alice@example.test"
    assert set(grant.scopes) == {"mail.pop", "mail.send"}
    assert grant.access_token
    assert grant.refresh_token
    assert grant.expires_at is not None
    assert abs(grant.expires_at - grant.obtained_at - 3600) < 300
    known = provider.introspect(grant.access_token.reveal())
    assert known["active"]
    assert (known["client_id"], known["email"]) == ("panel", "alice@example.test")
    assert set(known["scope"].split()) == {"mail.pop", "mail.send"}
    secrets = [grant.access_token.reveal(), grant.refresh_token.reveal()]
    assert not any(secret in page for secret in secrets for page in person.pages)


async def test_a_provider_that_compares_redirect_uris_exactly(
    browser: Browser, lab_panel: OAuthClient, http: TokenHttp
) -> None:
    """As oidc-provider does for web applications (RFC 9700 section 2.1)."""
    flow = PasteFlow()
    exact = replace(lab_panel, client_id="exact", redirect_uri="https://printer.example.test/signed-in")
    grant = await flow.obtain(exact, http, ChromiumUser(browser=browser))
    assert (grant.flow, grant.account) == ("paste", "alice@example.test")
    assert (await flow.refresh(exact, http, grant)).access_token
    for other in ("https://printer.example.test/signed-in/", "http://127.0.0.1:8765", None):
        person = ChromiumUser(browser=browser)
        client = replace(exact, redirect_uri=other)

        async def refused(address: str, person: ChromiumUser = person) -> str:
            def act(page: Page) -> str:
                page.goto(address)
                return page.inner_text("body")

            person.pages.append(await browser.visit(act))
            return ""

        with pytest.raises(TokenError):
            await flow.obtain(client, http, ScriptedPerson(act=refused))
        assert "redirect_uri" in person.pages[0]


async def test_a_person_declines(
    flow: BrowserFlow | PasteFlow | DeviceFlow, browser: Browser, lab_panel: OAuthClient, http: TokenHttp
) -> None:
    person = ChromiumUser(browser=browser, agrees=False)
    with pytest.raises(TokenServiceError) as refused:
        await flow.obtain(lab_panel, http, person)
    assert refused.value.cause == "token_not_retrieved"
    assert refused.value.error == "access_denied"
    assert "declined" in str(refused.value)
    if flow.name == "browser":
        assert "did not work" in person.pages[0]


async def test_another_user_signs_in(browser: Browser, lab_panel: OAuthClient, http: TokenHttp) -> None:
    grant = await BrowserFlow().obtain(lab_panel, http, ChromiumUser(browser=browser, user="bob"))
    assert grant.account == "bob@example.test"
    assert lab_panel.account == "alice@example.test"


async def test_without_offline_access_there_is_no_refresh_token(
    browser: Browser, lab_panel: OAuthClient, http: TokenHttp
) -> None:
    scopes = tuple(scope for scope in lab_panel.scopes if scope != "offline_access")
    flow = BrowserFlow()
    grant = await flow.obtain(replace(lab_panel, scopes=scopes), http, ChromiumUser(browser=browser))
    assert grant.access_token
    assert grant.refresh_token is None
    with pytest.raises(TokenError) as refused:
        await flow.refresh(lab_panel, http, grant)
    assert refused.value.cause == "token_not_renewable"


async def test_refresh_rotates_and_reuse_revokes_the_grant(
    provider: Provider, browser: Browser, lab_panel: OAuthClient, http: TokenHttp
) -> None:
    flow = PasteFlow()
    first = await flow.obtain(lab_panel, http, ChromiumUser(browser=browser))
    second = await flow.refresh(lab_panel, http, first)
    assert second.refresh_token not in {None, first.refresh_token}
    assert second.previous_refresh_token == first.refresh_token
    assert second.access_token != first.access_token
    assert second.scopes == first.scopes
    third = await flow.refresh(lab_panel, http, second)
    assert third.access_token
    assert provider.introspect(third.access_token.reveal())["active"]
    for grant in (second, third):  # the used one takes the newest with it
        with pytest.raises(TokenServiceError) as refused:
            await flow.refresh(lab_panel, http, grant)
        assert (refused.value.cause, refused.value.remedy) == ("token_update_failed", Remedy.NEW_GRANT)
    assert not provider.introspect(third.access_token.reveal())["active"]


async def test_revocation_is_noticed(
    provider: Provider, browser: Browser, lab_panel: OAuthClient, http: TokenHttp
) -> None:
    flow = BrowserFlow()
    grant = await flow.obtain(lab_panel, http, ChromiumUser(browser=browser))
    assert grant.refresh_token
    assert grant.access_token
    endpoint = lab_panel.provider.endpoints.revocation
    assert endpoint
    form = {"token": grant.refresh_token, "token_type_hint": "refresh_token"}
    assert (await http.post(endpoint, form, client=lab_panel)).ok
    assert not provider.introspect(grant.access_token.reveal())["active"]
    with pytest.raises(TokenServiceError) as refused:
        await flow.refresh(lab_panel, http, grant)
    assert refused.value.cause == "token_update_failed"


async def test_client_credentials(provider: Provider, lab_panel: OAuthClient, http: TokenHttp) -> None:
    flow = AppFlow()
    key_pair = provider.certified
    bob = replace(lab_panel, client_id="bob", client_secret=Secret("bob-secret"), scopes=("mail.pop", "mail.send"))
    certified = replace(
        bob,
        client_id="certified",
        client_secret=None,
        certificate=ClientCertificate(Secret(key_pair.key), key_pair.certificate),
    )
    for client, user in ((bob, "bob"), (certified, "carol")):
        grant = await flow.obtain(client, http, NoPrompt())
        assert grant.refresh_token is None
        renewed = await flow.refresh(client, http, grant)  # a jti that came twice would be refused
        assert renewed.access_token not in {None, grant.access_token}
        assert renewed.obtained_at == grant.obtained_at
        assert renewed.access_token
        assert provider.introspect(renewed.access_token.reveal())["email"] == f"{user}@example.test"
    with pytest.raises(TokenServiceError) as refused:
        await flow.obtain(replace(bob, client_secret=Secret("alice-secret")), http, NoPrompt())
    assert (refused.value.cause, refused.value.remedy) == ("app_secret_invalid", Remedy.CONFIGURATION)
    assert "alice-secret" not in f"{refused.value} {refused.value.detail}"


async def test_client_credentials_with_client_secret_jwt(
    provider: Provider, lab_panel: OAuthClient, http: TokenHttp
) -> None:
    quirks = replace(lab_panel.provider.quirks, client_authentication="client_secret_jwt")
    signing = replace(
        lab_panel,
        provider=replace(lab_panel.provider, quirks=quirks),
        client_id="signing",
        client_secret=Secret("the secret that signing signs with"),
        scopes=("mail.send",),
    )
    grant = await AppFlow().obtain(signing, http, NoPrompt())
    renewed = await AppFlow().refresh(signing, http, grant)
    assert renewed.access_token
    assert provider.introspect(renewed.access_token.reveal())["client_id"] == "signing"
    with pytest.raises(TokenServiceError) as refused:
        await AppFlow().obtain(
            replace(signing, client_secret=Secret("another secret of the same length")), http, NoPrompt()
        )
    assert refused.value.cause == "app_secret_invalid"


async def test_the_mail_servers_accept_the_tokens(
    flow: BrowserFlow | PasteFlow | DeviceFlow,
    browser: Browser,
    dovecot: Dovecot,
    postfix: Postfix,
    lab_context: ssl.SSLContext,
    lab_panel: OAuthClient,
    http: TokenHttp,
) -> None:
    grant = await flow.obtain(lab_panel, http, ChromiumUser(browser=browser, user="bob"))
    renewed = await flow.refresh(lab_panel, http, grant)
    assert renewed.access_token
    auth = OAuth("bob@example.test", StaticToken(renewed.access_token))
    message = b"From: bob@example.test\r\nSubject: a scan\r\n\r\nsigned in with a token\r\n"
    dovecot.empty("bob")
    async with connect_smtp(postfix.submission, auth, ssl_context=lab_context) as smtp:
        receipt = await smtp.submit("bob@example.test", ["bob@example.test"], message)
    assert receipt.accepted == ("bob@example.test",)
    await until(lambda: bool(dovecot.messages("bob")))
    async with connect_pop3(dovecot.pop3s, auth, ssl_context=lab_context) as pop:
        [entry] = await pop.listing()
        fetched = b"".join([piece async for piece in pop.retrieve(entry)])
        await pop.delete(entry)
    assert fetched.endswith(b"signed in with a token\r\n")
