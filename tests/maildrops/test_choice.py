"""A record chooses how its mail is fetched, and what holds where nothing is set follows from it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mailslot.errors import InputError
from mailslot.net.endpoint import Security
from mailslot.oauth.presets import presets
from mailslot.slots.effective_settings import effective_settings
from mailslot.slots.maildrop import (
    MAILDROPS,
    Maildrop,
    PushingMaildrop,
    find_maildrop,
    options_of,
    pop3,
)
from mailslot.slots.oauth_client import client_for_flow
from mailslot.slots.overview import record_overview
from mailslot.slots.records import Records
from mailslot.slots.settings import Settings
from service.polling_device import RECORD

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path)


def test_the_known_maildrops() -> None:
    assert set(MAILDROPS.names()) >= {"pop3", "imap"}
    for name in ("pop3", "imap"):
        assert isinstance(find_maildrop(name), Maildrop)
    assert find_maildrop("pop3") is pop3
    assert [isinstance(find_maildrop(name), PushingMaildrop) for name in ("pop3", "imap")] == [False, True]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"maildrop": "imapp"}, "Did you mean imap?"),
        ({"maildrop": "a b"}, "it must be pop3, or imap"),
        ({"maildrop": "imap", "maildrop_options": "foldr=Faxes"}, "Did you mean folder?"),
        ({"maildrop": "imap", "maildrop_options": "push=perhaps"}, "it must be true or false"),
        ({"maildrop": "imap", "maildrop_options": "Faxes"}, "KEY=VALUE"),
        ({"maildrop_options": "folder=Faxes"}, "The maildrop pop3 has no options."),
        ({"maildrop": "imap", "server": "pop.example.com"}, ""),
    ],
)
def test_invalid_choices_are_refused(records: Records, settings: dict[str, object], sentence: str) -> None:
    if not sentence:
        records.change(RECORD, settings, {})
        return
    with pytest.raises(InputError) as raised:
        records.change(RECORD, settings, {})
    assert sentence in str(raised.value)
    assert records.settings.load()[RECORD] == Settings()


def test_only_fetching_slots_have_a_maildrop(records: Records) -> None:
    with pytest.raises(InputError, match="no setting maildrop for SMTP"):
        records.change("smtp", {"maildrop": "imap"}, {})


def test_options(records: Records) -> None:
    records.change(RECORD, {"maildrop": "imap", "maildrop_options": "folder=[Gmail]/All Mail; mark_seen = yes"}, {})
    settings = records.settings.load()[RECORD]
    assert settings.maildrop_options == ("folder=[Gmail]/All Mail", "mark_seen = yes")
    options = options_of(find_maildrop("imap"), settings)
    assert options == {"folder": "[Gmail]/All Mail", "mark_seen": True, "move_to": None, "push": True}
    records.change(RECORD, {"maildrop": "pop3", "maildrop_options": None}, {})
    assert options_of(pop3, records.settings.load()[RECORD]) == {}


def test_inbox_is_case_insensitive() -> None:
    imap = find_maildrop("imap")
    usual = {name: key.default for name, key in imap.options.items()}
    assert imap.mailbox_id({**usual, "folder": "Inbox"}) == imap.mailbox_id(usual) == "INBOX"
    with pytest.raises(InputError, match="INBOX to itself"):
        imap.mailbox_id({**usual, "move_to": "inbox"})


@pytest.mark.parametrize(
    ("provider", "server", "scopes"),
    [
        ("google", "imap.gmail.com", "https://mail.google.com/"),
        ("microsoft365", "outlook.office365.com", "https://outlook.office.com/IMAP.AccessAsUser.All"),
        ("outlook", "outlook.office365.com", "https://outlook.office.com/IMAP.AccessAsUser.All"),
    ],
)
def test_imap_presets_have_imap_servers_and_scopes(records: Records, provider: str, server: str, scopes: str) -> None:
    values = {"maildrop": "imap", "provider": provider, "authentication": "oauth2", "account": "a@b.example"}
    records.change(RECORD, {**values, "client_id": "id"}, {})
    holds = records.effective(RECORD)
    assert (holds.server, holds.port, holds.security) == (server, 993, Security.TLS)
    client = client_for_flow(records.vault, RECORD, records.settings.load()[RECORD], None)
    assert client.scopes[0] == scopes
    assert scopes in str(record_overview(records, RECORD))
    records.change(RECORD, {"maildrop": "pop3"}, {})
    assert records.effective(RECORD).port == 995
    assert client_for_flow(records.vault, RECORD, records.settings.load()[RECORD], None).scopes[0] in {
        "https://mail.google.com/",
        "https://outlook.office.com/POP.AccessAsUser.All",
    }


def test_every_known_provider_has_imap() -> None:
    assert all(provider.imap is not None for provider in presets().values())


@pytest.mark.parametrize(
    ("settings", "port"),
    [
        (Settings(server="a", maildrop="imap"), 993),
        (Settings(server="a", maildrop="imap", security=Security.STARTTLS), 143),
        (Settings(server="a", maildrop="jmap"), None),
        (Settings(server="a"), 995),
    ],
)
def test_ports(settings: Settings, port: int | None) -> None:
    assert effective_settings(settings, "POP").port == port


def test_addresses_as_people_enter_them(records: Records) -> None:
    records.change(RECORD, {"server": "imaps://imap.example.com/", "maildrop": "imap"}, {})
    holds = records.effective(RECORD)
    assert (holds.server, holds.port, holds.security) == ("imap.example.com", 993, Security.TLS)
    with pytest.raises(InputError, match="stands for POP servers, and this slot is for IMAP"):
        records.change(RECORD, {"server": "pop3s://pop.example.com"}, {})
    with pytest.raises(InputError, match="Set maildrop to imap, too"):
        records.change(RECORD, {"server": "imap://imap.example.com", "maildrop": None}, {})


def test_the_missing_package_is_named() -> None:
    """In a process in which it is not installed, everything else works."""
    program = (
        "import importlib.metadata as metadata\n"
        "found = metadata.MetadataPathFinder.find_distributions\n"
        "def without(context=metadata.DistributionFinder.Context()):\n"
        "    return [each for each in found(context) if each.metadata['Name'] != 'mailslot-imap']\n"
        "metadata.MetadataPathFinder.find_distributions = without\n"
        "from mailslot.slots.maildrop import MAILDROPS, check_maildrop\n"
        "from mailslot.slots.settings import Settings\n"
        "assert MAILDROPS.names() == ('pop3',)\n"
        "try:\n"
        "    check_maildrop(Settings(maildrop='imap'))\n"
        "except ValueError as error:\n"
        "    print(error.cause, error)\n"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said == "invalid_input The maildrop imap comes in a package of its own: pip install mailslot-imap.\n"


def test_the_plugin_is_imported_when_it_is_used() -> None:
    program = (
        "import sys, mailslot.slots.connector, mailslot.service.poll_loop\n"
        "from mailslot.slots.maildrop import check_maildrop, find_maildrop\n"
        "from mailslot.slots.settings import Settings\n"
        "check_maildrop(Settings())\n"
        "assert 'aioimaplib' not in sys.modules\n"
        "find_maildrop('imap')\n"
        "assert 'aioimaplib' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
