"""Where keys come from, how they are turned, and which are refused."""

from __future__ import annotations

import os
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from mailslot import Secret
from mailslot.vault.documents import FolderDocuments
from mailslot.vault.errors import VaultError
from mailslot.vault.keys import Key, KeyRing
from mailslot.vault.vault import Vault
from vault.conftest import NOBODY, contents, drop_privileges

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = Secret("1//renewal-token-of-the-scanner")


def lines(*keys: bytes) -> bytes:
    return b"".join(b64encode(key) + b"\n" for key in keys)


def test_a_key_is_created_with_the_first_secret(home: Path, vault: Vault) -> None:
    assert not (home / "key").exists()
    vault.write("smtp", {"grant": TOKEN})
    key = (home / "key").read_bytes()
    vault.write("smtp", {"grant": TOKEN})
    assert (home / "key").read_bytes() == key
    assert (home / "key").stat().st_mode & 0o777 == 0o600
    assert len(key) == 45


def test_every_home_has_a_key_of_its_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Vault(FolderDocuments(tmp_path / name), KeyRing.load(tmp_path / name, None)).write("smtp", {"grant": TOKEN})
    assert (tmp_path / "a" / "key").read_bytes() != (tmp_path / "b" / "key").read_bytes()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o777])
def test_a_key_readable_by_others_is_refused(home: Path, vault: Vault, mode: int) -> None:
    vault.write("smtp", {"grant": TOKEN})
    (home / "key").chmod(mode)
    before = contents(home)
    for attempt in (
        lambda: KeyRing.load(home, None),
        lambda: vault.read("smtp", "grant"),
        lambda: vault.write("smtp", {"grant": TOKEN}),
        vault.rotate,
    ):
        with pytest.raises(VaultError, match=f"chmod 600 {home / 'key'}`") as caught:
            attempt()
        assert caught.value.cause == "token_store_unreadable"
        assert caught.value.stage == "token"
    assert contents(home) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to give files away")
def test_a_key_of_another_user_is_refused(home: Path, vault: Vault) -> None:
    vault.write("smtp", {"grant": TOKEN})
    os.chown(home / "key", NOBODY, NOBODY)
    with pytest.raises(VaultError, match="another user: run mailslot as that user") as caught:
        KeyRing.load(home, None)
    assert caught.value.cause == "token_store_unreadable"


def test_an_unreadable_key_is_refused(home: Path, vault: Vault) -> None:
    vault.write("smtp", {"grant": TOKEN})
    (home / "key").chmod(0)
    with drop_privileges(home / "key", home), pytest.raises(VaultError, match="no right") as caught:
        KeyRing.load(home, None)
    assert caught.value.cause == "token_store_unreadable"


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\n",
        b"secretsecret",
        b"secretsecret\xff",
        b64encode(b"k" * 31),
        b64encode(b"k" * 33),
        b64encode(b"k" * 32)[:-3],
        lines(b"k" * 32) + b"secretsecret",
        bytes(32),
        b"!" + b64encode(b"k" * 32),
        lines(b"k" * 32) * 2000,
    ],
)
def test_a_damaged_key_is_refused_kept_and_not_shown(home: Path, vault: Vault, octets: bytes) -> None:
    vault.write("smtp", {"grant": TOKEN})
    (home / "key").write_bytes(octets)
    before = contents(home)
    for attempt in (
        lambda: KeyRing.load(home, None),
        lambda: vault.read("smtp", "grant"),
        lambda: vault.write("smtp", {"grant": TOKEN}),
        vault.rotate,
    ):
        with pytest.raises(VaultError) as caught:
            attempt()
        assert caught.value.cause == "token_store_unreadable"
        shown_text = f"{caught.value!r} {caught.value.detail} {caught.value.__context__!r}"
        assert "secretsecret" not in shown_text
        assert "kkkk" not in shown_text
    assert contents(home) == before


def test_a_key_that_is_a_folder_or_a_pipe_is_refused(home: Path) -> None:
    home.mkdir(mode=0o700)
    (home / "key").mkdir(mode=0o700)
    with pytest.raises(VaultError):
        KeyRing.load(home, None)
    (home / "key").rmdir()
    os.mkfifo(home / "key", 0o600)
    with pytest.raises(VaultError):
        KeyRing.load(home, None)


def test_rotating_the_key(home: Path, vault: Vault, keys: KeyRing) -> None:
    vault.write("smtp", {"grant": TOKEN, "password": Secret("a")})
    vault.write("fax-pop", {"grant": Secret("b")})
    first = keys.newest()

    keys.add_new_key()
    second = keys.newest()
    assert second != first
    assert keys.find(first.id) == first
    assert vault.read("smtp", "grant") == TOKEN
    vault.write("print-pop", {"grant": Secret("c")})

    other = KeyRing.load(home, None)
    assert vault.rotate() == 3
    assert vault.rotate() == 0
    for ring in (keys, other):
        assert ring.find(first.id) is None
        assert ring.newest() == second
    assert (home / "key").read_bytes() == lines(second.octets)
    assert first.id not in "".join(path.read_text() for path in (home / "vault").iterdir())
    assert vault.read("smtp", "grant") == TOKEN
    assert vault.read("smtp", "password") == "a"
    assert vault.read("fax-pop", "grant") == "b"
    assert vault.read("print-pop", "grant") == "c"


def test_rotation_by_another_process_is_noticed(home: Path, vault: Vault) -> None:
    other_keys = KeyRing.load(home, None)
    other = Vault(FolderDocuments(home), other_keys)
    vault.write("smtp", {"grant": TOKEN})
    other_keys.add_new_key()
    other.rotate()
    assert vault.read("smtp", "grant") == TOKEN
    vault.write("smtp", {"password": TOKEN})
    assert other.rotate() == 0
    assert other.read("smtp", "password") == TOKEN


def test_rotation_between_reading_the_record_and_the_key(home: Path, vault: Vault) -> None:
    vault.write("smtp", {"grant": TOKEN})
    rotations = 0

    class TurnedMeanwhile(KeyRing):
        def find(self, key_id: str) -> Key | None:
            nonlocal rotations
            if rotations < 3:
                rotations += 1
                KeyRing.load(home, None).add_new_key()
                vault.rotate()
            return super().find(key_id)

    assert Vault(FolderDocuments(home), TurnedMeanwhile.load(home, None)).read("smtp", "grant") == TOKEN
    assert rotations == 3


@pytest.mark.parametrize("damage", [b"{", b""])
def test_no_key_is_deleted_while_a_record_is_unreadable(home: Path, vault: Vault, keys: KeyRing, damage: bytes) -> None:
    for record in ("alert-smtp", "fax-pop", "smtp"):
        vault.write(record, {"grant": TOKEN})
    first = keys.newest()
    keys.add_new_key()
    original = (home / "vault" / "fax-pop.json").read_bytes()
    (home / "vault" / "fax-pop.json").write_bytes(damage)

    with pytest.raises(VaultError, match="fax-pop") as caught:
        vault.rotate()
    assert caught.value.cause == "token_store_unreadable"
    assert (home / "vault" / "fax-pop.json").read_bytes() == damage
    assert keys.find(first.id) == first
    assert first.id not in (home / "vault" / "smtp.json").read_text()

    (home / "vault" / "fax-pop.json").write_bytes(original)
    assert vault.read("fax-pop", "grant") == TOKEN
    assert vault.rotate() == 1
    assert keys.find(first.id) is None


def test_no_key_is_deleted_while_a_value_cannot_be_decrypted(home: Path, vault: Vault, keys: KeyRing) -> None:
    vault.write("smtp", {"grant": TOKEN, "password": Secret("a")})
    vault.write("fax-pop", {"grant": Secret("b")})
    first = keys.newest()
    path = home / "vault" / "smtp.json"
    (home / "vault" / "fax-pop.json").write_bytes(path.read_bytes())
    before = (home / "vault" / "fax-pop.json").read_bytes()
    keys.add_new_key()
    with pytest.raises(VaultError, match="fax-pop are damaged"):
        vault.rotate()
    assert (home / "vault" / "fax-pop.json").read_bytes() == before
    assert keys.find(first.id) == first
    vault.delete("fax-pop")
    assert vault.rotate() == 0
    assert keys.find(first.id) is None
    assert vault.read("smtp", "grant") == TOKEN


def test_a_lost_key_is_reported_and_new_secrets_can_be_saved(home: Path, vault: Vault) -> None:
    vault.write("smtp", {"grant": TOKEN, "password": Secret("a")})
    lost = (home / "key").read_bytes()
    (home / "key").unlink()
    before = (home / "vault" / "smtp.json").read_bytes()

    for attempt in (lambda: vault.read("smtp", "grant"), vault.rotate):
        with pytest.raises(VaultError, match="key to the secrets of smtp is not here") as caught:
            attempt()
        assert caught.value.cause == "token_store_unreadable"
        assert (home / "vault" / "smtp.json").read_bytes() == before
    assert vault.fields("smtp") == {"grant", "password"}

    vault.write("smtp", {"grant": Secret("new")})
    assert vault.read("smtp", "grant") == "new"
    with pytest.raises(VaultError):
        vault.read("smtp", "password")

    (home / "key").write_bytes((home / "key").read_bytes() + lost)
    assert vault.read("smtp", "password") == "a"
    assert vault.rotate() == 1


class TestServiceManager:
    """The key as a credential of the service manager."""

    @pytest.fixture
    def credentials(self, tmp_path: Path) -> Path:
        folder = tmp_path / "credentials"
        folder.mkdir()
        (folder / "mailslot.key").write_bytes(lines(b"s" * 32))
        (folder / "mailslot.key").chmod(0o440)
        return folder

    def test_the_credential_is_used_and_no_key_is_created(self, home: Path, credentials: Path) -> None:
        keys = KeyRing.load(home, credentials)
        vault = Vault(FolderDocuments(home), keys)
        vault.write("smtp", {"grant": TOKEN})
        assert not (home / "key").exists()
        assert keys.newest() == Key(b"s" * 32)
        assert vault.read("smtp", "grant") == TOKEN

    def test_without_the_credential_nothing_can_be_decrypted(self, home: Path, credentials: Path) -> None:
        Vault(FolderDocuments(home), KeyRing.load(home, credentials)).write("smtp", {"grant": TOKEN})
        with pytest.raises(VaultError, match="not here"):
            Vault(FolderDocuments(home), KeyRing.load(home, None)).read("smtp", "grant")

    def test_other_credentials_are_ignored(self, home: Path, tmp_path: Path) -> None:
        vault = Vault(FolderDocuments(home), KeyRing.load(home, tmp_path))
        vault.write("smtp", {"grant": TOKEN})
        assert (home / "key").exists()

    def test_migration_from_the_key_in_the_home_folder(self, home: Path, vault: Vault, credentials: Path) -> None:
        vault.write("smtp", {"grant": TOKEN})
        keys = KeyRing.load(home, credentials)
        moved = Vault(FolderDocuments(home), keys)
        assert moved.read("smtp", "grant") == TOKEN
        assert moved.rotate() == 1
        assert not (home / "key").exists()
        assert moved.read("smtp", "grant") == TOKEN
        assert moved.rotate() == 0

    def test_a_key_of_the_service_manager_is_not_rotated(self, home: Path, credentials: Path) -> None:
        keys = KeyRing.load(home, credentials)
        vault = Vault(FolderDocuments(home), keys)
        vault.write("smtp", {"grant": TOKEN})
        with pytest.raises(VaultError, match="provided by the service manager") as caught:
            keys.add_new_key()
        assert caught.value.cause == "token_store_unwritable"
        assert not (home / "key").exists()

        (credentials / "mailslot.key").chmod(0o600)
        (credentials / "mailslot.key").write_bytes(lines(b"t" * 32, b"s" * 32))
        assert vault.rotate() == 1
        (credentials / "mailslot.key").write_bytes(lines(b"t" * 32))
        assert vault.read("smtp", "grant") == TOKEN

    def test_a_damaged_credential_is_refused(self, home: Path, credentials: Path) -> None:
        (credentials / "mailslot.key").chmod(0o600)
        (credentials / "mailslot.key").write_bytes(b"s" * 32)
        with pytest.raises(VaultError, match="damaged"):
            KeyRing.load(home, credentials)
