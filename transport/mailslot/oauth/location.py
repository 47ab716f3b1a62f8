"""The location of a home folder: its device and path, so that a copied home folder does not refresh a grant as well.

If two devices use the same refresh token and the provider rotates refresh tokens, it revokes the grant (RFC 9700
section 4.14.2). So a grant stores where it was obtained or refreshed last. A home folder is the same, and not a copy,

- if its lock file is the same file, by the time at which its inode last changed, which no program can set and no copy
  keeps: after a restart, in a new container on the same volume, or if it was renamed or mounted elsewhere;
- if it has the same path on the same device: after a backup was restored.

A device is recognized by the permanent addresses of its network interfaces and its serial number if there are any, else
by the machine id (machine-id(5) asks to store only a hash). A different machine id alone does not show that it is
another device: some containers and read-only systems create a new one at each start, and cloned images share theirs.
"""

from __future__ import annotations

import hmac
import os
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


_PERMANENT: Final = "0"  # NET_ADDR_PERM: neither random nor set by an administrator (linux/netdevice.h)
_MACHINE_ID: Final = re.compile(r"[0-9a-f]{32}")
_MAX_OCTETS: Final = 256


@dataclass(frozen=True, slots=True)
class Location:
    """Where a home folder is. Identifiers of the device are hashed.

    Attributes:
        hardware: the interface addresses and the serial number; empty if there are none.
        system: the machine id; None if there is none.
        path: the path of the lock file for refreshing the record's grant.
        changed: when that file's inode last changed, in nanoseconds since the epoch; None if it is missing.
    """

    hardware: tuple[str, ...]
    system: str | None
    path: str
    changed: int | None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the location from the result of `dataclasses.asdict`, after JSON.

        Raises:
            KeyError: it is not a location.
        """
        return cls(tuple(values["hardware"]), values["system"], values["path"], values["changed"])

    def is_copy_of(self, other: Location) -> bool:
        """Whether this home folder is a copy of the other one, as far as can be told."""
        if self.hardware and other.hardware:
            same_device = not set(self.hardware).isdisjoint(other.hardware)
            if not same_device:
                return True
        else:
            same_device = self.system is not None and self.system == other.system
        if self.changed is not None and self.changed == other.changed:
            return False
        return not (same_device and self.path == other.path)


def locate(lock_file: Path, root: Path = Path("/")) -> Location:
    """Return the location of a lock file. It blocks: call it in a thread.

    Args:
        lock_file: the file.
        root: the root of the file system; tests pass another folder.
    """
    try:
        changed = lock_file.stat().st_ctime_ns
    except OSError:
        changed = None
    system = _read(root / "etc/machine-id") if sys.platform == "linux" else platform.node()
    known = bool(_MACHINE_ID.fullmatch(system)) if sys.platform == "linux" else bool(system)
    return Location(
        tuple(sorted(map(_hashed, _hardware_ids(root)))),
        _hashed(f"system {system}") if known else None,
        os.path.realpath(lock_file),
        changed,
    )


def _hardware_ids(root: Path) -> Iterator[str]:
    try:
        interfaces = sorted((root / "sys/class/net").iterdir())
    except OSError:
        interfaces = []
    for interface in interfaces:
        # Bridges, tunnels and the interfaces of containers have no hardware device.
        if (interface / "device").exists() and _read(interface / "addr_assign_type") == _PERMANENT:
            address = _read(interface / "address")
            if address.strip("0:"):
                yield f"interface {address}"
    serial = _read(root / "sys/firmware/devicetree/base/serial-number")
    if serial.strip("0"):
        yield f"serial {serial}"


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(_MAX_OCTETS).decode("ascii", "replace").strip(" \0\r\n\t")
    except OSError:
        return ""


def _hashed(name: str) -> str:
    return hmac.digest(b"mailslot: where a grant is renewed", name.encode(), "sha256")[:16].hex()
