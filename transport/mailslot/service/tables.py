"""The tables of causes, of servers' replies and of providers: which ones a process works with, and since when.

They come with the package and change only with it. Nothing is asked over the network: what can be known here is when
the package was installed, and whether the service was started before that.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from anyio.to_thread import run_sync

import mailslot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.spool.store import Store

STORE: Final = "service"
_KEY: Final = "tables"
_FOLDERS: Final = ("causes", "oauth")


@cache
def tables_digest() -> str:
    """Return a digest of the tables as this process has found them first. Blocks for a moment."""
    digest = hashlib.sha256()
    for folder in _FOLDERS:
        for file in sorted((Path(mailslot.__file__).parent / folder).glob("*.toml")):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


async def note_tables(store: Store) -> None:
    """Note which tables the service works with, unless that is noted already.

    Raises:
        SpoolError: it cannot be written.
    """
    noted = {"version": mailslot.__version__, "digest": await run_sync(tables_digest)}
    if await store.get(_KEY) != noted:
        await store.put(_KEY, noted)


async def outdated_version(store: Store) -> str:
    """Return the version whose tables the service noted last; empty if they are those of this process.

    Raises:
        SpoolError: it cannot be read.
    """
    noted = cast("Mapping[str, str] | None", await store.get(_KEY))
    if noted is None or noted["digest"] == await run_sync(tables_digest):
        return ""
    return noted["version"]


def installed_at() -> float | None:
    """Return when the package was installed, in seconds since 1970; None if that is not known. Blocks for a moment."""
    try:
        record = next((file for file in distribution("mailslot").files or () if file.name == "METADATA"), None)
        return None if record is None else Path(record.locate()).stat().st_mtime
    except (PackageNotFoundError, OSError):
        return None
