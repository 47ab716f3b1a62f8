"""The providers: our own file is right, a wrong one is refused, and so are half-set providers of one's own."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from mailslot import InputError, Security
from mailslot.oauth.presets import parse_presets, preset, presets
from mailslot.oauth.providers import custom_provider

FLOWS = {"browser", "device", "paste", "app", "service_account"}


def test_known_providers() -> None:
    assert list(presets()) == [
        "microsoft365",
        "microsoft365-us",
        "microsoft365-china",
        "outlook",
        "google",
        "fastmail",
        "yahoo",
        "aol",
    ]
    assert presets() is presets()


@pytest.mark.parametrize("name", presets())
def test_each_provider_is_complete(name: str) -> None:
    provider = presets()[name]
    assert set(provider.flows) | set(provider.refused_flows) == FLOWS
    assert "{" not in provider.registration
    assert "client_id=" in provider.registration
    home = provider.at_tenant("contoso.example" if provider.tenant else None)
    for address in (home.endpoints.token, home.endpoints.authorization, home.endpoints.device_authorization):
        assert address is None or (address.startswith("https://") and "{" not in address)
    for flow in provider.flows:
        home.check_flow(flow)
        app = flow in {"app", "service_account"}
        assert home.scopes("smtp", app=app)
        assert home.scopes("pop", app=app)
    for flow, reason in provider.refused_flows.items():
        with pytest.raises(InputError, match=re.escape(reason)):
            provider.check_flow(flow)
    for service in (provider.smtp, provider.pop):
        assert service is not None
        assert all(server.security is not Security.NONE for server in service.servers)
    home.check_flow("a flow of one's own")


def test_facts_of_presets() -> None:
    microsoft, google, yahoo = preset("microsoft365"), preset("google"), preset("yahoo")
    assert microsoft.smtp is not None
    assert [str(server) for server in microsoft.smtp.servers] == ["smtp.office365.com:587 (starttls)"]
    assert microsoft.smtp.mechanisms == ("XOAUTH2",)
    assert microsoft.scopes("pop") == (
        "https://outlook.office.com/POP.AccessAsUser.All",
        "offline_access",
        "openid",
        "profile",
    )
    assert microsoft.scopes("smtp", app=True) == ("https://outlook.office365.com/.default",)
    assert (microsoft.limits.messages_per_minute, microsoft.limits.connections) == (30, 3)
    assert microsoft.quirks.disuse_days == 90
    assert google.scopes("smtp") == ("https://mail.google.com/", "openid", "email")
    assert google.quirks.authorization_parameters == {"access_type": "offline", "prompt": "consent"}
    assert google.quirks.testing_days == 7
    assert (yahoo.quirks.closed, preset("aol").quirks.closed, google.quirks.closed) == (True, True, False)
    china = preset("microsoft365-china").at_tenant("t.partner.onmschina.cn")
    assert china.endpoints.token == "https://login.partner.microsoftonline.cn/t.partner.onmschina.cn/oauth2/v2.0/token"
    assert china.limits == microsoft.limits
    assert "entra.microsoftonline.cn" in china.registration


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Microsoft 365", "microsoft365"),
        ("MICROSOFT_365", "microsoft365"),
        ("office365", "microsoft365"),
        ("gcc-high", "microsoft365-us"),
        ("Outlook.com", "outlook"),
        ("gmail", "google"),
        ("aol", "aol"),
    ],
)
def test_a_provider_is_found_by_any_of_its_names(name: str, found: str) -> None:
    assert preset(name).id == found


def test_provider_names_are_unique() -> None:
    names = [name for one in presets().values() for name in (one.id, one.name, *one.aliases)]
    assert {preset(name).id for name in names} == set(presets())
    for name in names:
        assert name in {(p := preset(name)).id, p.name, *p.aliases}


@pytest.mark.parametrize("name", ["", "hotmail.example", "custom", "\x1b[31m"])
def test_an_unknown_provider(name: str) -> None:
    with pytest.raises(InputError, match="Known are microsoft365") as caught:
        preset(name)
    assert str(caught.value).isprintable()


class TestTenants:
    def test_the_default_tenant(self) -> None:
        at_home = preset("microsoft365").at_tenant(None)
        assert at_home.endpoints.token == "https://login.microsoftonline.com/organizations/oauth2/v2.0/token"
        assert at_home.endpoints.device_authorization == (
            "https://login.microsoftonline.com/organizations/oauth2/v2.0/devicecode"
        )
        assert at_home.endpoints.revocation is None

    @pytest.mark.parametrize("tenant", ["", "a/b", "../common", "a b", "a?b", "a#b", "ü", "a\n", ".", "a" * 300, "{x}"])
    def test_invalid_tenants(self, tenant: str) -> None:
        with pytest.raises(InputError, match="tenant"):
            preset("microsoft365").at_tenant(tenant)

    def test_a_provider_without_tenants(self) -> None:
        assert preset("google").at_tenant(None) is preset("google")
        with pytest.raises(InputError, match="knows no tenants"):
            preset("google").at_tenant("x")

    @pytest.mark.parametrize("tenant", [None, "common", "organizations", "consumers"])
    def test_client_credentials_need_a_specific_tenant(self, tenant: str | None) -> None:
        provider = preset("microsoft365")
        with pytest.raises(InputError, match="set tenant"):
            provider.at_tenant(tenant).check_flow("app")
        provider.at_tenant("contoso.onmicrosoft.com").check_flow("app")
        provider.at_tenant(tenant).check_flow("device")
        provider.check_flow("app")  # which tenant it will be is not known yet


class TestCustom:
    TOKEN = "https://issuer.example/token"

    def test_a_custom_provider_by_its_issuer(self) -> None:
        provider = custom_provider(issuer="https://issuer.example", scopes=" mail.send  offline_access ")
        assert provider.needs_discovery
        assert provider.endpoints.issuer == "https://issuer.example"
        assert provider.scopes("smtp") == provider.scopes("pop", app=True) == ("mail.send", "offline_access")
        for flow in ("browser", "device", "paste", "app"):
            provider.check_flow(flow)
        with pytest.raises(InputError, match="Google's alone"):
            provider.check_flow("service_account")

    def test_a_custom_provider_by_its_endpoints(self) -> None:
        provider = custom_provider(token_endpoint=self.TOKEN, authorization_endpoint="http://127.0.0.1:8080/auth")
        assert not provider.needs_discovery
        provider.check_flow("browser")
        provider.check_flow("app")
        with pytest.raises(InputError, match="no device codes"):
            provider.check_flow("device")
        provider.check_flow("device", signs_in=False)  # a grant that is there is refreshed at the token endpoint

    def test_the_token_endpoint_alone_is_for_applications(self) -> None:
        provider = custom_provider(token_endpoint=self.TOKEN)
        provider.check_flow("app")
        for flow in ("browser", "paste"):
            with pytest.raises(InputError, match="no authorization endpoint"):
                provider.check_flow(flow)

    def test_issuer_and_endpoints_together_skip_discovery(self) -> None:
        provider = custom_provider(issuer="https://issuer.example", token_endpoint=self.TOKEN)
        assert not provider.needs_discovery
        assert provider.endpoints.issuer == "https://issuer.example"

    def test_neither_issuer_nor_endpoints(self) -> None:
        with pytest.raises(InputError, match="needs its issuer") as caught:
            custom_provider(scopes="mail.send")
        assert caught.value.cause == "not_configured"

    @pytest.mark.parametrize("name", ["authorization_endpoint", "device_authorization_endpoint", "revocation_endpoint"])
    @pytest.mark.parametrize("issuer", [None, "https://issuer.example"])
    def test_incomplete_endpoints(self, name: str, issuer: str | None) -> None:
        with pytest.raises(InputError, match=f"{name} is set, and token_endpoint is not"):
            custom_provider(issuer=issuer, **{name: "https://issuer.example/x"})

    @pytest.mark.parametrize(
        "name",
        ["issuer", "authorization_endpoint", "token_endpoint", "device_authorization_endpoint", "revocation_endpoint"],
    )
    @pytest.mark.parametrize("address", ["http://issuer.example/x", "", "x", "https://u@issuer.example/"])
    def test_an_unusable_address(self, name: str, address: str) -> None:
        with pytest.raises(InputError, match=name):
            custom_provider(**{"token_endpoint": self.TOKEN, name: address})

    def test_a_custom_provider_has_no_tenants(self) -> None:
        with pytest.raises(InputError, match="no tenants"):
            custom_provider(token_endpoint=self.TOKEN).at_tenant("x")


FILE = """
[a]
name = "A"
portal = "https://a.example"
flows = ["browser"]
registration = "Go to {portal}."
[a.refused_flows]
device = "No."
[a.endpoints]
token = "https://a.example/token"
authorization = "https://a.example/auth"
[a.smtp]
servers = ["smtp.a.example:587 starttls"]
scopes = ["mail"]
[a.limits]
connections = 3
[a.sources]
endpoints = "x"
flows = "x"
refused_flows = "x"
registration = "x"
smtp = "x"
limits = "x"
"""


def test_a_provider_from_a_file() -> None:
    found = parse_presets(FILE)["a"]
    assert found.registration == "Go to https://a.example."
    assert found.pop is None
    with pytest.raises(InputError, match="no POP"):
        found.scopes("pop")


def test_a_provider_derived_from_another() -> None:
    found = parse_presets(
        FILE + '[b]\nlike = "a"\nname = "B"\n[b.smtp]\nscopes = ["other"]\n[b.limits]\nconnections = 4\n'
    )
    assert found["b"].smtp is not None
    assert found["a"].smtp is not None
    assert found["b"].smtp.servers == found["a"].smtp.servers
    assert (found["b"].scopes("smtp"), found["a"].scopes("smtp")) == (("other",), ("mail",))
    assert (found["b"].limits.connections, found["a"].limits.connections) == (4, 3)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "A"', ""),
        ('name = "A"', "name = 7"),
        ('name = "A"', 'name = "A"\ncolour = "red"'),
        ('name = "A"', 'name = "A"\ntenant = "x y"'),
        ('flows = ["browser"]', "flows = []"),
        ('flows = ["browser"]', 'flows = "browser"'),
        ('flows = ["browser"]', 'flows = ["browser", "device"]'),
        ('flows = ["browser"]', "flows = [7]"),
        ('token = "https://a.example/token"', ""),
        ('token = "https://a.example/token"', 'token = "http://a.example/token"'),
        ('authorization = "https://a.example/auth"', ""),
        (
            'authorization = "https://a.example/auth"',
            'authorization = "https://a.example/auth"\nissuer = "https://a?b"',
        ),
        ('authorization = "https://a.example/auth"', 'authorisation = "https://a.example/auth"'),
        ("587 starttls", "587 none at all"),
        ("587 starttls", "99999 starttls"),
        ("587 starttls", "starttls"),
        ('scopes = ["mail"]', ""),
        ('scopes = ["mail"]', 'scopes = ["mail"]\nmechanisms = ["PLAIN"]'),
        ("connections = 3", 'connections = "3"'),
        ("connections = 3", "connections = 0"),
        ("connections = 3", "connections = true"),
        ('limits = "x"', ""),
        ('limits = "x"', 'limits = "x"\npop = "x"'),
        ('limits = "x"', 'limits = "x"\n[a.quirks]\nclosed = true'),
        ('limits = "x"', 'limits = "x"\nquirks = "x"\n[a.quirks]\nclosed = "yes"'),
        ('limits = "x"', 'limits = "x"\nquirks = "x"\n[a.quirks]\nclient_authentication = "none"'),
        ("[a.limits]\nconnections = 3", 'limits = "none"'),
        ("[a]", "a = 1\n[b]"),
        ("[a]", "[a"),
    ],
)
def test_an_invalid_provider_file(old: str, new: str) -> None:
    assert old in FILE
    with pytest.raises((ValueError, KeyError)):
        parse_presets(FILE.replace(old, new, 1))


def test_the_library_alone_needs_no_oauth_packages() -> None:
    code = (
        "import mailslot, sys; print([m for m in ('httpx2', 'joserfc', 'authlib', 'cryptography') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_service_without_tokens_needs_no_authlib() -> None:
    code = (
        "import mailslot.service.service, mailslot.service.service_lock, sys\n"
        "print([m for m in ('authlib', 'joserfc') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_authlib_is_loaded_without_its_clients_and_keeps_warning_filters() -> None:
    code = (
        "import sys, warnings; before = list(warnings.filters)\n"
        "import mailslot.oauth.grant_source, mailslot.oauth.http, mailslot.oauth.request\n"
        "assert 'authlib.oauth2.auth' in sys.modules\n"
        "print([m for m in ('joserfc', 'cryptography') if m in sys.modules])\n"
        "import mailslot.oauth.certificate, mailslot_plugins.tokens.browser, mailslot_plugins.tokens.id_token\n"
        "print([m for m in sys.modules if m.startswith(('authlib.integrations', 'authlib.jose'))])\n"
        "print(warnings.filters == before)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n[]\nTrue\n"
