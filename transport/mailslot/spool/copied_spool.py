"""A copy of a spool: its jobs may be sent from the original, so none is sent from here unless a person says so.

The spool remembers where it is, as a grant does (`mailslot.oauth.location`).
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from mailslot.oauth.location import Location
from mailslot.spool import job_rows, transitions
from mailslot.spool.job import UNFINISHED

if TYPE_CHECKING:
    import sqlite3

    from mailslot.spool.transaction import SpoolTransaction

_STORE: Final = "(spool)"  # no pipeline can be called this
_KEY: Final = "location"

_COPIED: Final = transitions.AttemptFailure(
    "queue_copied",
    "It was waiting when this device's data were copied from another place or device, and may be sent from there.",
)


def fail_copied_jobs(transaction: SpoolTransaction, here: Location) -> tuple[int, ...]:
    """Fail all unfinished jobs if the spool is a copy, and remember its location; return the jobs' ids.

    No job may be in the middle of a delivery.
    """
    known = _load(transaction.connection)
    if known == here:
        return ()
    save_location(transaction.connection, here)
    if known is None or not here.is_copy_of(known):
        return ()
    states = ", ".join(f"'{state}'" for state in UNFINISHED)
    rows = transaction.connection.execute(
        f"SELECT * FROM jobs WHERE state IN ({states}) ORDER BY id"  # noqa: S608 - our own words
    ).fetchall()
    for row in rows:
        transaction.store(transitions.fail(job_rows.job_of(row), transaction.now, _COPIED))
    return tuple(row["id"] for row in rows)


def save_location(connection: sqlite3.Connection, here: Location) -> None:
    """Remember the location of the spool."""
    connection.execute(
        "INSERT INTO memory (store, key, value) VALUES (?, ?, ?) "
        "ON CONFLICT (store, key) DO UPDATE SET value = excluded.value",
        (_STORE, _KEY, json.dumps(asdict(here))),
    )


def _load(connection: sqlite3.Connection) -> Location | None:
    row = connection.execute("SELECT value FROM memory WHERE store = ? AND key = ?", (_STORE, _KEY)).fetchone()
    try:
        return None if row is None else Location.from_json(json.loads(row["value"]))
    except (ValueError, KeyError, TypeError):
        return None
