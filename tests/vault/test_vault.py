"""Values are read back under their own name only, and never shown in clear."""

from __future__ import annotations

import json
import logging
import os
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot import InputError, Secret
from mailslot.vault.documents import FolderDocuments
from mailslot.vault.errors import VaultError
from mailslot.vault.keys import Key, KeyRing
from mailslot.vault.record import VERSION, dump, parse, seal, unseal
from mailslot.vault.vault import Vault

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = Secret("1//renewal-token-of-the-scanner")


def test_reading_creates_nothing(home: Path, vault: Vault) -> None:
    assert vault.read("smtp", "grant") is None
    assert vault.fields("smtp") == frozenset()
    assert not home.exists()


def test_written_values_are_read_back(home: Path, vault: Vault) -> None:
    vault.write("smtp", {"grant": TOKEN, "client_secret": Secret("ä\ud800 \0\n"), "empty": Secret("")})

    again = Vault(FolderDocuments(home), KeyRing.load(home, None))
    assert again.read("smtp", "grant") == TOKEN
    assert again.read("smtp", "client_secret").reveal() == "ä\ud800 \0\n"
    assert again.read("smtp", "empty").reveal() == ""
    assert again.fields("smtp") == {"grant", "client_secret", "empty"}
    assert again.read("fax-pop", "grant") is None


def test_a_value_is_found_without_being_decrypted(home: Path, vault: Vault) -> None:
    assert not vault.has("smtp", "grant")
    vault.write("smtp", {"grant": TOKEN})
    assert vault.has("smtp", "grant")
    assert not vault.has("smtp", "password")
    (home / "key").rename(home / "lost")
    with pytest.raises(VaultError, match="The key to the secrets of smtp is not here"):
        vault.has("smtp", "grant")


def test_a_write_changes_only_its_fields(vault: Vault) -> None:
    vault.write("smtp", {"grant": TOKEN, "password": Secret("a"), "client_secret": Secret("b")})
    vault.write("smtp", {"grant": Secret("new"), "password": None, "absent": None})

    assert vault.fields("smtp") == {"grant", "client_secret"}
    assert vault.read("smtp", "grant") == "new"
    assert vault.read("smtp", "client_secret") == "b"


def test_a_record_without_fields_leaves_no_file(home: Path, vault: Vault) -> None:
    vault.write("smtp", {"grant": None})
    vault.write("smtp", {"grant": TOKEN})
    vault.write("smtp", {"grant": None})
    assert list((home / "vault").iterdir()) == []


def test_a_record_is_deleted(home: Path, vault: Vault) -> None:
    vault.delete("smtp")
    vault.write("smtp", {"grant": TOKEN})
    (home / "vault" / "smtp.json.new").write_bytes((home / "vault" / "smtp.json").read_bytes())
    vault.delete("smtp")
    assert list((home / "vault").iterdir()) == []
    assert vault.read("smtp", "grant") is None


def test_files_and_folders_are_private(home: Path, vault: Vault) -> None:
    before = os.umask(0)
    try:
        vault.write("smtp", {"grant": TOKEN})
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in [home, *home.rglob("*")]}
    assert modes == {"home": 0o700, "vault": 0o700, "key": 0o600, "key.lock": 0o600, "smtp.json": 0o600}


def test_an_existing_folder_keeps_its_mode(home: Path, vault: Vault) -> None:
    home.mkdir()
    home.chmod(0o750)
    vault.write("smtp", {"grant": TOKEN})
    assert home.stat().st_mode & 0o777 == 0o750


def test_nothing_shows_a_secret_or_the_key(
    home: Path, vault: Vault, keys: KeyRing, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    vault.write("smtp", {"grant": TOKEN})
    key = keys.newest()

    (path,) = (home / "vault").iterdir()
    secrets = [TOKEN.reveal().encode(), key.octets]
    for secret in secrets:
        for form in (secret, b64encode(secret), b64encode(secret)[:-4], secret.hex().encode(), repr(secret).encode()):
            assert form not in path.read_bytes()
            assert form not in f"{key!r} {key} {keys!r} {vault!r} {vars(keys)} {vars(vault)} {caplog.text}".encode()
    assert key.id in path.read_text()


def test_no_nonce_is_used_twice(home: Path, vault: Vault) -> None:
    nonces = set()
    for _ in range(50):
        vault.write("smtp", {"grant": TOKEN, "password": TOKEN})
        document = json.loads((home / "vault" / "smtp.json").read_bytes())
        nonces |= {values["nonce"] for values in document["fields"].values()}
    assert len(nonces) == 100


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../smtp",
        "a/b",
        "/etc/passwd",
        "a\0",
        "a\n",
        "a\\b",
        "Smtp",
        "smtp.json",
        "-a",
        "ä",
        "٣",
        "a" * 65,
    ],
)
def test_names_cannot_contain_paths(home: Path, vault: Vault, name: str) -> None:
    for attempt in (
        lambda: vault.read(name, "grant"),
        lambda: vault.read("smtp", name),
        lambda: vault.fields(name),
        lambda: vault.write(name, {"grant": TOKEN}),
        lambda: vault.write("smtp", {"grant": TOKEN, name: TOKEN}),
        lambda: vault.write("smtp", {name: None}),
        lambda: vault.delete(name),
    ):
        with pytest.raises(InputError):
            attempt()
    assert not (home / "vault").exists() or not list((home / "vault").iterdir())


def test_too_long_secrets_are_refused_and_not_shown(vault: Vault) -> None:
    vault.write("smtp", {"grant": TOKEN})
    with pytest.raises(InputError, match="too long") as caught:
        vault.write("smtp", {"grant": Secret("x" * 1024 * 1024)})
    assert "xxx" not in f"{caught.value!r} {caught.value.detail}"
    assert vault.read("smtp", "grant") == TOKEN
    vault.write("smtp", {"grant": Secret("x" * 700_000)})
    assert len(vault.read("smtp", "grant")) == 700_000


places = st.tuples(st.text(max_size=6), st.text(max_size=6))


@given(placed=places, elsewhere=places)
def test_a_value_decrypts_only_in_its_own_field(placed: tuple[str, str], elsewhere: tuple[str, str]) -> None:
    key = Key(bytes(32))
    sealed = seal(TOKEN, key, *placed)
    assert parse(dump({"grant": sealed})) == {"grant": sealed}
    assert unseal(sealed, key, *placed) == TOKEN
    if placed != elsewhere:
        with pytest.raises(ValueError, match="does not open"):
            unseal(sealed, key, *elsewhere)


def test_a_value_cannot_be_moved(home: Path, vault: Vault) -> None:
    vault.write("smtp", {"grant": TOKEN, "password": Secret("other")})
    path = home / "vault" / "smtp.json"
    document = json.loads(path.read_bytes())
    fields = document["fields"]
    fields["grant"], fields["password"] = fields["password"], fields["grant"]
    path.with_name("fax-pop.json").write_bytes(path.read_bytes())
    path.write_text(json.dumps(document))

    for record in ("smtp", "fax-pop"):
        for field in ("grant", "password"):
            with pytest.raises(VaultError) as caught:
                vault.read(record, field)
            assert caught.value.cause == "token_store_unreadable"


def test_the_version_is_bound_to_the_value(vault: Vault, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.write("smtp", {"grant": TOKEN})
    path = home / "vault" / "smtp.json"
    path.write_bytes(path.read_bytes().replace(b'"version": 1', b'"version": 2'))
    monkeypatch.setattr("mailslot.vault.record.VERSION", VERSION + 1)
    assert vault.fields("smtp") == {"grant"}
    with pytest.raises(VaultError):
        vault.read("smtp", "grant")
