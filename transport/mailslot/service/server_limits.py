"""The largest message that each record's server takes, as it has announced last."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import anyio
from anyio.to_thread import run_sync

from mailslot.diagnosis.history import History
from mailslot.diagnosis.tested_settings import tested_settings
from mailslot.spool.errors import SpoolError

if TYPE_CHECKING:
    from mailslot.slots.records import Records
    from mailslot.spool.store import Store

STORE: Final = "servers"
"""The name of the `Store`."""

_SIZE_KEYWORD: Final = re.compile(r"S: 250[ -]SIZE(?: (\d{1,15}))?", re.IGNORECASE)


class ServerLimits:
    """The size limits of servers (SIZE, RFC 1870), by record.

    Args:
        store: where those of the last deliveries are stored.
        records: the home folder, which has the last connection tests as well.
    """

    def __init__(self, store: Store, records: Records) -> None:
        self._store = store
        self._records = records
        self._history = History(records.place)
        self._known: dict[str, tuple[str | None, int]] = {}
        self._lock = anyio.Lock()
        """What was read before something was remembered must not take its place."""

    async def remember(self, record: str, server: str | None, size: int | None) -> None:
        """Store what a server has announced. If that fails, only this process knows it.

        Args:
            record: the record whose server it is.
            server: the server in the effective settings; the limit does not apply to another one.
            size: the octets; None if it has announced no limit.
        """
        announced = server, size or 0
        async with self._lock:
            if self._known.get(record) == announced:
                return
            self._known[record] = announced
            with suppress(SpoolError):
                known = {"server": server, "size": size or 0}
                if await self._store.get(record) != known:
                    await self._store.put(record, known)

    async def read(self, record: str, server: str | None) -> int | None:
        """Return what a server announced in the last delivery of any process, else in the last connection test.

        Returns:
            the octets; 0 if it announced no limit; None if it is unknown.

        Raises:
            MailError: it, or the settings, cannot be read.
        """
        async with self._lock:
            known = await self._store.get(record)
            if known is not None and known["server"] == server:
                size: int | None = known["size"]
            else:
                size = await self._tested(record)
            if size is not None:
                self._known[record] = server, size
            return size

    def known(self, record: str, server: str | None) -> int | None:
        """Return what this process knows of a server, since it was remembered or read; as `read` returns it."""
        of, size = self._known.get(record, (None, None))
        return size if of == server else None

    async def _tested(self, record: str) -> int | None:
        current = await run_sync(tested_settings, self._records, record)
        for last_test in await self._history.last(record, limit=1):
            if not current or last_test.settings != current:
                # The test may have been of another server.
                break
            found = [match for line in last_test.transcript if (match := _SIZE_KEYWORD.match(line))]
            if found:
                return int(found[-1][1] or 0)
        return None
