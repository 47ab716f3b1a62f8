"""Consent of an administrator: the address by each provider's data, and the answers that Microsoft documents.

The answers are those of learn.microsoft.com/entra/identity-platform/v2-admin-consent.
"""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from mailslot.errors import InputError
from mailslot.oauth.admin_consent import admin_consent_url, consent_scopes, parse_answer
from mailslot.oauth.presets import preset, presets

GRANTED = (
    "http://localhost/myapp/permissions?admin_consent=True&tenant=fa00d692-e9c7-4460-a743-29f2956fd429&state=12345"
    "&scope=https%3a%2f%2fgraph.microsoft.com%2fCalendars.Read+https%3a%2f%2fgraph.microsoft.com%2fMail.Send"
)
REFUSED = (
    "http://localhost/myapp/permissions?error=consent_required&error_description=AADSTS65004%3a+The+resource+owner+or"
    "+authorization+server+denied+the+request.%0d%0aTrace+ID%3a+d320620c-3d56-42bc-bc45-4cdd85c41f00%0d%0aCorrelation"
    "+ID%3a+8478d534-5b2c-4325-8c2c-51395c342c89%0d%0aTimestamp%3a+2019-09-24+18%3a34%3a26Z&admin_consent=True"
    "&tenant=fa15d692-e9c7-4460-a743-29f2956fd429&state=12345"
)


def address(name: str, tenant: str | None = None, *, app: bool) -> tuple[str, dict[str, list[str]]]:
    provider = preset(name).at_tenant(tenant)
    scopes = consent_scopes(provider, ("smtp", "pop"), app=app)
    found = admin_consent_url(
        provider, client_id="the app", scopes=scopes, redirect_uri="https://setup.example/consent/admin", state="s&t"
    )
    parts = urlsplit(found)
    assert " " not in found
    assert "+" not in parts.query
    return f"{parts.scheme}://{parts.netloc}{parts.path}", parse_qs(parts.query)


def test_microsoft() -> None:
    page, query = address("microsoft365", "acme.example", app=True)
    assert page == "https://login.microsoftonline.com/acme.example/v2.0/adminconsent"
    assert query == {
        "client_id": ["the app"],
        "scope": ["https://outlook.office365.com/.default"],
        "redirect_uri": ["https://setup.example/consent/admin"],
        "state": ["s&t"],
    }
    _, query = address("microsoft365", app=False)
    assert query["scope"] == [
        "https://outlook.office.com/SMTP.Send offline_access openid profile https://outlook.office.com/POP.AccessAsUser.All"
    ]
    assert address("microsoft365-china", app=True)[0].startswith(
        "https://login.partner.microsoftonline.cn/organizations/"
    )
    assert address("microsoft365-us", app=True)[0].startswith("https://login.microsoftonline.us/organizations/")


def test_google_shows_no_answer() -> None:
    page, query = address("google", app=True)
    assert page == "https://admin.google.com/ac/owl/domainwidedelegation"
    assert query == {
        "overwriteClientId": ["true"],
        "clientIdToAdd": ["the app"],
        "clientScopeToAdd": ["https://mail.google.com/"],
    }
    consent = preset("google").admin_consent
    assert consent is not None
    assert not consent.answers


@pytest.mark.parametrize("name", [name for name, each in presets().items() if each.admin_consent is None])
def test_others_have_none(name: str) -> None:
    with pytest.raises(InputError, match="each owner of a mailbox signs in"):
        address(name, app=False)


def test_consent() -> None:
    answer = parse_answer(GRANTED)
    assert (answer.tenant, answer.state, answer.error) == ("fa00d692-e9c7-4460-a743-29f2956fd429", "12345", None)
    assert parse_answer(GRANTED.partition("?")[2]) == answer


def test_a_refusal_that_bears_admin_consent_too() -> None:
    answer = parse_answer(REFUSED)
    assert answer.state == "12345"
    assert answer.error is not None
    assert answer.error.cause == "consent_missing"
    answer = parse_answer("?admin_consent=False&state=1")
    assert answer.error is not None


@pytest.mark.parametrize(
    "text", ["", "http://localhost/", "https://x/?code=1&state=2", GRANTED + "&tenant=other", "\0"]
)
def test_what_is_no_answer(text: str) -> None:
    with pytest.raises(InputError, match="not an administrator's answer"):
        parse_answer(text)
