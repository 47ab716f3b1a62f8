"""The plan of a poll: what to do with each listed mail, given what the ledger knows. No I/O."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mailslot.pop3.listing import Entry
    from mailslot.spool.incoming import KnownUid

MAX_TRIES: Final = 3
"""The attempts to fetch or handle a mail before it is set aside."""

_BATCH_MAILS: Final = 20
_BATCH_OCTETS: Final = 32_000_000
_LONG_BATCH_MAILS: Final = 500
_LONG_BATCH_OCTETS: Final = 512_000_000


@dataclass(slots=True)
class PollPlan:
    """What to do with the mails of a listing.

    Attributes:
        to_fetch: the mails to fetch, in this order; those with the same unique-id are grouped.
        to_delete: mails that were fetched before, to be deleted on the server.
        refused: mails that are not to be fetched, since they are too large or failed too often; this was not reported
            yet.
        passed_over: mails that were there before the first poll.
        reused: unique-ids that belonged to deleted mails, and now to other mails, which are in the lists above.
        renumbered: whether the server seems to have given all mails new unique-ids, so that those do not show which
            mails were there before the first poll.
    """

    to_fetch: list[list[Entry]] = field(default_factory=list[list["Entry"]])
    to_delete: list[Entry] = field(default_factory=list["Entry"])
    refused: list[Entry] = field(default_factory=list["Entry"])
    passed_over: list[Entry] = field(default_factory=list["Entry"])
    reused: list[str] = field(default_factory=list[str])
    renumbered: bool = False

    def exclude(self, is_excluded: Callable[[Entry], bool]) -> None:
        """Do not fetch the mails for which `is_excluded` returns true."""
        groups = [[entry for entry in group if not is_excluded(entry)] for group in self.to_fetch]
        self.to_fetch = [group for group in groups if group]

    def next_batch(self, *, long: bool) -> list[Entry]:
        """Remove and return the mails to fetch in one session, after which QUIT commits the deletions.

        Args:
            long: whether to return a larger batch, since the next session must wait.
        """
        mails, octets = (_LONG_BATCH_MAILS, _LONG_BATCH_OCTETS) if long else (_BATCH_MAILS, _BATCH_OCTETS)
        batch: list[Entry] = []
        while self.to_fetch:
            group = self.to_fetch[0]
            size = sum(entry.size for entry in (*batch, *group))
            if batch and (len(batch) + len(group) > mails or size > octets):
                break
            batch += self.to_fetch.pop(0)
        return batch


def plan_poll(
    entries: Sequence[Entry],
    known: Mapping[str, KnownUid],
    *,
    deletes: bool,
    max_octets: int,
    retry_set_aside: bool = False,
) -> PollPlan:
    """Return the plan for a listing.

    A mail without a unique-id, or with the same one as another mail, is fetched to compare its content with known
    mails; the unique-id is removed from its entry in the plan. RFC 1939 section 7 allows identical mails to share a
    unique-id. It also allows the unique-id of a deleted mail to be reused; a different size shows that this has
    happened.

    Args:
        entries: the listing.
        known: the unique-ids in the ledger.
        deletes: whether fetched mail is deleted on the server.
        max_octets: the maximum octets of a mail to fetch.
        retry_set_aside: whether to fetch mail again that was set aside.
    """
    plan = PollPlan(renumbered=_renumbered(entries, known))
    counts = Counter(entry.uid for entry in entries if entry.uid)
    groups: dict[str, list[Entry]] = {}
    candidates: list[tuple[int, int, list[Entry]]] = []
    for entry in entries:
        before = known.get(entry.uid) if entry.uid else None
        state, tries = (before.state, before.tries) if before is not None else (None, 0)
        repeated = counts[entry.uid] > 1
        if before is not None and not repeated and _is_reused(before, entry):
            plan.reused.append(entry.uid)
            state, tries = None, 0
        if state == "passed_over":
            plan.passed_over.append(entry)
        elif state in {"fetched", "done"} and not repeated:
            plan.to_delete += [entry] if deletes else []
        elif (state in {"fetched", "done"} and not deletes) or (state == "set_aside" and not retry_set_aside):
            continue
        elif entry.size > max_octets or (state is None and tries >= MAX_TRIES and not retry_set_aside):
            plan.refused.append(entry)
        elif repeated and entry.uid in groups:
            groups[entry.uid].append(replace(entry, uid=""))
        else:
            group = [replace(entry, uid="") if repeated and state is not None else entry]
            candidates.append((0 if retry_set_aside else tries, entry.number, group))
            if repeated:
                groups[entry.uid] = group
    # Mails that failed before come last, so that they cannot delay the others.
    plan.to_fetch = [group for _, _, group in sorted(candidates, key=lambda each: each[:2])]
    return plan


def _is_reused(before: KnownUid, entry: Entry) -> bool:
    # Without an announced size, nothing can be concluded.
    announced = before.mail is not None and before.size is not None and entry.size > 0
    return before.deleted and before.state != "passed_over" and announced and before.size != entry.size


def _renumbered(entries: Sequence[Entry], known: Mapping[str, KnownUid]) -> bool:
    if not any(each.state == "passed_over" for each in known.values()):
        return False
    return bool(entries) and not any(entry.uid in known for entry in entries)
