"""Stores the certificates that printers showed first; people can list and forget them."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from mailslot.plugin import InputError

if TYPE_CHECKING:
    from mailslot.plugin import Device, Store

STORE: Final = "printers"
"""The name of the store, which all pipelines share."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A certificate that is trusted because it was shown first.

    Attributes:
        printer: the printer, ``HOST:PORT``.
        fingerprint: its SHA-256, in pairs of hexadecimal digits.
    """

    printer: str
    fingerprint: str


class StoredPins:
    """Certificates in a `Store`; see `mailslot_plugins.printers.printer.Pins`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, host: str) -> str | None:
        """Return the certificate of ``HOST:PORT``; None if there is none."""
        return cast("str | None", await self._store.get(host))

    async def put(self, host: str, pem: str) -> None:
        """Store the certificate of ``HOST:PORT``."""
        await self._store.put(host, pem)

    async def all(self) -> list[Pin]:
        """Return all stored certificates."""
        return [Pin(host, fingerprint(pem)) for host, pem in (await self._store.items()).items()]

    async def forget(self, host: str) -> None:
        """Delete a certificate: the next one that the printer shows is trusted.

        Raises:
            InputError: there is none for ``HOST:PORT``.
        """
        if await self.get(host) is None:
            raise InputError(f"No certificate is stored for a printer at {host[:80]!a}.", stage="resolve")
        await self._store.delete(host)


def pins_of(device: Device) -> StoredPins:
    """Return a device's stored certificates."""
    return StoredPins(device.store(STORE))


def fingerprint(pem: str) -> str:
    """Return a certificate's SHA-256, in pairs of hexadecimal digits."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest().hex(":").upper()
