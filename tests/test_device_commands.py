"""``mailslot account``, ``listener`` and ``device`` as an administrator types them."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING

import anyio
import pytest
import trustme

from command_line import mailslot
from mailslot.diagnosis.gateway_log import STORE, Dialogue, GatewayLog
from mailslot.diagnosis.listener_certificate import ListenerCertificate
from mailslot.smtp.content import to_content
from mailslot.spool.job import NewJob
from mailslot.spool.spool import Spool
from test_settings_commands import Shell

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "home")


def note(home: Path, line: str = "> 220") -> None:
    """Note what a gateway that runs would."""

    async def main() -> None:
        async with Spool(home) as spool:
            log = GatewayLog(spool.store(STORE))
            own = ListenerCertificate("gateway", ("gateway", "10.0.0.1"), "gateway", "0a1b", "RSA", 0.0, 4e9, True)
            log.note_listening({"scan": ("127.0.0.1", 40025)}, certificates={"legacy": [own], "box": [own]})
            for at in (1.0, 2.0):
                log.note_unknown(
                    at, "10.0.0.7", listener="scan", helo="NPIF65E56", user="scan", tls="TLSv1", verdict="Unknown user."
                )
            log.note_unknown(3.0, "10.0.0.8", listener="scan", helo="FAX", verdict="No entry has this address.")
            verdict = "It wanted TLS 1.0; this listener speaks 1.2 and later. Use the listener legacy."
            log.note_dialogue("copier", Dialogue(4.0, "scan", "10.0.0.7", "", False, "tls_failed", verdict, (line,)))
            await log.flush()

    anyio.run(main)


def test_accounts_are_slots_everywhere(shell: Shell) -> None:
    assert shell.json("account", "list") == []
    assert "mailslot account add" in shell.run("account", "list")
    shell.run("account", "add", "office")
    shell.run("account", "add", "inbox", "--protocol", "pop3")
    assert "already" in shell.run("account", "add", "office", code=2)
    assert "lower-case" in shell.run("account", "add", "Bad Name", code=2)
    shell.run("account", "add", "third", "--protocol", "imap", code=2)
    assert [(row["name"], row["slot"], row["protocol"]) for row in shell.json("account", "list")] == [
        ("office", "account.office", "SMTP"),
        ("inbox", "account.inbox", "POP"),
    ]
    assert [row["slot"] for row in shell.json("slots")][-2:] == ["account.office", "account.inbox"]
    assert [row["record"] for row in shell.json("token", "status")][-2:] == ["account.office", "account.inbox"]
    shell.run("set", "account.office", "server=127.0.0.1", "port=1", "security=none", "sender_address=o@example.com")
    assert shell.json("show", "account.office")["settings"]["port"] == 1
    [tested] = json.loads(mailslot("test", "account.office", "--json", MAILSLOT_HOME=str(shell.home)).stdout)
    assert (tested["slot"], tested["cause"]) == ("account.office", "connection_refused")
    assert "Did you mean account.office" in shell.run("show", "account.ofice", code=2)
    assert "no token of account.office any more" in shell.run("token", "delete", "account.office", "--yes")
    assert "only a POP slot" in shell.run("poll", "account.office", code=2)
    exported = shell.run("export")
    assert '[records."account.office"]' in exported
    assert "account.office" in shell.run("account", "list")


def test_an_account_with_secrets_is_removed_after_a_question(shell: Shell) -> None:
    shell.run("account", "add", "office")
    assert "no account account.other" in shell.run("account", "remove", "other", code=2)
    shell.run("set", "account.office", "account=o@example.com", "password=-", typed="geheim\n")
    assert "--yes" in shell.run("account", "remove", "office", code=2)
    assert "account.office is removed" in shell.run("account", "remove", "account.office", "--yes")
    assert not (shell.home / "vault" / "account.office.json").exists()
    shell.run("account", "add", "office")

    async def accept() -> None:
        async with Spool(shell.home) as spool:
            new = NewJob("gateway", "account.office", "a@example.com", ["b@example.com"], "Scan")
            await spool.accept(new, to_content(b"Subject: Scan\r\n\r\n"))

    anyio.run(accept)
    assert "mailslot jobs cancel 1" in shell.run("account", "remove", "office", code=2)
    shell.run("jobs", "cancel", "1")
    shell.run("account", "remove", "office")
    assert shell.json("account", "list") == []


def test_listeners(shell: Shell) -> None:
    assert shell.json("listener", "list") == []
    shell.run("listener", "add", "scan", code=2)
    assert "HOST:PORT" in shell.run("listener", "add", "scan", "--listen", "here", code=2)
    refused = shell.run("listener", "add", "scan", "--listen", "0.0.0.0:25", "--security", "none", code=2)
    assert "loopback or private" in refused
    shell.run("listener", "add", "scan", "--listen", "127.0.0.1:0", "--security", "none")
    shell.run("listener", "add", "legacy", "--listen", "192.168.1.5:587", "--legacy")
    shell.run("listener", "add", "box", "--listen", "[::1]:995", "--protocol", "pop3", "--security", "tls")
    note(shell.home)
    rows = {row["name"]: row for row in shell.json("listener", "list")}
    assert (rows["scan"]["listen"], rows["scan"]["port"]) == ("127.0.0.1:0", 40025)
    assert (rows["legacy"]["security"], rows["legacy"]["legacy"]) == ("starttls", True)
    assert (rows["box"]["protocol"], rows["box"]["host"], rows["box"]["port"]) == ("pop3", "::1", 995)
    [certificate] = rows["box"]["certificates"]
    assert (certificate["names"], certificate["generated"]) == (["gateway", "10.0.0.1"], True)
    assert (certificate["fingerprint"], certificate["valid_until"]) == ("0a1b", "2096-10-02T07:06:40+00:00")
    shown = shell.run("listener", "list")
    assert "port 40025" in shown
    assert "legacy, box: RSA certificate made by mailslot for gateway, 10.0.0.1, until 2096-10-02" in shown
    assert "SHA-256 0A:1B" in shown
    assert 'mailslot_listener_certificate_expires_timestamp_seconds{listener="box"} 4000000000' in shell.run("metrics")
    shell.run("account", "add", "inbox", "--protocol", "pop3")
    assert "by hand" not in shell.run("device", "add", "fax", "--address", "10.0.0.2", "--via", "account.inbox")
    shell.run("set", "account.inbox", "check_interval=0")
    assert "mailslot set account.inbox check_interval=5" in shell.run("device", "show", "fax")
    everywhere = shell.run("device", "add", "any", "--address", "10.0.0.3")
    assert "It may use any of these listeners" in everywhere
    assert "STARTTLS, also TLS 1.0 and 1.1" in everywhere
    shell.run("device", "add", "copier", "--address", "10.0.0.1", "--listener", "legacy")
    assert "used by the device copier" in shell.run("listener", "remove", "legacy", code=2)
    shell.run("device", "remove", "copier")
    shell.run("listener", "remove", "legacy")
    assert "no listener 'legacy'" in shell.run("listener", "remove", "legacy", code=2)


def test_a_device_from_its_entry_to_its_removal(shell: Shell, tmp_path: Path) -> None:
    shell.run("account", "add", "office")
    shell.run("listener", "add", "scan", "--listen", "127.0.0.1:2525", "--security", "none")
    certificate = tmp_path / "copier.pem"
    trustme.CA().issue_cert("copier.example").cert_chain_pems[0].write_to_path(certificate)
    added = shell.run(
        *("device", "add", "copier", "--address", "10.0.0.7", "--address", "10.1.0.0/16", "--user", "scan"),
        *("--certificate", str(certificate), "--listener", "scan", "--via", "account.office", "--sender", "keep"),
        *("--from", "*@example.com", "--to", "boss@example.net", "--to", "*@example.com"),
        *("--limit", "20/minute", "--limit", "500/day", "--size", "1000000", "--notify", "it@example.com"),
    )
    password = added.partition("Password:")[2].split()[0]
    assert len(password) == 26
    shown = shell.json("device", "show", "copier")
    assert password not in json.dumps(shown)
    assert shown["address"] == ["10.0.0.7", "10.1.0.0/16"]
    assert (shown["user"], shown["listener"], shown["via"], shown["sender"]) == (
        "scan",
        "scan",
        "account.office",
        "keep",
    )
    assert (shown["from"], shown["to"]) == (["*@example.com"], ["boss@example.net", "*@example.com"])
    assert (shown["limit"], shown["size"], shown["password"]) == (["20/minute", "500/day"], 1_000_000, "made")
    assert len(shown["certificate"][0]) == 64
    assert shown["enter"] == [
        {"listener": "scan", "host": "127.0.0.1", "port": 2525, "security": "none", "user": "scan", "legacy": False}
    ]
    assert shown["check_interval"] is None
    text = shell.run("device", "show", "copier")
    assert password not in text
    end = [line.split() for line in text.splitlines()[-4:]]
    assert end == [["Host:", "127.0.0.1"], ["Port:", "2525"], ["Encryption:", "none"], ["User:", "scan"]]
    assert [row["name"] for row in shell.json("device", "list")] == ["copier"]
    assert "10.0.0.7 or 10.1.0.0/16 and scan and its certificate" in shell.run("device", "list")
    changed = shell.run("set", "devices.copier", "to=*@example.org", "limit=", "size=2000")
    assert "Set to, limit, size of the device copier." in changed
    shown = shell.json("device", "show", "copier")
    assert (shown["to"], shown["limit"], shown["size"]) == (["*@example.org"], [], 2000)
    assert "octets" in shell.run("set", "devices.copier", "size=x", code=2)
    assert "no listener none" in shell.run("set", "devices.copier", "listener=none", code=2)
    assert "no device 'fax'" in shell.run("set", "devices.fax", "size=1", code=2)
    shell.run("set", "devices.copier", "address=", "certificate=")
    assert "Nothing identifies" in shell.run("set", "devices.copier", "user=", code=2)
    assert "belong together" in shell.run("set", "listeners.scan", "security=starttls", "key=x.key", code=2)
    shell.run("set", "listeners.scan", "security=starttls", "key=x.key", "certificate=x.pem")
    [listener] = shell.json("listener", "list")
    assert listener["key"].startswith("/")
    new = shell.run("device", "password", "copier")
    assert password not in new
    shell.run("device", "password", "copier", "--password", "-", "--apop", typed="Sommer 2024\n")
    assert shell.json("device", "show", "copier")["password"] == "recoverable"
    assert "Sommer" not in shell.settings.read_text()
    assert "used by the device copier" in shell.run("account", "remove", "office", "--yes", code=2)
    shell.run("device", "remove", "copier")
    assert shell.json("device", "list") == []
    assert not (shell.home / "vault" / "device.copier.json").exists()
    shell.run("account", "remove", "office", "--yes")


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ((), "Nothing identifies"),
        (("--to", "*"), "Nothing identifies"),
        (("--address", "nowhere"), "addresses or networks"),
        (("--address", "10.0.0.1", "--password", "x"), "belongs to a user"),
        (("--address", "10.0.0.1", "--apop"), "belongs to a user"),
        (("--user", "scan", "--password", "-"), "No password was entered"),
        (("--user", "scan", "--via", "account.none"), "no slot 'account.none'"),
        (("--user", "scan", "--listener", "none"), "no listener none"),
        (("--user", "scan", "--limit", "many"), "20/minute"),
        (("--user", "scan", "--size", "0"), "from 1 to"),
        (("--user", "scan", "--listener", ""), "name of a listener"),
        (("--certificate", "/nowhere.pem"), "cannot be used"),
        (("--certificate", "/etc/hostname"), "no certificate in PEM"),
    ],
)
def test_devices_that_are_refused(shell: Shell, arguments: tuple[str, ...], fault: str) -> None:
    assert fault in shell.run("device", "add", "copier", *arguments, code=2)
    assert not shell.settings.exists()


def test_a_password_on_the_command_line_is_warned_about(shell: Shell) -> None:
    ran = mailslot("device", "add", "c", "--user", "c", "--password", "Sommer", MAILSLOT_HOME=str(shell.home))
    assert ran.returncode == 0
    assert "--password -" in ran.stderr
    assert "Sommer" not in ran.stdout


def test_the_log_and_who_is_unknown(shell: Shell) -> None:
    assert shell.json("device", "unknown") == []
    assert "No unknown device" in shell.run("device", "unknown")
    assert "no device 'copier'" in shell.run("device", "log", "copier", code=2)
    shell.run("device", "add", "copier", "--address", "10.0.0.7")
    assert shell.json("device", "log", "copier") == []
    note(shell.home)
    first, second = shell.json("device", "unknown")
    assert (first["address"], first["helo"], first["user"], first["count"]) == ("10.0.0.8", "FAX", "", 1)
    assert (second["address"], second["user"], second["tls"], second["count"]) == ("10.0.0.7", "scan", "TLSv1", 2)
    assert second["last_at"] == "1970-01-01T00:00:02+00:00"
    assert "device adopt 10.0.0.8 NAME" in shell.run("device", "unknown")
    [dialogue] = shell.json("device", "log", "copier")
    assert (dialogue["ok"], dialogue["cause"], dialogue["lines"]) == (False, "tls_failed", ["> 220"])
    assert "Use the listener legacy." in shell.run("device", "log", "copier")
    assert shell.json("device", "list")[0]["last"]["cause"] == "tls_failed"
    shell.run("listener", "add", "scan", "--listen", "127.0.0.1:0", "--security", "none")
    metrics = shell.run("metrics").splitlines()
    assert 'mailslot_device_last_ok{device="copier",cause="tls_failed"} 0' in metrics
    assert "mailslot_unknown_devices 2" in metrics


def test_adoption(shell: Shell) -> None:
    shell.run("listener", "add", "scan", "--listen", "127.0.0.1:0", "--security", "none")
    assert "No unknown device has come from 10.0.0.7" in shell.run("device", "adopt", "10.0.0.7", "copier", code=2)
    note(shell.home)
    assert "The unknown devices are: 10.0.0.8, 10.0.0.7" in shell.run("device", "adopt", "10.0.0.9", "copier", code=2)
    adopted = shell.run("device", "adopt", "10.0.0.7", "copier", "--to", "*@example.com")
    assert "40025" in adopted
    assert "Password:" in adopted
    shown = shell.json("device", "show", "copier")
    assert (shown["address"], shown["user"], shown["to"]) == (["10.0.0.7"], "scan", ["*@example.com"])
    plain = shell.json("device", "adopt", "10.0.0.8", "fax")
    assert (plain["address"], plain["user"], plain["password"]) == (["10.0.0.8"], None, None)
    assert "made_password" not in plain
    assert shell.json("device", "unknown") == []


def test_adoption_of_one_that_wants_to_fetch(shell: Shell) -> None:
    shell.run("account", "add", "inbox", "--protocol", "pop3")
    shell.run("listener", "add", "scan", "--listen", "127.0.0.1:0", "--protocol", "pop3")
    note(shell.home)
    assert "with --via" in shell.run("device", "adopt", "10.0.0.8", "fax", code=2)
    adopted = shell.json("device", "adopt", "10.0.0.8", "fax", "--via", "account.inbox")
    assert (adopted["protocol"], adopted["enter"][0]["listener"]) == ("pop3", "scan")


def test_a_report_has_them_without_their_secrets(shell: Shell, tmp_path: Path) -> None:
    shell.run("account", "add", "office")
    shell.run("set", "account.office", "account=office@example.com", "password=-", typed="geheim-account-1\n")
    shell.run("listener", "add", "scan", "--listen", "127.0.0.1:0", "--security", "none")
    shell.run("device", "add", "copier", "--user", "scan", "--password", "-", "--apop", typed="geheim-apop-22\n")
    note(shell.home, "> PASS geheim-apop-22")
    bundle = tmp_path / "report.zip"
    shell.run("report", str(bundle))
    with zipfile.ZipFile(bundle) as files:
        texts = {name: files.read(name).decode() for name in files.namelist()}
    assert not [name for name, text in texts.items() if "geheim" in text]
    settings = json.loads(next(text for name, text in texts.items() if name.endswith("settings.json")))
    assert settings["records"]["account.office"]["settings"]["account"] == "office@example.com"
    assert settings["listeners"]["scan"]["listen"] == "127.0.0.1:0"
    assert settings["devices"]["copier"] == {"user": "scan"}
    gateway = json.loads(next(text for name, text in texts.items() if name.endswith("gateway.json")))
    assert gateway["devices"]["copier"][0]["cause"] == "tls_failed"
    assert [each["address"] for each in gateway["unknown"]] == ["10.0.0.8", "10.0.0.7"]
