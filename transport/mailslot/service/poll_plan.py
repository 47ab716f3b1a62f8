"""The plan of a poll: what to do with each listed mail, by what the ledger knows of it. No I/O."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mailslot.pop3.listing import Entry
    from mailslot.spool.incoming import KnownUid

MAX_TRIES: Final = 3
"""How often fetching, or handling, a mail is tried before it is set aside."""

_BATCH_MAILS: Final = 20
_BATCH_OCTETS: Final = 32_000_000
_LONG_BATCH_MAILS: Final = 500
_LONG_BATCH_OCTETS: Final = 512_000_000


@dataclass(slots=True)
class PollPlan:
    """What to do with a listing.

    Attributes:
        wanted: to be fetched, in this order; mails that the server calls by the same unique-id stand together.
        safe: fetched before, and to be deleted on the server.
        refused: not to be fetched, and nobody was told yet: too large, or tried often enough.
        passed_over: there before the first poll.
        reused: unique-ids that were another mail's, which was deleted; what bears them now is among the others.
        renumbered: whether the server seems to have given all mails new unique-ids, so that those from before the
            first poll cannot be told by them.
    """

    wanted: list[list[Entry]] = field(default_factory=list[list["Entry"]])
    safe: list[Entry] = field(default_factory=list["Entry"])
    refused: list[Entry] = field(default_factory=list["Entry"])
    passed_over: list[Entry] = field(default_factory=list["Entry"])
    reused: list[str] = field(default_factory=list[str])
    renumbered: bool = False

    def exclude(self, is_left: Callable[[Entry], bool]) -> None:
        """Exclude mails from being fetched."""
        groups = [[entry for entry in group if not is_left(entry)] for group in self.wanted]
        self.wanted = [group for group in groups if group]

    def next_batch(self, *, long: bool) -> list[Entry]:
        """Take out the mails that one session fetches before QUIT commits its deletions.

        Args:
            long: whether another session cannot follow soon.
        """
        mails, octets = (_LONG_BATCH_MAILS, _LONG_BATCH_OCTETS) if long else (_BATCH_MAILS, _BATCH_OCTETS)
        batch: list[Entry] = []
        while self.wanted:
            group = self.wanted[0]
            size = sum(entry.size for entry in (*batch, *group))
            if batch and (len(batch) + len(group) > mails or size > octets):
                break
            batch += self.wanted.pop(0)
        return batch


def plan_poll(
    entries: Sequence[Entry],
    known: Mapping[str, KnownUid],
    *,
    deletes: bool,
    max_octets: int,
    retry_set_aside: bool = False,
) -> PollPlan:
    """Return what to do with a listing.

    A mail whose unique-id is missing, or is borne by several, is fetched to see by its content whether it is known;
    its entry comes back without the unique-id, so that the content alone decides. RFC 1939 section 7 allows one
    unique-id for several mails where they are copies of each other, and lets the unique-id of a mail that was deleted
    be another one's; a server that announces another size for it than before has done so.

    Args:
        entries: what the server lists.
        known: what the ledger knows, by unique-id.
        deletes: whether mail that is safe here is deleted there.
        max_octets: octets of the largest mail to be fetched.
        retry_set_aside: whether what was set aside is tried again.
    """
    plan = PollPlan(renumbered=_renumbered(entries, known))
    counts = Counter(entry.uid for entry in entries if entry.uid)
    groups: dict[str, list[Entry]] = {}
    wanted: list[tuple[int, int, list[Entry]]] = []
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
            plan.safe += [entry] if deletes else []
        elif (state in {"fetched", "done"} and not deletes) or (state == "set_aside" and not retry_set_aside):
            continue
        elif entry.size > max_octets or (state is None and tries >= MAX_TRIES and not retry_set_aside):
            plan.refused.append(entry)
        elif repeated and entry.uid in groups:
            groups[entry.uid].append(replace(entry, uid=""))
        else:
            group = [replace(entry, uid="") if repeated and state is not None else entry]
            wanted.append((0 if retry_set_aside else tries, entry.number, group))
            if repeated:
                groups[entry.uid] = group
    # What failed before goes last, so that it cannot keep the others from being fetched.
    plan.wanted = [group for _, _, group in sorted(wanted, key=lambda each: each[:2])]
    return plan


def _is_reused(before: KnownUid, entry: Entry) -> bool:
    # Octets that were not announced tell nothing.
    announced = before.mail is not None and before.size is not None and entry.size > 0
    return before.deleted and before.state != "passed_over" and announced and before.size != entry.size


def _renumbered(entries: Sequence[Entry], known: Mapping[str, KnownUid]) -> bool:
    if not any(each.state == "passed_over" for each in known.values()):
        return False
    return bool(entries) and not any(entry.uid in known for entry in entries)
