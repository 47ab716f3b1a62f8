"""Passwords of devices: how they are kept, how fast they are verified, and what the time tells."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot.errors import InputError
from mailslot.slots.gateway import passwords, stored_password
from mailslot.slots.gateway.entries import add_device, password_kind, remove_device, set_device_password
from mailslot.slots.gateway.gateway_settings import GatewaySettings
from mailslot.slots.gateway.passwords import DevicePasswords
from mailslot.slots.records import Records
from mailslot.vault.documents import FolderDocuments
from mailslot.vault.errors import VaultError
from mailslot.wire.secret import Secret
from shortage import no_descriptors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailslot.slots.gateway.device_entry import DeviceEntry


class Gate:
    """A home folder with devices, and how a client signs in to it."""

    def __init__(self, home: Path) -> None:
        self.records = Records(home)
        self.passwords = DevicePasswords(self.records.vault)

    def add(self, name: str, password: str | None = None, *, recoverable: bool = False) -> str:
        chosen = None if password is None else Secret(password)
        made = add_device(self.records, name, {"user": name}, password=chosen, recoverable=recoverable)
        return (made or Secret("")).reveal()

    def devices(self) -> dict[str, DeviceEntry]:
        return dict(GatewaySettings.of(self.records.settings.current()).devices)

    async def sign_in(self, user: str, password: str) -> bool:
        devices = self.devices()
        return await self.passwords.verify(devices.get(user), Secret(password), devices.values()) is not None


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "home")


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Counts the slow comparisons."""
    counted: list[str] = []
    verify: Callable[[str, str], bool] = stored_password._verify_slowly

    def counting(hashed: str, text: str) -> bool:
        counted.append(text)
        return verify(hashed, text)

    monkeypatch.setattr(stored_password, "_verify_slowly", counting)
    return counted


async def test_passwords_that_cannot_be_read_for_a_moment(gate: Gate) -> None:
    """A flood of connections takes all descriptors; the devices are known again after it, without a restart."""
    made = {name: gate.add(name) for name in ("copier", "scanner")}
    devices = gate.devices()
    for password in (made["copier"], "wrong"):
        with no_descriptors(), pytest.raises(VaultError) as caught:
            await gate.passwords.verify(devices["copier"], Secret(password), devices.values())
        assert caught.value.retryable
    assert [await gate.sign_in(name, password) for name, password in made.items()] == [True, True]


async def test_a_made_password_is_random_long_and_verified_without_a_slow_hash(gate: Gate, slow: list[str]) -> None:
    made = gate.add("copier")
    assert len(made) == 26
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyz234567")
    assert made != gate.add("other")
    assert await gate.sign_in("copier", made)
    for wrong in ("", made[:-1], f"{made} ", made.upper(), "x" * 10_000):
        assert not await gate.sign_in("copier", wrong)
    assert not await gate.sign_in("nobody", made)
    assert slow == []


async def test_a_chosen_password_is_verified_slowly_once(gate: Gate, slow: list[str]) -> None:
    gate.add("copier", "Sommer 2024")
    for _ in range(100):
        assert await gate.sign_in("copier", "Sommer 2024")
    assert len(slow) == 1
    assert not await gate.sign_in("copier", "Sommer 2025")
    assert len(slow) == 2
    assert await gate.sign_in("copier", "Sommer 2024")
    assert len(slow) == 2


async def test_the_time_does_not_tell_whether_there_is_a_user(gate: Gate, slow: list[str]) -> None:
    """Every failure costs one slow comparison once any device has a slow password, whoever is tried."""
    gate.add("made")
    gate.add("chosen", "Sommer 2024")
    gate.add("apop", "Winter 2024", recoverable=True)
    for user in ("made", "chosen", "apop", "nobody"):
        slow.clear()
        assert not await gate.sign_in(user, "wrong")
        assert len(slow) == 1, user
    slow.clear()
    # What is too long for any password is refused at once, for everybody.
    for user in ("made", "chosen", "nobody"):
        assert not await gate.sign_in(user, "x" * 257)
    assert slow == []


async def test_slow_comparisons_come_one_after_the_other(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    gate.add("copier", "Sommer 2024")
    running, most = 0, 0
    verify = stored_password._verify_slowly

    def counting(hashed: str, text: str) -> bool:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            return verify(hashed, text)
        finally:
            running -= 1

    monkeypatch.setattr(stored_password, "_verify_slowly", counting)
    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(gate.sign_in, "copier", f"wrong {number}")
    assert most == 1


async def test_a_new_password_holds_at_once_and_in_every_process(gate: Gate) -> None:
    made = gate.add("copier")
    chosen = gate.add("other", "Sommer 2024")
    assert chosen == ""
    assert await gate.sign_in("copier", made)
    assert await gate.sign_in("other", "Sommer 2024")
    another = Records(gate.records.home)
    new = set_device_password(another, "copier")
    assert new is not None
    assert set_device_password(another, "other", password=Secret("Herbst")) is None
    assert not await gate.sign_in("copier", made)
    assert await gate.sign_in("copier", new.reveal())
    assert not await gate.sign_in("other", "Sommer 2024")
    assert await gate.sign_in("other", "Herbst")
    remove_device(another, "copier")
    assert not await gate.sign_in("copier", new.reveal())
    assert another.vault.fields("device.copier") == frozenset()


async def test_the_event_loop_waits_for_no_change_of_passwords(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """To finish a change that another process is making takes up to ten seconds."""
    made = gate.add("copier")
    loop, seen = threading.get_ident(), set[int]()
    recover = FolderDocuments.recover_if_needed

    def noted(documents: FolderDocuments) -> None:
        seen.add(threading.get_ident())
        recover(documents)

    monkeypatch.setattr(FolderDocuments, "recover_if_needed", noted)
    entry = gate.devices()["copier"]
    seen.clear()
    for _ in range(2):
        assert await gate.passwords.verify(entry, Secret(made))
        await gate.passwords.version(entry)
    assert loop not in seen


async def test_only_what_apop_needs_is_recoverable(gate: Gate) -> None:
    made = gate.add("made")
    apop = gate.add("apop", recoverable=True)
    gate.add("chosen", "Sommer 2024")
    assert [password_kind(gate.records, name) for name in ("made", "apop", "chosen")] == [
        "made",
        "recoverable",
        "chosen",
    ]
    devices = gate.devices()
    found = await gate.passwords.recoverable(devices["apop"])
    assert found is not None
    assert found.reveal() == apop
    assert await gate.sign_in("apop", apop)
    assert await gate.passwords.recoverable(devices["made"]) is None
    assert await gate.passwords.recoverable(devices["chosen"]) is None
    # It stays so, unless it is told otherwise.
    set_device_password(gate.records, "apop")
    assert password_kind(gate.records, "apop") == "recoverable"
    set_device_password(gate.records, "apop", recoverable=False)
    assert password_kind(gate.records, "apop") == "made"
    on_disk = b"".join(path.read_bytes() for path in (gate.records.home / "vault").iterdir())
    for secret in (made, apop, "Sommer 2024"):
        assert secret.encode() not in on_disk
    kept = gate.records.vault.read("device.made", "password")
    assert kept is not None
    assert made not in kept.reveal()


async def test_what_cannot_be_read_lets_nobody_in(gate: Gate) -> None:
    made = gate.add("copier")
    gate.records.vault.write("device.copier", {"password": Secret(json.dumps({"kind": "plain", "value": made}))})
    assert not await gate.sign_in("copier", made)
    assert password_kind(gate.records, "copier") == "unreadable"
    (gate.records.home / "vault" / "device.copier.json").write_text("broken")
    assert not await gate.sign_in("copier", made)
    assert password_kind(gate.records, "copier") == "unreadable"
    new = set_device_password(gate.records, "copier")
    assert new is not None
    assert await gate.sign_in("copier", new.reveal())
    # An entry that was imported has no password yet.
    gate.records.settings.edit({("devices", "imported"): {"user": "imported"}})
    assert not await gate.sign_in("imported", "")
    assert password_kind(gate.records, "imported") is None


async def test_passwords_survive_a_new_key(gate: Gate) -> None:
    made = gate.add("copier")
    assert await gate.sign_in("copier", made)
    assert gate.records.rotate_key() == 1
    assert await gate.sign_in("copier", made)


@pytest.mark.parametrize("password", ["", "x" * 257, "a\nb", "a\0b"])
def test_passwords_that_are_refused(gate: Gate, password: str) -> None:
    with pytest.raises(InputError, match="1 to 256 characters"):
        gate.add("copier", password)
    assert gate.devices() == {}


def test_a_password_belongs_to_a_user(gate: Gate) -> None:
    with pytest.raises(InputError, match="belongs to a user"):
        add_device(gate.records, "copier", {"address": ["10.0.0.1"]}, password=Secret("x"))
    add_device(gate.records, "copier", {"address": ["10.0.0.1"]})
    with pytest.raises(InputError, match="does not sign in"):
        set_device_password(gate.records, "copier")


def test_nothing_shows_what_is_kept(gate: Gate) -> None:
    _, kept = passwords.new_password(Secret("Sommer 2024"), recoverable=True)
    assert "Sommer" not in repr(kept)
    assert "Sommer" not in repr(kept.to_secret())
    assert "Sommer" not in repr(gate.passwords)


async def test_the_dummy_hash_costs_what_a_real_one_does() -> None:
    real = stored_password.encode_chosen(Secret("x")).value
    assert real.rpartition("$")[0].rpartition("$")[0] == stored_password._DUMMY.rpartition("$")[0].rpartition("$")[0]
    assert len(real) == len(stored_password._DUMMY)
