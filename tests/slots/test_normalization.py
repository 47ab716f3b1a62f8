"""Normalization of what people enter for a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailslot import InputError, Security
from mailslot.slots.normalization import normalize_change
from mailslot.slots.records import Records
from mailslot.slots.settings import Settings
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.slots.slot import Protocol


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path)


@pytest.mark.parametrize(
    ("protocol", "entered", "expected"),
    [
        ("SMTP", "smtp.example.com", {"server": "smtp.example.com"}),
        ("SMTP", "smtp.example.com.", {"server": "smtp.example.com."}),
        ("SMTP", "smtps://smtp.example.com:465/", {"server": "smtp.example.com", "port": 465, "security": "tls"}),
        ("SMTP", "SMTPS://smtp.example.com", {"server": "smtp.example.com", "port": 465, "security": "tls"}),
        ("SMTP", "smtp://smtp.example.com/path?x", {"server": "smtp.example.com"}),
        ("SMTP", "smtp.example.com:587", {"server": "smtp.example.com", "port": 587}),
        ("SMTP", "smtp.example.com:465", {"server": "smtp.example.com", "port": 465, "security": "tls"}),
        ("SMTP", "smtp.example.com:2525", {"server": "smtp.example.com", "port": 2525}),
        ("SMTP", "smtp.example.com:", {"server": "smtp.example.com"}),
        ("SMTP", "[2001:db8::1]:25", {"server": "2001:db8::1", "port": 25}),
        ("SMTP", "[2001:db8::1]", {"server": "2001:db8::1"}),
        ("SMTP", "2001:db8::1", {"server": "2001:db8::1"}),
        ("SMTP", "fe80::1%eth0", {"server": "fe80::1%eth0"}),
        ("SMTP", "192.0.2.7:465", {"server": "192.0.2.7", "port": 465, "security": "tls"}),
        ("SMTP", "smtp://[::1]:2525/", {"server": "::1", "port": 2525}),
        ("POP", "pop.example.com,", {"server": "pop.example.com"}),
        ("POP", " <pop.example.com>; ", {"server": "pop.example.com"}),
        ("POP", "pop3s://pop.example.com", {"server": "pop.example.com", "port": 995}),
        ("POP", "pop3://pop.example.com:110", {"server": "pop.example.com", "port": 110}),
        ("POP", "münchen.example:995", {"server": "münchen.example", "port": 995}),
    ],
)
def test_addresses(protocol: Protocol, entered: str, expected: dict[str, object]) -> None:
    found = normalize_change({"server": entered}, Settings(), protocol)
    assert found.values == expected
    assert len(found.notes) == (expected["server"] != entered.strip())
    assert all(str(value) in found.notes[0] for value in expected.values() if found.notes)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"server": "https://mail.example.com"}, "does not begin the address of a mail server"),
        ({"server": "pop3://mail.example.com"}, "POP server"),
        ({"server": "smtp://user:geheim@mail.example.com"}, "belongs in account"),
        ({"server": "mail.example.com:587", "port": "25"}, "contradict"),
        ({"server": "smtps://mail.example.com", "security": "starttls"}, "contradict"),
        ({"server": "mail.example.com:99999"}, "65535"),
        ({"server": "mail server"}, "host name"),
        ({"server": "a:b:c"}, "host name"),
        ({"server": "mail.example.com:smtp"}, "host name"),
    ],
)
def test_meaningless_addresses_change_nothing(records: Records, values: dict[str, str], says: str) -> None:
    with pytest.raises(InputError, match=says) as raised:
        records.change("smtp", values, {"password": Secret("x")})
    assert "geheim" not in str(raised.value)
    assert raised.value.cause == "invalid_input"
    assert not records.settings.path.exists()
    assert records.vault.fields("smtp") == frozenset()


def test_conflicting_older_settings_are_removed(records: Records) -> None:
    records.change("smtp", {"port": "587", "security": "starttls"}, {})
    changed = records.change("smtp", {"server": "smtps://mail.example.com"}, {})
    assert (changed.settings.port, changed.settings.security) == (465, Security.TLS)
    assert changed.notes == (
        "smtps://mail.example.com was understood as server=mail.example.com, security=tls, port=465.",
    )


@pytest.mark.parametrize("unset", [{"security": None}, {"port": None}, {"port": None, "security": None}])
def test_settings_unset_in_the_same_change_do_not_conflict(records: Records, unset: dict[str, None]) -> None:
    records.change("smtp", {"port": "587", "security": "starttls"}, {})
    changed = records.change("smtp", {"server": "smtps://mail.example.com", **unset}, {})
    assert (changed.settings.port, changed.settings.security) == (465, Security.TLS)


def test_secondary_server(records: Records) -> None:
    changed = records.change("smtp", {"secondary_server": "smtp://backup.example.com:587/"}, {})
    assert changed.settings.secondary_server == "backup.example.com"
    assert changed.settings.port is None
    assert "same port" in changed.notes[0]


@pytest.mark.parametrize(
    "values",
    [
        {"provider": "microsoft365", "port": "465"},
        {"provider": "outlook", "security": "tls"},
        {"server": "smtp.office365.com", "port": "465"},
        {"server": "SMTP.Office365.com:465"},
        {"server": "contoso-com.mail.protection.outlook.com", "security": "tls"},
        {"provider": "microsoft365-china", "port": "465", "security": "tls"},
    ],
)
def test_microsoft_is_moved_from_port_465(records: Records, values: dict[str, str]) -> None:
    changed = records.change("smtp", values, {})
    assert (changed.settings.port, changed.settings.security) == (587, Security.STARTTLS)
    assert "Microsoft" in changed.notes[-1]


@pytest.mark.parametrize(
    ("record", "values"),
    [
        ("smtp", {"provider": "microsoft365"}),
        ("smtp", {"provider": "microsoft365", "port": "25"}),
        ("smtp", {"provider": "microsoft365", "server": "relay.example.com", "port": "465"}),
        ("smtp", {"provider": "google", "port": "465"}),
        ("smtp", {"server": "notoutlook.com.example", "port": "465"}),
        ("fax-pop", {"provider": "microsoft365", "security": "tls"}),
    ],
)
def test_other_servers_are_unchanged(records: Records, record: str, values: dict[str, str]) -> None:
    changed = records.change(record, values, {})
    assert changed.notes == ()
    assert changed.settings.port == (int(values["port"]) if "port" in values else None)


@pytest.mark.parametrize(
    ("record", "values", "says"),
    [
        ("smtp", {"authentication": "oauth2", "security": "none"}, "need encryption"),
        ("smtp", {"authentication": "password", "security": "none"}, "need encryption"),
        ("fax-pop", {"authentication": "pop_before_smtp"}, "not to POP"),
        ("smtp", {"authentication": "pop_before_smtp"}, "set pop_slot to one of fax.pop"),
        ("smtp", {"authentication": "pop_before_smtp", "pop_slot": "network.quick"}, "the id of a POP slot"),
        ("smtp", {"provider": "mircosoft"}, "such as microsoft365"),
        ("smtp", {"serber": "x"}, "Did you mean server"),
        ("smtp", {"check_interval": "5"}, "no setting check_interval for SMTP"),
    ],
)
def test_combinations(records: Records, record: str, values: dict[str, str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        records.change(record, {"server": "x.example", **values}, {"password": Secret("geheim-geheim")})
    assert not records.settings.path.exists()
    assert records.vault.fields(record) == frozenset()


def test_provider_names(records: Records) -> None:
    assert records.change("smtp", {"provider": "Gmail"}, {}).settings.provider == "google"
    assert records.effective("smtp").server == "smtp.gmail.com"
    assert records.change("smtp", {"authentication": "pop_before_smtp", "pop_slot": "fax.pop"}, {}).notes == ()
