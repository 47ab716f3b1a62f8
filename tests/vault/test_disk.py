"""A full or read-only disk: one sentence, and earlier values stay readable."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mailslot import Secret
from mailslot.vault.errors import VaultError
from mailslot.vault.lock import process_lock
from vault.conftest import contents, drop_privileges, limit_file_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailslot.vault.keys import KeyRing
    from mailslot.vault.vault import Vault

TOKEN = Secret("1//renewal-token-of-the-scanner")


def unwritable(change: Callable[[], object], reason: str) -> None:
    with pytest.raises(VaultError, match=reason) as caught:
        change()
    assert caught.value.cause == "token_store_unwritable"
    assert caught.value.detail
    assert TOKEN.reveal() not in f"{caught.value!r} {caught.value.detail}"


def changes(vault: Vault) -> list[Callable[[], object]]:
    return [
        lambda: vault.write("smtp", {"grant": Secret("new"), "password": Secret("b")}),
        lambda: vault.write("smtp", {"password": None}),
        lambda: vault.write("fax-pop", {"grant": TOKEN}),
    ]


def fill(path: Path) -> None:
    for octets in (4096, 1):
        with path.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * octets)


def test_a_full_disk(small_disk: Path, vault: Vault, keys: KeyRing) -> None:
    vault.write("smtp", {"grant": TOKEN, "password": Secret("a")})
    fill(small_disk / "filler")
    before = contents(small_disk)
    for change in [*changes(vault), keys.add_new_key]:
        unwritable(change, r"^[^.]*/home/[^.]* cannot be written: the disk is full\.$")
        assert contents(small_disk) == before
    assert vault.read("smtp", "grant") == TOKEN

    (small_disk / "filler").unlink()
    vault.write("smtp", {"grant": Secret("new")})
    assert vault.read("smtp", "grant") == "new"
    assert vault.read("smtp", "password") == "a"


def test_a_disk_that_becomes_full_during_key_rotation(small_disk: Path, vault: Vault, keys: KeyRing) -> None:
    records = [f"record-{number}" for number in range(4)]
    for record in records:
        vault.write(record, {"grant": TOKEN})
    keys.add_new_key()
    fill(small_disk / "filler")
    unwritable(vault.rotate, "the disk is full")
    assert [vault.read(record, "grant") for record in records] == [TOKEN] * 4
    (small_disk / "filler").unlink()
    assert vault.rotate() == 4
    assert [vault.read(record, "grant") for record in records] == [TOKEN] * 4


def test_a_read_only_file_system(small_disk: Path, vault: Vault, keys: KeyRing) -> None:
    vault.write("smtp", {"grant": TOKEN, "password": Secret("a")})
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    before = contents(small_disk)
    for change in [*changes(vault), keys.add_new_key, vault.rotate, lambda: vault.delete("smtp")]:
        unwritable(change, "the file system is read-only")
    assert contents(small_disk) == before
    assert vault.read("smtp", "grant") == TOKEN


@pytest.mark.parametrize("limit", [0, 1, 44, 100])
def test_an_incomplete_write(home: Path, vault: Vault, keys: KeyRing, limit: int) -> None:
    vault.write("smtp", {"grant": TOKEN, "password": Secret("a")})
    before = contents(home)
    with limit_file_size(limit):
        for change in changes(vault):
            unwritable(change, "larger than allowed")
        if limit < 90:
            unwritable(keys.add_new_key, "larger than allowed")
    if limit < 90:
        assert contents(home) == before
    assert vault.read("smtp", "grant") == TOKEN
    assert vault.read("smtp", "password") == "a"


def test_key_creation_fails(home: Path, vault: Vault) -> None:
    with limit_file_size(10):
        unwritable(lambda: vault.write("smtp", {"grant": TOKEN}), "larger than allowed")
    assert contents(home) == {"key.lock": b""}
    vault.write("smtp", {"grant": TOKEN})
    assert vault.read("smtp", "grant") == TOKEN


def test_unwritable_folders(home: Path, vault: Vault, keys: KeyRing) -> None:
    vault.write("smtp", {"grant": TOKEN, "password": Secret("a")})
    everything = [home, *home.rglob("*")]
    for folders in ([home / "vault"], [home]):
        for folder in folders:
            folder.chmod(0o500)
        with drop_privileges(*everything):
            before = contents(home)
            for change in [*changes(vault), lambda: vault.delete("smtp")]:
                if folders == [home]:
                    continue
                unwritable(change, "this user has no right to it")
            if folders == [home]:
                unwritable(keys.add_new_key, "this user has no right to it")
            assert contents(home) == before
            assert vault.read("smtp", "grant") == TOKEN
            assert vault.read("smtp", "password") == "a"
        for folder in folders:
            folder.chmod(0o700)


def test_home_creation_fails(home: Path, vault: Vault) -> None:
    home.write_bytes(b"")
    unwritable(lambda: vault.write("smtp", {"grant": TOKEN}), "cannot be written")
    home.unlink()
    home.parent.chmod(0o555)
    with drop_privileges(home.parent):
        unwritable(lambda: vault.write("smtp", {"grant": TOKEN}), "this user has no right to it")
    assert not home.exists()


def test_an_unreadable_record(home: Path, vault: Vault) -> None:
    vault.write("smtp", {"grant": TOKEN})
    path = home / "vault" / "smtp.json"
    path.chmod(0)
    with drop_privileges(home, *home.rglob("*")):
        for attempt in (
            lambda: vault.read("smtp", "grant"),
            lambda: vault.write("smtp", {"grant": TOKEN}),
            vault.rotate,
        ):
            with pytest.raises(VaultError, match="no right") as caught:
                attempt()
            assert caught.value.cause == "token_store_unreadable"
    path.chmod(0o600)


@pytest.fixture
def read_only_home(home: Path) -> Iterator[Path]:
    home.mkdir(mode=0o500)
    with drop_privileges(home):
        yield home


async def test_lock_creation_fails(read_only_home: Path) -> None:
    with pytest.raises(VaultError, match="this user has no right to it") as caught:
        async with process_lock(read_only_home / "smtp.lock", timeout=1):
            raise AssertionError
    assert caught.value.cause == "token_store_unwritable"


def test_data_is_flushed_before_it_is_acknowledged(
    home: Path, vault: Vault, keys: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file before it is renamed, its folder after it; and a key before anything is encrypted with it."""
    events: list[tuple[str, str]] = []
    fsync, replace, mkdir = os.fsync, os.replace, os.mkdir

    def name(descriptor: int) -> str:
        return os.path.relpath(Path(f"/proc/self/fd/{descriptor}").readlink(), home.parent)

    def recorded_fsync(descriptor: int) -> None:
        fsync(descriptor)
        events.append(("flush", name(descriptor)))

    def recorded_replace(source: Path, target: Path) -> None:
        replace(source, target)
        events.append(("rename", os.path.relpath(target, home.parent)))

    def recorded_mkdir(path: Path, mode: int = 0o777) -> None:
        mkdir(path, mode)
        events.append(("make", os.path.relpath(path, home.parent)))

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    monkeypatch.setattr(os, "mkdir", recorded_mkdir)

    key = [("flush", "home/key.new"), ("rename", "home/key"), ("flush", "home")]
    record = [("flush", "home/vault/smtp.json.new"), ("rename", "home/vault/smtp.json"), ("flush", "home/vault")]
    vault.write("smtp", {"grant": TOKEN})
    assert events == [("make", "home"), ("flush", "."), *key, ("make", "home/vault"), ("flush", "home"), *record]

    events.clear()
    keys.add_new_key()
    vault.rotate()
    assert events == [*key, *record, *key]

    events.clear()
    vault.write("smtp", {"grant": None})
    assert events == [("flush", "home/vault")]
