"""Third-party token sources: the settings and secrets that they get, and damaged ones."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from mailslot import InputError
from mailslot.slots.direct_token_source import direct_token_source
from mailslot.slots.records import Records
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.sasl.credentials import TokenSource
    from plugins.conftest import Site

MODULE = """
told = {}

class Source:
    async def token(self, *, force=False):
        raise NotImplementedError
    async def forget(self):
        pass

def good(settings):
    told.update(settings)
    return Source()

def raises(settings):
    raise ValueError(settings["secret"]().reveal())

def exits(settings):
    raise SystemExit(settings["secret"]().reveal())

def leaves(settings):
    return None

def class_(settings):
    return Source
"""
NAMES = ("good", "raises", "exits", "leaves", "class_")
SECRET = "s3cret-of-an-application"


@pytest.fixture
def made(site: Site, tmp_path: Path) -> Any:
    site.module("acme_sources", MODULE)
    site.install("acme", "\n".join(["[mailslot.token_sources]", *(f"{each} = acme_sources:{each}" for each in NAMES)]))
    records = Records(tmp_path / "home")

    def make(token_source: str, **more: object) -> TokenSource | None:
        values = {"provider": "microsoft365", "tenant": "contoso", "account": "scan@example.com", **more}
        records.change("smtp", {**values, "token_source": token_source}, {"client_secret": Secret(SECRET)})
        return direct_token_source(records.vault, "smtp", records.settings.load()["smtp"])

    return make


def test_a_direct_source_gets_settings_and_secrets(made: Any, tmp_path: Path, ca: Any) -> None:
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    made("good  a b ", timeout=7, ca_file=str(tmp_path / "ca.pem"))
    told: dict[str, Any] = import_module("acme_sources").told
    assert (told["good"], told["timeout"], told["ca_file"]) == ("a b", 7.0, tmp_path / "ca.pem")
    assert told["secret"]() == SECRET
    with pytest.raises(InputError, match="client_id"):
        told["client"]()
    client = told["client"](app=True, registered=False)
    assert (client.account, client.scopes) == ("scan@example.com", ("https://outlook.office365.com/.default",))
    assert "/contoso/" in client.provider.endpoints.token
    assert client.client_secret == SECRET
    made("good", client_id="x")
    assert told["good"] == ""
    assert "https://outlook.office.com/SMTP.Send" in told["client"]().scopes


@pytest.mark.parametrize("name", ["raises", "exits", "leaves", "class_"])
def test_a_damaged_direct_source(made: Any, name: str) -> None:
    with pytest.raises(InputError, match=f"The token source {name} ") as refused:
        made(name)
    assert refused.value.stage == "token"
    assert SECRET not in f"{refused.value} {refused.value.detail}"
    assert refused.value.__cause__ is None


def test_a_token_in_the_settings_is_refused_and_not_shown(made: Any) -> None:
    with pytest.raises(InputError, match="client_secret=-") as refused:
        made("static ya29.in-clear")
    assert "ya29" not in f"{refused.value} {refused.value.detail}"
