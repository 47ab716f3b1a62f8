"""The certificates that printers showed first, in the device's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from mailslot.spool.store import Store


class StoredPins:
    """Certificates in a `Store`; see `mailslot_plugins.printers.printer.Pins`.

    Args:
        store: the memory that all pipelines share, ``device.store("printers")``.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, host: str) -> str | None:
        """Return what was seen first at ``HOST:PORT``; None where nothing was."""
        return cast("str | None", await self._store.get(host))

    async def put(self, host: str, pem: str) -> None:
        """Remember what was seen first."""
        await self._store.put(host, pem)
