"""Devices are set up from a table: each fault has its place, each device changes as a whole, and again nothing does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from command_line import mailslot
from mailslot.errors import InputError
from mailslot.fleet.export_table import export_table
from mailslot.fleet.homes import FleetHomes
from mailslot.fleet.opening import FleetPlaces
from mailslot.fleet.postgres.home import find_device
from mailslot.fleet.set_up import SetUp
from mailslot.fleet.set_up_table import MAX_COLUMNS, MAX_LINES, MAX_OCTETS, read_device_table
from mailslot.slots.csv_rows import MAX_LINE
from mailslot.slots.records import Records
from mailslot_plugins.scan.section import SECTION

if TYPE_CHECKING:
    from pathlib import Path

    from lab.postgres import Fleet
    from mailslot.fleet.set_up import DeviceChange

TABLE = """\
tenant,device,account,provider,provider_tenant,fax.pop.provider,fax.pop.account,fax.pop.check_interval,device.location
wide,copier-1,one@wide.example,microsoft365,wide.example,,,,Hall
wide,copier-2,two@wide.example,microsoft365,wide.example,google,fax@wide.example,5,"Room 2, left"
"""


def homes(fleet: Fleet) -> FleetHomes:
    return FleetHomes(fleet.url, fleet.database, fleet.master, FleetPlaces(fleet.folder, fleet.folder / "master.key"))


def apply(fleet: Fleet, text: str, *, dry_run: bool = False) -> list[DeviceChange]:
    table = read_device_table(text.encode())
    assert table.faults == ()
    return [*SetUp(fleet.registry, homes(fleet), fleet.registry.names(), dry_run=dry_run).apply(table.devices)]


def outcomes(done: list[DeviceChange]) -> list[str]:
    return [each.outcome for each in done]


def test_devices_are_added_changed_and_left(fleet: Fleet) -> None:
    before = len(fleet.registry.names())
    dry = apply(fleet, TABLE, dry_run=True)
    assert outcomes(dry) == ["added", "added"]
    assert len(fleet.registry.names()) == before

    done = apply(fleet, TABLE)
    assert done == dry
    assert [(each.table, each.key, each.after) for each in done[1].changes if each.key != "authentication"] == [
        ("records.smtp", "account", "two@wide.example"),
        ("records.smtp", "provider", "microsoft365"),
        ("records.smtp", "tenant", "wide.example"),
        ("records.fax-pop", "provider", "google"),
        ("records.fax-pop", "account", "fax@wide.example"),
        ("records.fax-pop", "check_interval", 5),
        ("device", "location", "Room 2, left"),
    ]
    records = Records(fleet.home("wide", "copier-2"))
    settings = records.settings.load()
    assert (settings["smtp"].authentication, settings["fax-pop"].check_interval) == ("oauth2", 5)

    # Nothing is written where nothing differs, so no worker has to look at the device again.
    version = records.place.documents.configuration_version()
    assert outcomes(apply(fleet, TABLE)) == ["unchanged", "unchanged"]
    assert records.place.documents.configuration_version() == version

    changed = TABLE.replace("two@wide.example", "zwei@wide.example").replace(",Hall", ",-")
    dry = apply(fleet, changed, dry_run=True)
    assert outcomes(dry) == ["changed", "changed"]
    assert records.place.documents.configuration_version() == version
    assert apply(fleet, changed) == dry
    assert records.settings.load()["smtp"].account == "zwei@wide.example"
    assert dry[0].changes[0].after is None


def test_a_run_that_was_interrupted_is_repeated(fleet: Fleet) -> None:
    table = read_device_table(TABLE.replace("wide,", "half,").encode())
    started = SetUp(fleet.registry, homes(fleet), fleet.registry.names(), dry_run=False).apply(table.devices)
    assert next(started).outcome == "added"
    started.close()
    assert [name for name in fleet.registry.names() if name[0] == "half"] == [("half", "copier-1")]
    assert outcomes(apply(fleet, TABLE.replace("wide,", "half,"))) == ["unchanged", "added"]


def test_devices_that_somebody_adds_or_removes_meanwhile(fleet: Fleet) -> None:
    """All others are set up."""
    table = read_device_table(b"tenant,device,account\nbusy,a,a@x.example\nbusy,b,b@x.example\nbusy,c,c@x.example\n")
    fleet.registry.add("busy", "a", fleet.master)
    known = [*fleet.registry.names(), ("busy", "b")]
    set_up = SetUp(fleet.registry, homes(fleet), [each for each in known if each != ("busy", "a")], dry_run=False)
    done = [*set_up.apply(table.devices)]
    assert outcomes(done) == ["changed", "failed", "added"]
    assert [str(each) for each in done[1].faults] == [
        "Line 3: The device was removed from the fleet meanwhile: run the command again to add it."
    ]


def test_a_device_with_a_fault_stays_as_it_is(fleet: Fleet) -> None:
    header = "tenant,device,account,authentication,security,fax.pop.account\n"
    apply(fleet, header + "torn,a,a@torn.example,,,x@torn.example\n")
    table = header + "torn,a,b@torn.example,password,none,y@torn.example\ntorn,b,b@torn.example,,,\n"
    for dry_run in (True, False):
        bad, good = apply(fleet, table, dry_run=dry_run)
        assert (bad.outcome, good.outcome) == ("failed", "added")
        [fault] = bad.faults
        assert (fault.line, fault.column) == (2, "security")
        assert "need encryption" in fault.sentence
    assert Records(fleet.home("torn", "a")).settings.load()["fax-pop"].account == "x@torn.example"
    # A new device with a fault is not added.
    [bad] = apply(fleet, header + "torn,c,c@torn.example,password,none,\n")
    assert bad.outcome == "failed"
    assert ("torn", "c") not in fleet.registry.names()


def test_slots_in_lines_and_accounts(fleet: Fleet) -> None:
    table = """\
tenant;device;slot;account;provider;protocol
lines;a;network.smtp;a@lines.example;google;
lines;a;account.gate;b@lines.example;microsoft365;smtp
lines;b;account.gate;b@lines.example;microsoft365;
"""
    a, b = apply(fleet, table)
    assert (a.outcome, b.outcome) == ("added", "failed")
    assert "protocol" in b.faults[0].sentence
    assert b.faults[0].line == 4
    settings = Records(fleet.home("lines", "a")).settings.load()
    assert settings["account.gate"].account == "b@lines.example"
    assert settings["smtp"].provider == "google"
    assert outcomes(apply(fleet, "\n".join(table.splitlines()[:3]))) == ["unchanged"]


def test_export_and_set_up_again(fleet: Fleet) -> None:
    table = """\
tenant,device,slot,account,provider,scopes,sender_name,protocol,device.name,maildrop_options
back,a,network.smtp,a@back.example,microsoft365,one two,=SUM(1),,Copier,
back,a,print.pop,p@back.example,google,,,,,
back,a,account.x,x@back.example,google,,,pop3,,
back,b,network.smtp,b@back.example,google,,"'quoted",,Müller's,
"""
    apply(fleet, table)
    fleet.registry.add("back", "empty", fleet.master)
    octets, left_out = export_table(fleet.registry.settings_documents("back"))
    assert left_out == []
    exported = octets.decode("utf-8-sig")
    assert "'=SUM(1)" in exported
    again = apply(fleet, exported)
    assert outcomes(again) == ["unchanged"] * 3
    for name in ("a", "b", "empty"):
        fleet.registry.remove("back", name)
    assert outcomes(apply(fleet, exported)) == ["added"] * 3
    assert export_table(fleet.registry.settings_documents("back")) == (octets, [])


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("", "no column tenant"),
        ("tenant,account\n", "no column device"),
        ("tenant,device,acount\n", "Line 1, column acount: There is no setting 'acount'. Did you mean account?"),
        ("tenant,device,password\n", "Line 1, column password: Passwords and secrets do not belong in a table"),
        ("tenant,device,fax.pop.client_secret\n", "column fax.pop.client_secret"),
        ("tenant,device,nowhere.account\n", "There is no slot or section 'nowhere'"),
        ("tenant,device,account,account\n", "It stands there twice"),
        ('tenant,device\n"a,b\n', "is not CSV"),
    ],
)
def test_headers_that_cannot_be_used(table: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        read_device_table(table.encode())
    assert sentence in str(caught.value)


def test_every_fault_has_its_line_and_column() -> None:
    table = read_device_table(
        b"""\
# a comment

tenant,device,slot,account,port,check_interval,device.language
acme,a,,a@example.com,25,,xx
Acme,b,,a@example.com,99999,,

acme,c,nosuch.slot,,,,
acme,d,fax.pop,,,1441,,more
acme,d,fax.pop,,,5,
acme,e,network.smtp,,,5,
"""
    )
    assert [(fault.line, fault.column) for fault in table.faults] == [
        (4, "device.language"),
        (5, "tenant"),
        (7, "slot"),
        (8, ""),
        (8, "check_interval"),
        (9, "check_interval"),
        (10, "check_interval"),
    ]
    assert str(table.faults[0]).startswith("Line 4, column device.language: The setting language is 'xx'")
    assert "another value" in table.faults[5].sentence


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (b"tenant,device\n" + b"a,b\n" * (MAX_LINES + 1), "more than 100000 lines"),
        (b"tenant,device" + b",x" * MAX_COLUMNS, "more than 1000 columns"),
        (b"tenant,device\na,b" + b"," * MAX_LINE, "Line 2 is not CSV: it has more than 262144 characters"),
        (b'tenant,device\na,"b\n' + b"a,b\n" * 50_000, "Line 2 is not CSV: a cell has more than 131072 characters"),
        (b"\0" * (MAX_OCTETS + 1), "larger than 33554432 octets"),
    ],
    ids=["lines", "columns", "line", "quotation mark", "octets"],
)
def test_tables_that_are_too_large(table: bytes, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read_device_table(table)


def test_a_table_with_many_faults_is_not_read_to_its_end() -> None:
    found = read_device_table(b"tenant,device,port\n" + b"".join(b"a,d%d,x\n" % number for number in range(5000)))
    assert len(found.faults) == 1001
    assert str(found.faults[-1]) == "Line 1002: There are many faults before this line; it was not read."


def test_what_no_worker_does_is_refused(fleet: Fleet) -> None:
    table = "tenant,device,device.location,scan.folder\nidle,a,Hall,/scans\nidle,b,Hall,\n"
    first, second = apply(fleet, table)
    assert (first.outcome, second.outcome) == ("failed", "added")
    [fault] = first.faults
    assert (fault.line, fault.column) == (2, "scan.folder")
    assert "?device=idle/a' set scan folder=" in fault.sentence
    # Where it is set already, a table that was exported says nothing new.
    home = homes(fleet).open(find_device(fleet.database, "idle", "b"))
    Records(home).settings.change_section(SECTION, {"folder": "/scans"})
    table = "tenant,device,scan.folder\nidle,b,"
    assert outcomes(apply(fleet, f"{table}/scans\n")) == ["unchanged"]
    assert outcomes(apply(fleet, f"{table}-\n")) == ["changed"]


def test_the_commands(fleet: Fleet, tmp_path: Path) -> None:
    environment = {
        "MAILSLOT_DATABASE": fleet.url,
        "MAILSLOT_MASTER_KEY": str(fleet.master.file),
        "XDG_DATA_HOME": str(tmp_path),
        "COLUMNS": "200",
    }

    def run(*words: object, code: int = 0, **more: Any) -> Any:
        ran = mailslot("fleet", *words, **environment, **more)
        assert ran.returncode == code, (ran.stdout, ran.stderr)
        return ran

    file = tmp_path / "devices.csv"
    file.write_text(TABLE.replace("wide", "typed"))
    shown = run("set-up", file, "--dry-run").stdout
    assert "two@typed.example" in shown
    assert "It would be: 2 added" in shown
    assert "2 added" in run("set-up", file).stdout
    document = json.loads(run("set-up", file, "--json").stdout)
    assert [each["outcome"] for each in document["devices"]] == ["unchanged", "unchanged"]
    assert "one@typed.example" in run("table", "--tenant", "typed").stdout
    file.write_text(TABLE.replace("wide", "typed").replace(",5,", ",often,"))
    # Not even the end of what has none is waited for.
    assert "larger than" in run("set-up", "/dev/zero", code=2).stderr
    failed = run("set-up", file, code=2)
    assert "Line 3, column fax.pop.check_interval" in failed.stderr
    assert "Nothing was changed" in failed.stderr
