"""The settings file of a fleet's panel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailslot.errors import InputError
from mailslot_plugins.panel.fleet.settings import load_settings
from mailslot_plugins.panel.fleet.staff import RoleRule

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """\
address = "https://fleet.example.com"
idle_minutes = 30
names = ["fleet.internal"]

[openid]
issuer = "https://login.example.com/realm"
client_id = "mailslot"
client_secret_file = "{folder}/secret"
claim = "roles"

[[roles]]
value = "admins"
role = "fleet"

[[roles]]
value = "{{tenant}}-staff"
role = "tenant"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("hush\n")
    found = tmp_path / "panel.toml"
    found.write_text(GOOD.format(folder=tmp_path))
    return found


def test_good_settings(file: Path) -> None:
    found = load_settings(file)
    assert (found.address, found.host, found.names) == (
        "https://fleet.example.com",
        "fleet.example.com",
        ("fleet.internal",),
    )
    assert (found.is_https, found.idle_minutes, found.certificate, found.name) == (True, 30, None, "mailslot")
    assert found.openid.client_secret is not None
    assert found.openid.client_secret.reveal() == "hush"
    assert "hush" not in repr(found)
    assert found.openid.scopes == ("openid", "profile", "email")
    assert (found.openid.claim, found.openid.sign_out) == ("roles", "provider")
    assert found.openid.rules == (RoleRule("admins", "fleet"), RoleRule("{tenant}-staff", "tenant"))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("address", "adress", "There is no setting 'adress'. Did you mean address?"),
        ('"https://fleet.example.com"', '"http://fleet.example.com"', "https"),
        ('"https://fleet.example.com"', '"https://fleet.example.com/panel"', "nothing after the host"),
        ('address = "https://fleet.example.com"', "", "its address in browsers is missing"),
        ("[openid]", "[oidc]", "There is no setting 'oidc'"),
        ("issuer", "#", "issuer is missing in [openid]"),
        ('role = "fleet"', 'role = "root"', "fleet, tenant, read-only"),
        ('role = "fleet"', "", "each [[roles]] has a value and a role"),
        ('role = "fleet"', 'role = "tenant"', "needs a tenant"),
        ("idle_minutes = 30", 'certificate = "/a.pem"', "certificate and key go together"),
        ("/secret", "/nothing", "no such file"),
        ("[openid]", "[openid", "not TOML"),
        ('claim = "roles"', 'sign_out = "no"', "provider or panel"),
    ],
)
def test_settings_that_cannot_be_used(file: Path, old: str, new: str, sentence: str) -> None:
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(InputError) as raised:
        load_settings(file)
    assert sentence in str(raised.value)


def test_what_the_rights_of_staff_follow_from(file: Path) -> None:
    realm = load_settings(file).openid.realm
    file.write_text(file.read_text().replace("idle_minutes = 30", "idle_minutes = 20"))
    assert load_settings(file).openid.realm == realm
    for old, new in (("admins", "bosses"), ("login", "sign-in"), ('"roles"', '"groups"')):
        file.write_text(file.read_text().replace(old, new))
        assert load_settings(file).openid.realm != realm


def test_the_port_in_the_address(file: Path) -> None:
    assert load_settings(file).port == 443
    file.write_text(file.read_text().replace("https://fleet.example.com", "http://127.0.0.1:8443"))
    assert load_settings(file).port == 8443


def test_nobody_has_a_role(file: Path) -> None:
    file.write_text(file.read_text().partition("[[roles]]")[0])
    with pytest.raises(InputError, match="nobody has a role"):
        load_settings(file)
    with pytest.raises(InputError, match="no such file"):
        load_settings(file.with_name("missing.toml"))


@pytest.mark.parametrize(
    ("entered", "found"),
    [
        ("https://Fleet.Example.com", "https://fleet.example.com"),
        ("https://fleet.example.com:443/", "https://fleet.example.com"),
        ("https://fleet.example.com:8443", "https://fleet.example.com:8443"),
        ("https://müller.example", "https://xn--mller-kva.example"),
        ("http://localhost:80", "http://localhost"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_the_address_is_as_browsers_send_it(file: Path, entered: str, found: str) -> None:
    """Otherwise a sign-in would redirect to itself without end."""
    file.write_text(file.read_text().replace("https://fleet.example.com", entered, 1))
    assert load_settings(file).address == found


@pytest.mark.parametrize("entered", ["https://fleet.example.com:99999", "https://fleet_..example"])
def test_an_address_that_cannot_be_one(file: Path, entered: str) -> None:
    file.write_text(file.read_text().replace("https://fleet.example.com", entered, 1))
    with pytest.raises(InputError, match="the host or the port in the address"):
        load_settings(file)
