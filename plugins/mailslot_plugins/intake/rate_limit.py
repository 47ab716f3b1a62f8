"""Limits automatic replies per hour, to one address and in total.

Each reply has a value of its own, and so has each address, so that counting one costs the same however many there were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.spool.store import StoreValues

_MINUTE: Final = 60
_KEPT: Final = 60
"""Minutes for which a reply counts, the one in which it was given included."""

_TOTAL: Final = "total"
_REPLY, _ADDRESS = "reply ", "to "
"""What the keys of single replies and of addresses begin with."""


def count(values: StoreValues, key: str, address: str, now: float, *, max_per_address: int, max_total: int) -> str:
    """Count a reply, unless it exceeds the limits.

    Args:
        values: the counts.
        key: the reply's key; the same key again, for example after a crash, counts once.
        address: the recipient.
        now: the time, in seconds since the epoch; later replies, after the clock was set back, count as now.
        max_per_address: the most replies to one address.
        max_total: the most replies.

    Returns:
        why the reply exceeds the limits; empty if it does not.
    """
    minute, plain = int(now // _MINUTE), address.casefold()
    reply: int | None = values.get(f"{_REPLY}{key}")
    if reply is not None and _is_recent(reply, minute):
        return ""
    stored: dict[str, dict[str, int]] = {name: values.get(name) or {} for name in (_TOTAL, f"{_ADDRESS}{plain}")}
    total, to_address = recent = [_recent(counts, minute) for counts in stored.values()]
    if sum(to_address.values()) >= max_per_address:
        refusal = f"{address} was answered {max_per_address} times within an hour"
    elif sum(total.values()) >= max_total:
        refusal = f"{max_total} answers were given within an hour"
    else:
        refusal = ""
        for counts in recent:
            counts[str(minute)] = counts.get(str(minute), 0) + 1
    changed = {name: counts for name, counts in zip(stored, recent, strict=True) if counts != stored[name]}
    new = changed if refusal else {**changed, f"{_REPLY}{key}": minute}
    # So nothing is looked through more than once a minute.
    has_expired = any(not _is_recent(int(each), minute) for each in stored[_TOTAL])
    if new or has_expired:
        values.update(new, _expired(values, minute, kept=new) if has_expired else ())
    return refusal


def _recent(counts: Mapping[str, int], minute: int) -> dict[str, int]:
    """Return the counts of the last hour, by minute."""
    found: dict[str, int] = {}
    for each, replies in counts.items():
        if _is_recent(int(each), minute):
            at = str(min(int(each), minute))
            found[at] = found.get(at, 0) + replies
    return found


def _expired(values: StoreValues, minute: int, *, kept: Mapping[str, object]) -> list[str]:
    """Return the keys of replies and addresses that count no more."""
    return [
        key
        for key, value in values.items().items()
        if key not in kept
        and key != _TOTAL
        and not any(_is_recent(int(each), minute) for each in ([value] if key.startswith(_REPLY) else value))
    ]


def _is_recent(then: int, minute: int) -> bool:
    return then > minute - _KEPT
