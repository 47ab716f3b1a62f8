"""The message size limit that a server announced last, stored for pipelines that compose the next message."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from mailslot.spool.errors import SpoolError

if TYPE_CHECKING:
    from mailslot.spool.spool import Spool

_STORE: Final = "servers"


async def remember_size(spool: Spool, record: str, server: str | None, size: int | None) -> None:
    """Store the limit if the disk allows: only a better sentence depends on it.

    Args:
        spool: where it is kept.
        record: the record whose server it is.
        server: the server that is set there, so that it is known when that becomes another.
        size: the octets of its SIZE (RFC 1870 section 4); None for no limit that it told.
    """
    known = {"server": server, "size": size or 0}
    store = spool.store(_STORE)
    with suppress(SpoolError):
        if await store.get(record) != known:
            await store.put(record, known)


async def announced_size(spool: Spool, record: str, server: str | None) -> int | None:
    """Return the limit in octets, 0 where the server announced none; None where it is not known.

    Raises:
        SpoolError: it cannot be read.
    """
    known = await spool.store(_STORE).get(record)
    return known["size"] if known is not None and known["server"] == server else None
