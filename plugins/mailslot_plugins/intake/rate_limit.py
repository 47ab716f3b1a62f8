"""Limits automatic replies per hour, to one address and in total."""

from __future__ import annotations

from typing import Final

HOUR: Final = 3600.0

SentReplies = tuple[tuple[str, float, str], ...]
"""The replies of the last hour: the key, time and address, in lower case, of each."""


def allow(
    replies: SentReplies, key: str, address: str, now: float, *, max_per_address: int, max_total: int
) -> tuple[SentReplies, str]:
    """Count a reply.

    Args:
        replies: the replies before.
        key: the reply's key; the same key again, for example after a crash, counts once.
        address: the recipient.
        now: the time, in seconds since the epoch; later replies, after the clock was set back, count as now.
        max_per_address: the most replies to one address.
        max_total: the most replies.

    Returns:
        the replies to store, and why this one exceeds the limits; empty if it does not.
    """
    recent = tuple((other, min(at, now), to) for other, at, to in replies if at > now - HOUR)
    if any(other == key for other, _, _ in recent):
        return recent, ""
    plain = address.casefold()
    if sum(to == plain for _, _, to in recent) >= max_per_address:
        return recent, f"{address} was answered {max_per_address} times within an hour"
    if len(recent) >= max_total:
        return recent, f"{max_total} answers were given within an hour"
    return (*recent, (key, now, plain)), ""
