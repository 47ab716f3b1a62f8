"""The certificates that printers showed first, in the device's memory, for people to look at and to let go of."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from mailslot.errors import InputError

if TYPE_CHECKING:
    from mailslot.service.device import Device
    from mailslot.spool.store import Store

STORE: Final = "printers"
"""The memory that all pipelines share."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A certificate that is trusted since it was shown first.

    Attributes:
        printer: where, ``HOST:PORT``.
        fingerprint: its SHA-256, in pairs of hexadecimal digits.
    """

    printer: str
    fingerprint: str


class StoredPins:
    """Certificates in a `Store`; see `mailslot_plugins.printers.printer.Pins`.

    Args:
        store: the memory, which is called `STORE`.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, host: str) -> str | None:
        """Return what was seen first at ``HOST:PORT``; None where nothing was."""
        return cast("str | None", await self._store.get(host))

    async def put(self, host: str, pem: str) -> None:
        """Remember what was seen first."""
        await self._store.put(host, pem)

    async def all(self) -> list[Pin]:
        """Return all of them, by their printers."""
        return [Pin(host, fingerprint(pem)) for host, pem in (await self._store.items()).items()]

    async def forget(self, host: str) -> None:
        """Let go of a certificate: the next one that is shown there is trusted.

        Raises:
            InputError: none is kept of a printer at ``HOST:PORT``.
        """
        if await self.get(host) is None:
            raise InputError(f"No certificate is kept of a printer at {host[:80]!a}.", stage="resolve")
        await self._store.delete(host)


def pins_of(device: Device) -> StoredPins:
    """Return the certificates that a device keeps."""
    return StoredPins(device.store(STORE))


def fingerprint(pem: str) -> str:
    """Return a certificate's SHA-256, in pairs of hexadecimal digits."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest().hex(":").upper()
