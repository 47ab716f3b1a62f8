"""``mailslot doctor``: what it finds on devices in different states."""

from __future__ import annotations

import json
import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from command_line import mailslot
from diagnosis.device import Device
from mailslot.diagnosis import result
from mailslot.diagnosis.diagnosis import Diagnosis
from mailslot.diagnosis.history import History
from mailslot.home.folder import FolderHome
from mailslot.service import doctor
from mailslot.service.doctor import Check, check_device
from mailslot.service.service_lock import SERVICE_LOCK
from mailslot.service.tables import STORE, note_tables
from mailslot.slots.gateway.entries import add_device
from mailslot.slots.records import Records
from mailslot.spool.spool import Spool

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Nothing here depends on the event loop."""
    return "asyncio"


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path / "home")


async def checks(device: Device) -> dict[str, list[Check]]:
    found: dict[str, list[Check]] = {}
    for check in await check_device(Records(device.home)):
        found.setdefault(check.name, []).append(check)
    return found


async def remember_test(device: Device, slot: str, record: str, cause: str) -> None:
    test = result.TestResult(slot, record, time.time(), cause == "ok", None, Diagnosis(cause), (), ())
    await History(device.home).add(test)


async def test_an_entry_without_effect(device: Device) -> None:
    device.home.mkdir(exist_ok=True)
    (device.home / "mailslot.toml").write_text('[print]\nallowed_senders = ["@partner", "@example.com"]\n')
    [check] = (await checks(device))["settings"]
    assert (check.state, check.subject, check.command) == ("warning", "print", ("show", "print"))
    assert check.sentence.startswith("@partner in allowed_senders has no effect")


async def test_a_new_device(device: Device) -> None:
    found = await checks(device)
    [service] = found["service"]
    assert (service.state, service.command) == ("fault", ("serve",))
    assert {check.state for check in found["slot"]} == {"unused"}
    assert len(found["slot"]) == 5
    assert [check.state for name in ("queue", "clock", "disk", "tables") for check in found[name]] == ["ok"] * 4


async def test_a_running_service(device: Device) -> None:
    with FolderHome(device.home).blocking_lock(SERVICE_LOCK, timeout=60):
        assert [check.state for check in (await checks(device))["service"]] == ["ok"]


async def test_a_service_from_before_an_update(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Spool(device.home) as spool:
        await note_tables(spool.store(STORE))
        with FolderHome(device.home).blocking_lock(SERVICE_LOCK, timeout=60):
            assert [check.state for check in (await checks(device))["tables"]] == ["ok"]
            await spool.store(STORE).put("tables", {"version": "0.0.9", "digest": "of other tables"})
            [_, old] = (await checks(device))["tables"]
            assert (old.state, "the tables of mailslot 0.0.9: start it again" in old.sentence) == ("warning", True)
        # Whether a service that does not run is older does not matter.
        assert len((await checks(device))["tables"]) == 1
    monkeypatch.setattr(doctor, "installed_at", lambda: time.time() - 500 * 86_400)
    [_, aged] = (await checks(device))["tables"]
    assert (aged.state, "installed 500 days ago" in aged.sentence) == ("warning", True)


async def test_slots(device: Device) -> None:
    device.set("network.smtp", provider="google", account="a@example.com", authentication="oauth2")
    device.set("alert.smtp", server="mail.example.com", sender_address="a@example.com")
    device.set("fax.pop", server="mail.example.com")
    device.set("print.pop", server="mail.example.com")
    await remember_test(device, "alert.smtp", "alert-smtp", "ok")
    await remember_test(device, "fax.pop", "fax-pop", "name_not_found")
    found = {check.subject: check for check in (await checks(device))["slot"]}
    no_token = found["network.smtp, network.quick, install.quick"]
    assert (no_token.state, no_token.command) == ("fault", ("token", "get", "network.smtp"))
    assert found["alert.smtp"].state == "ok"
    assert (found["fax.pop"].state, found["fax.pop"].command) == ("fault", ("test", "fax.pop"))
    assert "was not found" in found["fax.pop"].sentence
    assert (found["print.pop"].state, found["print.pop"].command) == ("warning", ("test", "print.pop"))
    assert found["status.pop"].state == "unused"
    device.set("status.pop", account="status@example.com")
    [no_server] = [check for check in (await checks(device))["slot"] if check.subject == "status.pop"]
    assert (no_server.state, no_server.sentence) == ("warning", "The mail server is not set.")
    assert no_server.command == ("set", "status.pop", "server=…")


async def test_what_waits_and_why(device: Device, tmp_path: Path) -> None:
    page = tmp_path / "page.txt"
    page.write_text("A page.\n")
    device.set("network.smtp", server="mail.example.com", sender_address="a@example.com")
    environment = {"MAILSLOT_HOME": str(device.home)}
    for _ in range(2):
        assert mailslot("scan", page, "--to", "b@example.com", **environment).returncode == 3
    [ready] = (await checks(device))["queue"]
    assert (ready.state, ready.sentence) == ("ok", "2 jobs are on the way.")
    async with Spool(device.home) as spool:
        await spool.suspend("smtp", "token_update_failed", "The token has ended.")
        await spool.cancel(1)
    [held] = (await checks(device))["queue"]
    assert (held.state, held.sentence) == ("fault", "1 job is held: The token has ended.")
    assert held.command == ("jobs", "show", "2")


async def test_the_clock_was_set_back(device: Device) -> None:
    device.set("network.smtp", server="mail.example.com")
    ahead = time.time() + 30 * 86_400
    os.utime(device.home / "mailslot.toml", (ahead, ahead))
    [clock] = (await checks(device))["clock"]
    assert clock.state == "fault"


def certificate(path: Path, until: datetime, valid: int = 365) -> None:
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    made = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), until - timedelta(valid), until
    )
    path.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


async def test_passwords_of_devices(device: Device) -> None:
    assert "device" not in await checks(device)
    device.records.settings.edit({("listeners", "scan"): {"listen": "127.0.0.1:0"}})
    for name in ("fax", "hall"):
        add_device(device.records, name, {"user": name})
    [found] = (await checks(device))["device"]
    assert (found.state, found.sentence) == ("ok", "The passwords of all devices can be read.")
    # Only decrypting shows this.
    record = device.home / "vault" / "device.fax.json"
    record.write_bytes((device.home / "vault" / "device.hall.json").read_bytes())
    [found] = (await checks(device))["device"]
    assert (found.state, found.sentence.partition(" since")[0]) == ("fault", "The device fax cannot sign in,")
    (device.home / "key").unlink()
    [found] = (await checks(device))["device"]
    assert found.sentence.startswith("2 devices (fax, hall) cannot sign in, since the password is missing or cannot be")


@pytest.mark.parametrize(
    ("days", "valid", "state"),
    [(-1, 90, "fault"), (3, 90, "warning"), (300, 365, "ok"), (3, 6, "ok"), (1, 6, "warning"), (None, 0, "fault")],
)
async def test_certificates(device: Device, tmp_path: Path, days: int | None, valid: int, state: str) -> None:
    path = tmp_path / "panel.pem"
    if days is not None:
        certificate(path, datetime.now(UTC) + timedelta(days=days), valid)
    device.home.mkdir()
    (device.home / "mailslot.toml").write_text(f'[panel]\ncertificate = "{path}"\nkey = "{path}"\n')
    [found] = (await checks(device))["certificate"]
    assert (found.subject, found.state) == ("panel", state)


async def test_a_listeners_certificate_in_the_home_folder(device: Device) -> None:
    device.home.mkdir()
    certificate(device.home / "mail.pem", datetime.now(UTC) + timedelta(days=300))
    text = '[listeners.scan]\nlisten = "127.0.0.1:0"\ncertificate = "mail.pem"\nkey = "mail.key"\n'
    (device.home / "mailslot.toml").write_text(text)
    [found] = (await checks(device))["certificate"]
    assert (found.subject, found.state) == ("listeners.scan", "ok")


async def test_unusable_settings_and_a_broken_queue(device: Device) -> None:
    (device.home / "spool").mkdir(parents=True)
    (device.home / "mailslot.toml").write_text("[records.smtp]\nport = 0\n")
    found = await checks(device)
    [settings] = found["settings"]
    assert settings.state == "fault"
    assert "port" in settings.sentence
    assert found["queue"]


@pytest.mark.usefixtures("tmp_path")
def test_the_command(tmp_path: Path) -> None:
    environment = {"MAILSLOT_HOME": str(tmp_path / "home"), "COLUMNS": "80"}
    ran = mailslot("doctor", **environment)
    assert (ran.returncode, ran.stderr) == (1, "1 check found a fault.\n")
    lines = ran.stdout.splitlines()
    assert len(lines) < 24
    assert max(map(len, lines)) <= 80
    assert "mailslot serve" in ran.stdout
    ran = mailslot("doctor", "--json", **environment)
    document: list[dict[str, Any]] = json.loads(ran.stdout)
    assert {"check", "subject", "state", "message", "command"} == set(document[0])
    # With a service there is no fault, and the status is 0.
    home = tmp_path / "home"
    shutil.rmtree(home, ignore_errors=True)
    with FolderHome(home).blocking_lock(SERVICE_LOCK, timeout=60):
        assert mailslot("doctor", **environment).returncode == 0


def test_it_tests_connections_first(tmp_path: Path) -> None:
    environment = {"MAILSLOT_HOME": str(tmp_path), "COLUMNS": "80"}
    mailslot(
        "set", "alert.smtp", "server=localhost", "port=1", "security=none", "sender_address=a@b.example", **environment
    )
    ran = mailslot("doctor", "--test", **environment)
    assert "refuses connections" in " ".join(ran.stdout.split())
