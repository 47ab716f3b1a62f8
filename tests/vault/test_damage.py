"""A damaged record is reported and kept."""

from __future__ import annotations

import json
import os
import traceback
from typing import TYPE_CHECKING

import pytest

from mailslot import Secret
from mailslot.vault.errors import VaultError

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.vault.vault import Vault

TOKEN = Secret("1//renewal-token-of-the-scanner")


@pytest.fixture
def path(home: Path, vault: Vault) -> Path:
    vault.write("smtp", {"grant": TOKEN, "password": Secret("hunter2")})
    return home / "vault" / "smtp.json"


def damaged(document: dict[str, object], *steps: str, value: object) -> bytes:
    at = document
    for step in steps[:-1]:
        at = at[step]
    at[steps[-1]] = value
    return json.dumps(document).encode()


GARBAGE = [b"", b"\0" * 500, b"\xff\xfe", b"{", b"null", b"[]", b"1", b'"x"', b"{}", b'{"version": 1}', b"[" * 100_000]
STRUCTURE = [
    (("version",), 0),
    (("version",), 2),
    (("version",), "1"),
    (("version",), None),
    (("fields",), None),
    (("fields",), ["grant"]),
    (("fields", "grant"), None),
    (("fields", "grant"), "x"),
    (("fields", "grant"), {}),
    (("fields", "grant", "key"), None),
    (("fields", "grant", "key"), 1),
    (("fields", "grant", "nonce"), "AAAA"),
    (("fields", "grant", "nonce"), 7),
    (("fields", "grant", "nonce"), "\ud800"),
    (("fields", "grant", "nonce"), "not base64!"),
    (("fields", "grant", "ciphertext"), None),
    (("fields", "grant", "ciphertext"), "*"),
]


def refused(vault: Vault, path: Path, *, writes: bool) -> None:
    before = path.read_bytes()
    attempts = [lambda: vault.read("smtp", "grant")]
    if writes:
        attempts += [
            lambda: vault.fields("smtp"),
            lambda: vault.write("smtp", {"grant": TOKEN}),
            lambda: vault.write("smtp", {"password": None}),
            vault.rotate,
        ]
    for attempt in attempts:
        with pytest.raises(VaultError) as caught:
            attempt()
        assert caught.value.cause == "token_store_unreadable"
        assert not caught.value.retryable
        assert str(caught.value).count(".") == 1
        assert str(path) in caught.value.detail or "key" in caught.value.detail
        traceback_text = "".join(traceback.format_exception(caught.value))
        assert TOKEN.reveal() not in traceback_text
        assert "hunter2" not in traceback_text
    assert path.read_bytes() == before


@pytest.mark.parametrize("octets", GARBAGE, ids=lambda octets: repr(octets[:20]))
def test_garbage(vault: Vault, path: Path, octets: bytes) -> None:
    path.write_bytes(octets)
    refused(vault, path, writes=True)


@pytest.mark.parametrize(("steps", "value"), STRUCTURE)
def test_an_invalid_structure(vault: Vault, path: Path, steps: tuple[str, ...], value: object) -> None:
    path.write_bytes(damaged(json.loads(path.read_bytes()), *steps, value=value))
    refused(vault, path, writes=True)


@pytest.mark.parametrize("value", ["", "AAAA", "A" * 64])
def test_an_invalid_ciphertext(vault: Vault, path: Path, value: str) -> None:
    path.write_bytes(damaged(json.loads(path.read_bytes()), "fields", "grant", "ciphertext", value=value))
    refused(vault, path, writes=False)
    assert vault.read("smtp", "password") == "hunter2"


def test_an_unknown_key(vault: Vault, path: Path) -> None:
    path.write_bytes(damaged(json.loads(path.read_bytes()), "fields", "grant", "key", value="\ud800\n\x1b"))
    refused(vault, path, writes=False)
    with pytest.raises(VaultError, match="key to the secrets of smtp is not here") as caught:
        vault.read("smtp", "grant")
    assert caught.value.detail.isascii()
    assert caught.value.detail.isprintable()


def test_every_truncation(vault: Vault, path: Path) -> None:
    original = path.read_bytes()
    for size in range(len(original)):
        path.write_bytes(original[:size])
        with pytest.raises(VaultError):
            vault.read("smtp", "grant")
        assert path.read_bytes() == original[:size]


def test_every_changed_octet_is_detected(vault: Vault, path: Path) -> None:
    """A changed name of a field hides it; nothing else than the right value is ever read."""
    original = path.read_bytes()
    outcomes: dict[str, int] = {}
    for position in range(len(original)):
        path.write_bytes(original[:position] + bytes([original[position] ^ 1]) + original[position + 1 :])
        try:
            value = vault.read("smtp", "grant")
        except VaultError as error:
            outcome = error.cause
        else:
            assert value in (None, TOKEN)
            outcome = "hidden" if value is None else "whole"
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    assert outcomes["hidden"] == len("grant")
    assert outcomes["token_store_unreadable"] > 100


def test_a_huge_file_is_not_read(vault: Vault, path: Path) -> None:
    os.truncate(path, 1 << 40)
    with pytest.raises(VaultError, match="larger than allowed"):
        vault.read("smtp", "grant")
    assert path.stat().st_size == 1 << 40


def test_a_folder_or_pipe_instead_of_the_file(vault: Vault, path: Path) -> None:
    path.unlink()
    path.mkdir()
    for attempt in (lambda: vault.read("smtp", "grant"), lambda: vault.write("smtp", {"grant": TOKEN})):
        with pytest.raises(VaultError, match="cannot be read") as caught:
            attempt()
        assert caught.value.cause == "token_store_unreadable"
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(VaultError, match="It is not a file"):
        vault.read("smtp", "grant")


def test_a_damaged_record_can_be_deleted(vault: Vault, path: Path) -> None:
    path.write_bytes(b"{")
    vault.delete("smtp")
    vault.write("smtp", {"grant": TOKEN})
    assert vault.read("smtp", "grant") == TOKEN
    assert vault.read("smtp", "password") is None


def test_other_files_are_left_unchanged(home: Path, vault: Vault, path: Path) -> None:
    for name in ("README", "smtp.json.new", "Other.json", ".json", "smtp.json~"):
        (home / "vault" / name).write_bytes(b"x")
    assert vault.rotate() == 0
    assert vault.read("smtp", "grant") == TOKEN
