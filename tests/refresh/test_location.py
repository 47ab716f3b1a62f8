"""A copied home folder refreshes nothing; one that was moved, restored or mounted elsewhere does."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot.home.folder import FolderHome
from mailslot.oauth.grant import Grant
from mailslot.oauth.grant_source import GrantSource
from mailslot.oauth.health import TokenSettings, health
from mailslot.oauth.location import Location, locate
from mailslot.slots.grant_store import RecordGrantStore
from mailslot.vault.documents import FolderDocuments
from mailslot.vault.keys import KeyRing
from mailslot.vault.vault import Vault
from mailslot.wire.secret import Secret
from refresh.device import ACCOUNT, Device, running

if TYPE_CHECKING:
    from pathlib import Path

    from refresh.service import Service

PRINTER = Location(("eth0", "serial"), "machine", "/var/lib/mailslot/locks/smtp.lock", 1)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One is enough for where a device is; how it renews its tokens has tests on both."""
    return "asyncio"


class SystemFiles:
    """The files by which a system tells what it is."""

    def __init__(
        self, root: Path, address: str | None = "02:aa:00:00:00:01", machine_id: str | None = "a" * 32
    ) -> None:
        self.root = root
        (root / "etc").mkdir(parents=True)
        if machine_id is not None:
            (root / "etc/machine-id").write_text(machine_id + "\n")
        if address is not None:
            self.interface("eth0", address)

    def interface(self, name: str, address: str, *, kind: str = "0", device: bool = True) -> None:
        folder = self.root / "sys/class/net" / name
        folder.mkdir(parents=True)
        (folder / "address").write_text(address + "\n")
        (folder / "addr_assign_type").write_text(kind + "\n")
        if device:
            (folder / "device").mkdir()

    def serial(self, number: str) -> None:
        folder = self.root / "sys/firmware/devicetree/base"
        folder.mkdir(parents=True)
        (folder / "serial-number").write_bytes(number.encode() + b"\0")


@pytest.fixture
def machine(tmp_path: Path) -> SystemFiles:
    return SystemFiles(tmp_path / "root")


def put(device: Device, home: Path, machine: SystemFiles) -> None:
    """Let a device run with another home folder, on another machine."""
    lock = home / "locks" / "smtp.lock"
    device.store = RecordGrantStore(Vault(FolderDocuments(home), KeyRing.load(home, None)), "smtp", FolderHome(home))
    device.source = GrantSource(
        "smtp",
        device.store,
        device.flow,
        device.client,
        device.http,
        clocks=device.clocks.clocks,
        locate=partial(locate, lock, machine.root),
        random=lambda: 0.5,
    )


async def signed_in(device: Device, home: Path, machine: SystemFiles) -> None:
    """A grant that was renewed once in a place."""
    put(device, home, machine)
    await device.sign_in(age=7200)
    await device.token()
    device.clocks.pass_by(3601)


def copied(home: Path, to: Path) -> Path:
    subprocess.run(["cp", "-a", str(home), str(to)], check=True)
    return to


async def test_a_copy_on_the_same_machine_does_not_refresh(
    home: Path, service: Service, machine: SystemFiles, tmp_path: Path
) -> None:
    async with running(home, service) as device:
        await signed_in(device, home, machine)
        before = device.asked
        put(device, copied(home, tmp_path / "copy"), machine)
        for ignore_backoff in (False, True, True):
            error = await device.refuse("home_copied", ignore_backoff=ignore_backoff)
            assert "copied" in str(error)
            assert "token moved" in str(error)
            assert not error.retryable
            await device.refuse("home_copied", force=True)
        assert device.asked == before
        assert (await device.grant()).failure is None

        put(device, home, machine)
        await device.token()
        assert (service.state.reused, service.state.dead) == (0, False)


async def test_original_and_copy_run_at_the_same_time(
    home: Path, service: Service, machine: SystemFiles, tmp_path: Path
) -> None:
    """For a week, in turn, each with a memory of its own; the first one goes on as if there were no other."""
    async with running(home, service) as device:
        await signed_in(device, home, machine)
        copy = copied(home, tmp_path / "copy")
        for _ in range(7 * 24):
            put(device, copy, machine)
            await device.refuse("home_copied")
            put(device, home, machine)
            await device.token()
            device.clocks.pass_by(3601)
        assert (service.state.reused, service.state.dead) == (0, False)


@pytest.mark.parametrize("machine_id", ["a" * 32, "b" * 32, None])
async def test_a_system_image_for_many_devices(
    home: Path, service: Service, machine: SystemFiles, tmp_path: Path, machine_id: str | None
) -> None:
    """All is the same but what is built in: octet by octet, inodes and their times included."""
    async with running(home, service) as device:
        await signed_in(device, home, machine)
        before = device.asked
        put(device, home, SystemFiles(tmp_path / "other", "02:aa:00:00:00:02", machine_id))
        await device.refuse("home_copied")
        assert device.asked == before


async def test_a_copy_uses_a_valid_access_token(
    home: Path, service: Service, machine: SystemFiles, tmp_path: Path
) -> None:
    async with running(home, service) as device:
        put(device, home, machine)
        await device.sign_in(age=7200)
        given = await device.token()
        device.clocks.pass_by(3100)
        put(device, copied(home, tmp_path / "copy"), machine)
        assert await device.token() == given
        assert device.asked == 1
        facts = TokenSettings(ACCOUNT, location=locate(tmp_path / "copy" / "locks" / "smtp.lock", machine.root))
        told = health(await device.grant(), facts, device.client.provider, device.clocks.wall)
        assert (told.state, told.cause) == ("needs_token", "home_copied")
        assert "copied" in told.sentence


@pytest.mark.parametrize("machine_id", ["a" * 32, "b" * 32, None])
@pytest.mark.parametrize("address", ["02:aa:00:00:00:01", None])
async def test_a_renamed_folder(
    home: Path, service: Service, machine: SystemFiles, tmp_path: Path, machine_id: str | None, address: str | None
) -> None:
    """Or mounted elsewhere, in a container that is new each time."""
    async with running(home, service) as device:
        await signed_in(device, home, machine)
        await anyio.Path(home).rename(tmp_path / "renamed")
        put(device, tmp_path / "renamed", SystemFiles(tmp_path / "other", address, machine_id))
        await device.token()
        assert not service.state.dead


@pytest.mark.parametrize(("address", "machine_id"), [("02:aa:00:00:00:01", "b" * 32), (None, "a" * 32)])
async def test_a_backup_restored_to_its_place(
    home: Path, service: Service, machine: SystemFiles, tmp_path: Path, address: str | None, machine_id: str
) -> None:
    """On the same device, its system set up anew or not; also one whose parts cannot be seen."""
    async with running(home, service) as device:
        await signed_in(device, home, machine)
        backup = copied(home, tmp_path / "backup")
        shutil.rmtree(home)
        copied(backup, home)
        put(device, home, SystemFiles(tmp_path / "other", address, machine_id))
        await device.token()
        assert not service.state.dead


async def test_a_folder_with_a_new_owner(home: Path, service: Service, machine: SystemFiles) -> None:
    async with running(home, service) as device:
        await signed_in(device, home, machine)
        await anyio.run_process(["chmod", "-R", "u+rw", str(home)])
        await device.token()


async def test_a_person_confirms_the_move(home: Path, service: Service, machine: SystemFiles, tmp_path: Path) -> None:
    async with running(home, service) as device:
        await signed_in(device, home, machine)
        copy = copied(home, tmp_path / "copy")
        shutil.rmtree(home)
        put(device, copy, machine)
        await device.refuse("home_copied")
        device.store.locate = partial(locate, copy / "locks" / "smtp.lock", machine.root)
        assert await device.store.move_here()
        await device.token()
        device.clocks.pass_by(3601)
        await device.token()
        assert not service.state.dead


async def test_a_new_token_in_the_copy(home: Path, service: Service, machine: SystemFiles, tmp_path: Path) -> None:
    async with running(home, service) as device:
        await signed_in(device, home, machine)
        device.flow.grant = replace(await device.grant(), location=None)
        put(device, copied(home, tmp_path / "copy"), machine)
        await device.source.obtain(None)
        device.clocks.pass_by(3601)
        await device.token()


async def test_deleting_the_token_of_a_copy_does_not_revoke_the_original(
    home: Path, service: Service, machine: SystemFiles, tmp_path: Path
) -> None:
    async with running(home, service) as device:
        await signed_in(device, home, machine)
        put(device, copied(home, tmp_path / "copy"), machine)
        told = await device.source.delete()
        assert not told.notified
        assert "copied" in told.sentence
        assert await device.store.load() is None
        assert service.state.revoked == []
        put(device, home, machine)
        await device.token()


async def test_client_credentials_may_be_copied(
    home: Path, service: Service, machine: SystemFiles, tmp_path: Path
) -> None:
    async with running(home, service) as device:
        put(device, home, machine)
        await device.sign_in(age=7200, renewable=False)
        put(device, copied(home, tmp_path / "copy"), machine)
        await device.refuse("token_not_renewable")  # by this flow, that is; and not for having been copied


async def test_a_token_of_no_known_place(home: Path, service: Service, machine: SystemFiles, tmp_path: Path) -> None:
    """It becomes this place's with the first refresh."""
    async with running(home, service) as device:
        put(device, home, machine)
        await device.sign_in(age=7200)
        assert ', "location": null' in device.store._vault.read("smtp", "grant").reveal()
        await device.token()
        put(device, copied(home, tmp_path / "copy"), machine)
        device.clocks.pass_by(3601)
        await device.refuse("home_copied")


def test_a_location_is_stored_and_loaded(tmp_path: Path) -> None:
    grant = Grant("browser", Secret("a"), None, Secret("r"), (), 0.0, 0.0, location=PRINTER)
    assert Grant.from_secret(grant.to_secret()).location == PRINTER
    with pytest.raises(ValueError, match="not a grant"):
        Grant.from_secret(Secret(grant.to_secret().reveal().replace('"system"', '"else"')))


@pytest.mark.parametrize(
    ("changes", "copy"),
    [
        ({}, False),
        ({"hardware": ("serial", "wlan0")}, False),
        ({"hardware": ("other",)}, True),
        ({"hardware": ()}, False),
        ({"hardware": (), "system": "other"}, False),
        ({"hardware": (), "system": "other", "changed": 2}, True),
        ({"hardware": (), "system": None, "changed": None}, True),
        ({"hardware": (), "changed": 2}, False),
        ({"system": None}, False),
        ({"system": "other", "path": "/mnt/locks/smtp.lock"}, False),
        ({"path": "/mnt/locks/smtp.lock"}, False),
        ({"changed": 2}, False),
        ({"changed": None}, False),
        ({"changed": 2, "path": "/mnt/locks/smtp.lock"}, True),
        ({"changed": None, "path": "/mnt/locks/smtp.lock"}, True),
    ],
)
def test_when_a_home_counts_as_a_copy(changes: dict[str, object], copy: bool) -> None:
    assert replace(PRINTER, **changes).is_copy_of(PRINTER) is copy


def test_hardware_identifiers(tmp_path: Path) -> None:
    machine = SystemFiles(tmp_path / "root")
    lock = tmp_path / "lock"
    found = locate(lock, machine.root)
    assert (len(found.hardware), found.changed, found.path) == (1, None, str(lock))
    for name, kind, device in (("wlan0", "1", True), ("wlan1", "3", True), ("veth0", "0", False)):
        machine.interface(name, "02:bb:00:00:00:01", kind=kind, device=device)
    machine.interface("ppp0", "00:00:00:00:00:00")
    assert locate(lock, machine.root) == found
    machine.serial("0000000000000000")
    (machine.root / "sys/firmware/devicetree/base/serial-number").write_bytes(b"00000000\0")
    assert locate(lock, machine.root) == found
    (machine.root / "sys/firmware/devicetree/base/serial-number").write_bytes(b"100000003d1d1c36\0")
    lock.touch()
    more = locate(lock, machine.root)
    assert len(more.hardware) == 2
    assert more.changed == lock.stat().st_ctime_ns
    for name in ("02:aa", "a" * 32, "3d1d1c36"):
        assert name not in repr(more)


@pytest.mark.parametrize("machine_id", [b"", b"uninitialized\n", b"\xff" * 1000, b"A" * 31])
def test_a_system_without_identifiers(tmp_path: Path, machine_id: bytes) -> None:
    """As in images that are still to be started for the first time (machine-id(5))."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_bytes(machine_id)
    for root in (tmp_path, tmp_path / "nothing"):
        found = locate(tmp_path / "lock", root)
        assert (found.hardware, found.system) == ((), None)


def test_the_lock_file_is_not_replaced_during_use(home: Path) -> None:
    lock = home / "locks" / "smtp.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    first = locate(lock)
    for _ in range(3):
        with lock.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            fcntl.flock(file, fcntl.LOCK_UN)
    assert locate(lock) == first
