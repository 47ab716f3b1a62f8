"""A copy of a spool: its jobs may be sent from the original, so none is sent from here unless a person says so.

The spool remembers where it is, as a grant does (`mailslot.oauth.location`).
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from mailslot.oauth.location import Location
from mailslot.spool import transitions

if TYPE_CHECKING:
    from mailslot.spool.repositories import Values
    from mailslot.spool.transaction import SpoolTransaction

LOCATION_STORE: Final = "(spool)"  # no pipeline can be called this
_KEY: Final = "location"

_COPIED: Final = transitions.AttemptFailure(
    "queue_copied",
    "It was waiting when this device's data were copied from another place or device, and may be sent from there.",
)


def fail_copied_jobs(transaction: SpoolTransaction, here: Location) -> tuple[int, ...]:
    """Fail all unfinished jobs if the spool is a copy, and remember its location; return the jobs' ids.

    No job may be in the middle of a delivery.
    """
    known = load_location(transaction.repositories.values)
    if known == here:
        return ()
    save_location(transaction.repositories.values, here)
    if known is None or not here.is_copy_of(known):
        return ()
    jobs = transaction.jobs.unfinished()
    for job in jobs:
        transaction.store(transitions.fail(job, transaction.now, _COPIED))
    return tuple(job.id for job in jobs)


def save_location(values: Values, here: Location) -> None:
    """Remember the location of the spool."""
    values.update(LOCATION_STORE, {_KEY: json.dumps(asdict(here))}, ())


def load_location(values: Values) -> Location | None:
    """Return the location that a spool remembers; None if it remembers none."""
    text = values.get(LOCATION_STORE, _KEY)
    try:
        return None if text is None else Location.from_json(json.loads(text))
    except (ValueError, KeyError, TypeError):
        return None
