"""Listeners and devices: their tables, who is whom, and to whom each may write."""

from __future__ import annotations

import hashlib
import math
import ssl
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trustme
from anyio.to_thread import run_sync

from mailslot.errors import InputError
from mailslot.net.endpoint import Security
from mailslot.net.server_tls import server_context
from mailslot.service.device import open_device
from mailslot.slots.accounts import add_account, check_unused, find_account
from mailslot.slots.gateway.device_entry import DeviceEntry, Limit, client_address
from mailslot.slots.gateway.entries import add_device, add_listener, remove_device, remove_listener
from mailslot.slots.gateway.gateway_settings import GatewaySettings
from mailslot.slots.gateway.instructions import instructions
from mailslot.slots.gateway.listeners import is_private
from mailslot.slots.gateway.passwords import read_password
from mailslot.slots.gateway.patterns import parse_pattern
from mailslot.slots.records import Records
from mailslot.slots.settings_export import export_settings
from mailslot.slots.settings_import import apply_import, plan_import
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.slots.settings_document import SettingsDocument

CERTIFICATE = trustme.CA().cert_pem.bytes().decode()
FINGERPRINT = hashlib.sha256(ssl.PEM_cert_to_DER_cert(CERTIFICATE)).hexdigest()


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """A home folder with an account of each kind and a listener of each kind."""
    records = Records(tmp_path / "home")
    add_account(records, "office", "SMTP")
    add_account(records, "inbox", "POP")
    records.change("account.office", {"sender_address": "office@example.com"}, {})
    add_listener(records, "scan", {"listen": "127.0.0.1:2525", "security": "none"})
    add_listener(records, "old", {"listen": "0.0.0.0:2587", "legacy": True})
    add_listener(records, "box", {"listen": "[::1]:2995", "protocol": "pop3", "security": "tls"})
    return records


def gateway(records: Records) -> GatewaySettings:
    return GatewaySettings.of(records.settings.current())


def test_listeners_are_typed(records: Records) -> None:
    listeners = gateway(records).listeners
    assert {name: each.address for name, each in listeners.items()} == {
        "scan": "127.0.0.1:2525",
        "old": "0.0.0.0:2587",
        "box": "[::1]:2995",
    }
    assert (listeners["old"].security, listeners["old"].legacy) == (Security.STARTTLS, True)
    assert (listeners["box"].protocol, listeners["box"].host, listeners["box"].port) == ("POP", "::1", 2995)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({}, "needs an address"),
        ({"listen": "127.0.0.1"}, "HOST:PORT"),
        ({"listen": "127.0.0.1:65536"}, "HOST:PORT"),
        ({"listen": "::1:25"}, "HOST:PORT"),
        ({"listen": "a b:25"}, "HOST:PORT"),
        ({"listen": "0.0.0.0:25", "security": "none"}, "loopback or private"),
        ({"listen": "[::]:25", "security": "none"}, "loopback or private"),
        ({"listen": "192.0.2.7:25", "security": "none"}, "loopback or private"),
        ({"listen": "copier.example:25", "security": "none"}, "loopback or private"),
        ({"listen": "127.0.0.1:25", "security": "none", "legacy": True}, "no TLS to set up"),
        ({"listen": "127.0.0.1:25", "certificate": "/x"}, "belong together"),
        ({"listen": "127.0.0.1:25", "key": "/x"}, "belong together"),
        ({"listen": "127.0.0.1:2525"}, "The listener scan has the address"),
        ({"listen": "127.0.0.1:25", "protocol": "imap"}, "smtp or pop3"),
        ({"listen": "127.0.0.1:25", "colour": "red"}, "no setting 'colour'"),
    ],
)
def test_listeners_that_are_refused(records: Records, values: dict[str, Any], fault: str) -> None:
    before = records.settings.path.read_bytes()
    with pytest.raises(InputError, match=fault) as caught:
        add_listener(records, "new", values)
    assert caught.value.cause == "invalid_input"
    assert records.settings.path.read_bytes() == before


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "10.1.2.3", "172.16.0.1", "192.168.0.9", "169.254.1.1", "::1", "fd00::1"]
)
def test_private_addresses(host: str) -> None:
    assert is_private(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "172.32.0.1", "11.0.0.1", "192.0.2.1", "2001:db8::1", "x.example"])
def test_other_addresses(host: str) -> None:
    assert not is_private(host)
    assert is_private("localhost")
    assert is_private("::ffff:10.0.0.1")
    assert is_private("fe80::1%eth0")
    assert not is_private("::ffff:8.8.8.8")


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({}, "Nothing identifies"),
        ({"to": ["*"]}, "Nothing identifies"),
        ({"address": ["10.0.0.999"]}, "addresses or networks"),
        ({"address": ["0.0.0.0/0"]}, "addresses or networks"),
        ({"address": ["::/0"]}, "addresses or networks"),
        ({"user": "a b"}, "without blanks"),
        ({"user": "a\nb"}, "without blanks"),
        ({"address": ["10.0.0.1"], "listener": "none"}, "There is no listener none; there are scan, old, box"),
        ({"address": ["10.0.0.1"], "via": "account.none"}, "There is no slot 'account.none'"),
        ({"address": ["10.0.0.1"], "listener": "scan", "via": "account.inbox"}, "here one for SMTP is needed"),
        ({"address": ["10.0.0.1"], "listener": "box"}, "here one for POP3 is needed"),
        ({"address": ["10.0.0.1"], "sender": "nobody"}, "account, keep"),
        ({"address": ["10.0.0.1"], "to": ["example.com"]}, r"\*@domain"),
        ({"address": ["10.0.0.1"], "to": ["*@"]}, r"\*@domain"),
        ({"address": ["10.0.0.1"], "limit": ["20/week"]}, "20/minute"),
        ({"address": ["10.0.0.1"], "limit": ["0/minute"]}, "20/minute"),
        ({"address": ["10.0.0.1"], "size": 0}, "octets"),
        ({"certificate": ["ab"]}, "certificates"),
    ],
)
def test_devices_that_are_refused(records: Records, values: dict[str, Any], fault: str) -> None:
    before = records.settings.path.read_bytes()
    with pytest.raises(InputError, match=fault) as caught:
        add_device(records, "copier", values)
    assert caught.value.cause == "invalid_input"
    assert records.settings.path.read_bytes() == before
    assert records.vault.fields("device.copier") == frozenset()


def test_an_entry_is_typed(records: Records) -> None:
    values = {
        "address": ["192.168.2.9/24", "fd00::7"],
        "user": "Scan",
        "certificate": [CERTIFICATE],
        "listener": "old",
        "via": "account.office",
        "sender": "KEEP",
        "from": ["*@bücher.example"],
        "to": ["Boss@Example.com", "*@example.net"],
        "limit": ["20/minute", "500/DAY"],
        "size": 1000,
        "notify": "it@example.com",
    }
    assert add_device(records, "copier", values) is not None
    entry = gateway(records).devices["copier"]
    assert [str(each) for each in entry.addresses] == ["192.168.2.0/24", "fd00::7/128"]
    assert entry.certificates == (FINGERPRINT,)
    assert entry.certificate_texts == (CERTIFICATE,)
    assert entry.limits == (Limit(20, 60), Limit(500, 86400))
    assert (entry.sender, entry.size, entry.notify) == ("keep", 1000, "it@example.com")
    assert entry.senders == ("*@xn--bcher-kva.example",)
    assert gateway(records).by_user == {("SMTP", "scan"): entry}
    assert gateway(records).addresses == {"account.office": "office@example.com"}
    records.change("account.office", {"server": None, "provider": "microsoft365"}, {})
    assert gateway(records).servers == {"account.office": "smtp.office365.com"}


def test_everything_that_an_entry_names_must_fit(records: Records) -> None:
    add_device(
        records, "all", {"address": ["10.0.0.0/8"], "user": "u", "certificate": [CERTIFICATE], "listener": "old"}
    )
    found, address = gateway(records), client_address("10.0.0.5")
    old = found.listeners["old"]
    entry = found.devices["all"]
    fits = {"user": "U", "certificate": FINGERPRINT}
    assert found.find(address, old, **fits) is entry
    assert found.find(address, old, user="u") is None
    assert found.find(address, old, certificate=FINGERPRINT) is None
    assert found.find(address, old, user="other", certificate=FINGERPRINT) is None
    assert found.find(client_address("11.0.0.5"), old, **fits) is None
    assert found.find(address, found.listeners["scan"], **fits) is None
    assert found.find(address, found.listeners["box"], **fits) is None
    assert found.candidates(address, old) == (entry,)
    assert found.client_certificates(old) == (CERTIFICATE,)
    assert found.client_certificates(found.listeners["scan"]) == ()
    assert found.candidates(client_address("11.0.0.5"), old) == ()
    assert found.of_user("U", old) is entry
    assert found.of_user("u", found.listeners["box"]) is None


def test_devices_that_may_connect_from_anywhere_are_listed_once_for_all_clients(records: Records) -> None:
    """There may be thousands of them, and a connection keeps its list for as long as it lasts."""
    for name in ("one", "two"):
        add_device(records, name, {"user": name, "via": "account.office"})
    add_device(records, "copier", {"address": ["10.0.0.5"]})
    found = gateway(records)
    scan, one, two = found.listeners["scan"], found.devices["one"], found.devices["two"]
    listed = found.candidates(client_address("10.0.0.6"), scan)
    assert listed == (one, two)
    assert found.candidates(client_address("10.0.0.7"), scan) is listed
    assert found.candidates(client_address("10.0.0.5"), scan) == (found.devices["copier"], one, two)
    remove_listener(records, "scan")
    assert gateway(records).candidates(client_address("10.0.0.5"), scan) == ()
    assert gateway(records).client_certificates(scan) == ()


def test_the_most_precise_entry_is_the_device(records: Records) -> None:
    add_device(records, "floor", {"address": ["10.0.0.0/8"]})
    add_device(records, "copier", {"address": ["10.0.0.5"]})
    add_device(records, "user", {"user": "u"})
    add_device(records, "certificate", {"certificate": [CERTIFICATE]})
    found = gateway(records)
    old = found.listeners["old"]

    def of(address: str, **known: str) -> str:
        entry = found.find(client_address(address), old, **known)
        assert entry is not None
        return entry.name

    assert of("10.0.0.6") == "floor"
    assert of("::ffff:10.0.0.5") == "copier"
    assert of("10.0.0.5", certificate=FINGERPRINT) == "certificate"
    assert of("10.0.0.5", certificate=FINGERPRINT, user="u") == "user"
    assert found.find(client_address("fe80::1%eth0"), old) is None


@pytest.mark.parametrize(
    ("first", "second", "fault"),
    [
        ({"user": "scan"}, {"user": "SCAN"}, "has the user SCAN already"),
        ({"address": ["10.0.0.1", "10.0.0.2"]}, {"address": ["10.0.0.2"]}, "the same address: 10.0.0.2"),
        ({"certificate": [CERTIFICATE]}, {"certificate": [CERTIFICATE]}, "the same certificate"),
    ],
)
def test_devices_that_could_not_be_told_apart(
    records: Records, first: dict[str, Any], second: dict[str, Any], fault: str
) -> None:
    add_device(records, "one", first)
    with pytest.raises(InputError, match=fault):
        add_device(records, "two", second)
    # One that fetches is another matter.
    add_device(records, "two", {**second, "via": "account.inbox"})


RECIPIENTS = [
    (None, "anybody@example.com", True),
    (None, "anybody@EXAMPLE.com", True),
    (None, "anybody@example.net", False),
    (None, "anybody@sub.example.com", False),
    (None, "no address", False),
    (("*",), "anybody@example.net", True),
    (("*",), "no address", False),
    (("*@example.net",), "anybody@Example.NET", True),
    (("*@example.net",), "anybody@example.com", False),
    (("*@bücher.example",), "a@xn--bcher-kva.example", True),
    (("*@example.net",), "victim%example.com@example.net", False),
    (("*@example.net",), "example.com!victim@example.net", False),
    (("*@example.net",), '"victim@example.com"@example.net', False),
    (("*@example.net", "victim%example.com@example.net"), "victim%example.com@example.net", True),
    (("boss@example.net",), "Boss@example.net", True),
    (("boss@example.net",), "secretary@example.net", False),
    (("boss@example.net", "*@example.org"), "x@example.org", True),
]


@pytest.mark.parametrize(("patterns", "address", "allowed"), RECIPIENTS)
def test_recipients(patterns: tuple[str, ...] | None, address: str, allowed: bool) -> None:
    parsed = None if patterns is None else tuple(map(parse_pattern, patterns))
    entry = DeviceEntry("copier", recipients=parsed)
    assert entry.allows_recipient(address, "office@example.com") is allowed
    if patterns is None:
        assert not entry.allows_recipient(address, "")


def test_senders() -> None:
    assert DeviceEntry("copier").allows_sender("whoever@example.net")
    bound = DeviceEntry("copier", senders=("*@example.com",))
    assert bound.allows_sender("scan@example.com")
    assert not bound.allows_sender("scan@example.net")
    assert bound.allows_sender("")


def test_what_is_in_use_is_not_removed(records: Records) -> None:
    add_device(records, "copier", {"address": ["10.0.0.1"], "listener": "old", "via": "account.office"})
    with pytest.raises(InputError, match=r"account\.office is used by the device copier"):
        check_unused(records.settings.current(), find_account(records, "office"))
    with pytest.raises(InputError, match="used by the device copier"):
        remove_listener(records, "old")
    # By other ways neither.
    with pytest.raises(InputError, match="There is no listener old"):
        records.settings.edit({("listeners", "old"): None})
    remove_device(records, "copier")
    remove_listener(records, "old")
    check_unused(records.settings.current(), find_account(records, "office"))
    assert set(gateway(records).listeners) == {"scan", "box"}


def test_a_file_by_hand_that_refers_to_nothing_is_named_and_can_be_mended(records: Records) -> None:
    add_device(records, "copier", {"address": ["10.0.0.1"], "listener": "old"})
    records.settings.path.write_text(records.settings.path.read_text().replace("[listeners.old]", "[listeners.new]"))
    with pytest.raises(InputError, match=r"mailslot\.toml:\d+: \[devices\.copier\] there is no listener old"):
        records.settings.load()
    records.settings.edit({("devices", "copier"): {"listener": "new"}})
    assert gateway(records).devices["copier"].listener == "new"


def test_names_by_hand_are_checked(records: Records) -> None:
    records.settings.path.write_text('[devices."Big Copier"]\naddress = ["10.0.0.1"]\n')
    with pytest.raises(InputError, match="not a name of a device"):
        records.settings.load()


def test_export_and_import_carry_them_over(records: Records, tmp_path: Path) -> None:
    add_device(records, "copier", {"user": "scan", "listener": "old", "via": "account.office", "to": ["*"]})
    exported = export_settings(records.settings.current())
    other = Records(tmp_path / "other")
    plan = plan_import(other, exported, "export.toml")
    assert not any(each.local for each in plan.changes)
    assert [note for note in plan.notes if "mailslot device password copier" in note]
    apply_import(other, plan)
    assert gateway(other) == gateway(records)
    assert other.vault.fields("device.copier") == frozenset()
    assert "listeners" not in export_settings(records.settings.current(), ["listeners"]).partition("[records")[2]
    # A listener without its encryption would be another one.
    bare = export_settings(records.settings.current(), ["security"])
    assert 'security = "none"' in bare.partition("[listeners.scan]")[2].partition("[")[0]
    alone = export_settings(records.settings.current(), ["listeners", "account.office"])
    with pytest.raises(InputError, match="There is no listener old"):
        plan_import(Records(tmp_path / "third"), alone, "export.toml")


def test_a_certificate_of_a_listener_is_a_matter_of_the_machine(records: Records, tmp_path: Path) -> None:
    files = {"certificate": "/etc/mail.pem", "key": "/etc/mail.key"}
    records.settings.edit({("listeners", "old"): files})
    exported = export_settings(records.settings.current())
    plan = plan_import(Records(tmp_path / "other"), exported, "export.toml")
    assert {each.key for each in plan.changes if each.local} == {"certificate", "key"}
    with pytest.raises(InputError, match="only somebody with a login"):
        plan.check_local()


def test_what_to_enter_at_the_device(records: Records) -> None:
    add_device(records, "copier", {"user": "scan"})
    add_device(records, "fetcher", {"user": "scan", "via": "account.inbox"})
    add_device(records, "bound", {"address": ["127.0.0.9"], "listener": "old"})
    records.settings.edit({("listeners", "scan"): {"listen": "127.0.0.1:0"}})
    found = gateway(records)
    both = instructions(found, found.devices["copier"], {"scan": ("127.0.0.1", 40025)})
    assert [(each.listener, each.port, each.security, each.user) for each in both] == [
        ("scan", 40025, Security.NONE, "scan"),
        ("old", 2587, Security.STARTTLS, "scan"),
    ]
    assert [each.host for each in instructions(found, found.devices["fetcher"], {})] == ["::1"]
    # The address of this machine that the device reaches.
    assert [each.host for each in instructions(found, found.devices["bound"], {})] == ["127.0.0.1"]
    assert instructions(found, found.devices["copier"], {})[0].port == 0


async def test_a_running_device_takes_changes_and_keeps_the_last_good_ones(records: Records) -> None:
    async with open_device(records) as device:
        assert set(device.gateway.listeners) == {"scan", "old", "box"}
        assert [slot.id for slot in device.slots.slots][-2:] == ["account.office", "account.inbox"]
        woken = anyio.Event()

        async def wait() -> None:
            await device.pause(math.inf)
            woken.set()

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            await run_sync(partial(add_device, Records(records.home), "copier", {"address": ["10.0.0.1"]}))
            assert await device.refresh()
            await woken.wait()
        assert set(device.gateway.devices) == {"copier"}
        records.settings.path.write_text("broken")
        assert not await device.refresh()
        assert set(device.gateway.devices) == {"copier"}


def test_a_listener_can_ask_for_the_certificates_of_its_devices(records: Records, tmp_path: Path) -> None:
    add_device(records, "copier", {"certificate": [CERTIFICATE], "listener": "old"})
    add_device(records, "other", {"certificate": [trustme.CA().cert_pem.bytes().decode()]})
    own = trustme.CA().issue_cert("gateway.example")
    file = tmp_path / "own.pem"
    own.private_key_and_cert_chain_pem.write_to_path(file)
    found = gateway(records)
    context = server_context([(file, file)], client_certificates=found.client_certificates(found.listeners["old"]))
    assert context.cert_store_stats()["x509"] == 2
    assert context.verify_mode is ssl.CERT_OPTIONAL
    assert len(found.client_certificates(found.listeners["scan"])) == 1


def test_a_device_that_is_added_under_the_name_of_a_removed_one_keeps_its_password(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"user": "copier", "via": "account.office"}
    add_device(records, "copier", values, password=Secret("the former password"))
    edit = records.settings.edit

    def edit_and_add(*arguments: Any, **options: Any) -> SettingsDocument:
        monkeypatch.undo()
        edited = edit(*arguments, **options)
        add_device(Records(records.home), "copier", values, password=Secret("the new password"))
        return edited

    monkeypatch.setattr(records.settings, "edit", edit_and_add)
    remove_device(records, "copier")
    stored = read_password(records.vault, "copier")
    assert stored is not None
    assert stored.verify(Secret("the new password"))
    remove_device(records, "copier")
    assert read_password(records.vault, "copier") is None
