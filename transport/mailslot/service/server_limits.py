"""The message size limit that a server last announced, stored for pipelines that compose messages."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from mailslot.spool.errors import SpoolError

if TYPE_CHECKING:
    from mailslot.spool.spool import Spool

_STORE: Final = "servers"


async def remember_size(spool: Spool, record: str, server: str | None, size: int | None) -> None:
    """Store the limit. A failure is ignored, since the limit only improves an error message.

    Args:
        spool: the spool.
        record: the record whose server it is.
        server: the server in the settings; the limit does not apply to another one.
        size: the octets in its SIZE (RFC 1870 section 4); None if it announced no limit.
    """
    known = {"server": server, "size": size or 0}
    store = spool.store(_STORE)
    with suppress(SpoolError):
        if await store.get(record) != known:
            await store.put(record, known)


async def announced_size(spool: Spool, record: str, server: str | None) -> int | None:
    """Return the limit in octets; 0 if the server announced none; None if unknown.

    Raises:
        SpoolError: it cannot be read.
    """
    known = await spool.store(_STORE).get(record)
    return known["size"] if known is not None and known["server"] == server else None
