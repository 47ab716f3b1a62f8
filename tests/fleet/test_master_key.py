"""Master keys in files."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from mailslot.errors import InputError
from mailslot.fleet.master_key import FileMasterKey, WrappedKey

if TYPE_CHECKING:
    from pathlib import Path


def test_a_key_is_created_once(tmp_path: Path) -> None:
    file = tmp_path / "fleet" / "master.key"
    assert FileMasterKey(file).create()
    octets = file.read_bytes()
    assert not FileMasterKey(file).create()
    assert file.read_bytes() == octets
    assert [path.name for path in file.parent.iterdir()] == ["master.key"]
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_key_is_created_once_where_files_have_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAT, which memory cards have, refuses links so."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr("os.link", refuse)
    key = FileMasterKey(tmp_path / "master.key")
    assert key.create()
    name = key.newest()
    assert not key.create()
    assert key.newest() == name
    assert [path.name for path in tmp_path.iterdir()] == ["master.key"]


def test_a_key_opens_what_it_has_wrapped_for_the_same_context(tmp_path: Path) -> None:
    key = FileMasterKey(tmp_path / "master.key")
    key.create()
    wrapped = key.wrap(b"x" * 32, "acme")
    assert wrapped.master == key.newest()
    assert key.has(wrapped.master)
    assert key.unwrap(wrapped, "acme") == b"x" * 32
    with pytest.raises(InputError, match="moved to another tenant"):
        key.unwrap(wrapped, "other")
    for octets in (b"", wrapped.octets[:-1]):
        with pytest.raises(InputError, match="it was changed"):
            key.unwrap(WrappedKey(wrapped.master, octets), "acme")
    with pytest.raises(InputError, match="does not contain"):
        key.unwrap(WrappedKey("another", wrapped.octets), "acme")


def test_a_key_that_others_can_read(tmp_path: Path) -> None:
    file = tmp_path / "master.key"
    FileMasterKey(file).create()
    file.chmod(0o440)
    with pytest.raises(InputError, match="chmod 600"):
        FileMasterKey(file).wrap(b"x", "acme")
    # A service manager grants access by a list that the mode shows as the group's.
    assert FileMasterKey(file, is_provided=True).wrap(b"x", "acme")


def test_a_key_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "master.key"
    FileMasterKey(file).create()
    owner = file.stat().st_uid
    monkeypatch.setattr("os.geteuid", lambda: owner + 1)
    with pytest.raises(InputError, match="another user"):
        FileMasterKey(file).wrap(b"x", "acme")
