"""A home folder with a vault, and ways to make a disk fail."""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mailslot.vault.documents import FolderDocuments
from mailslot.vault.keys import KeyRing
from mailslot.vault.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that another user could reach, in which nothing is yet."""
    with tempfile.TemporaryDirectory(prefix="mailslot-vault-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "home"


@pytest.fixture
def keys(home: Path) -> KeyRing:
    return KeyRing.load(home, None)


@pytest.fixture
def vault(home: Path, keys: KeyRing) -> Vault:
    return Vault(FolderDocuments(home), keys)


@pytest.fixture
def small_disk(home: Path) -> Iterator[Path]:
    """A file system of 64 KiB at `home`."""
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", str(home)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    try:
        yield home
    finally:
        subprocess.run(["umount", str(home)], check=True)


@contextmanager
def limit_file_size(octets: int) -> Iterator[None]:
    """Limit the size of files that this process writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def drop_privileges(*owned: Path) -> Iterator[None]:
    """Switch to an unprivileged user who owns these files and folders."""
    if os.geteuid() != 0:
        yield
        return
    for path in owned:
        os.chown(path, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def contents(folder: Path) -> dict[str, bytes]:
    """Return what all files below a folder hold."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
