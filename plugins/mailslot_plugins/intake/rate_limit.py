"""How many answers an hour, to one sender and to all together."""

from __future__ import annotations

from typing import Final

HOUR: Final = 3600.0

Answers = tuple[tuple[str, float, str], ...]
"""The answers of the last hour: the key of each, when it was given, and to whom, in lower case."""


def allow(answers: Answers, key: str, address: str, now: float, *, each: int, together: int) -> tuple[Answers, str]:
    """Count an answer.

    Args:
        answers: those before.
        key: the answer's name; the same one again, as after a crash, counts once.
        address: to whom it goes.
        now: the time, in seconds since the epoch; answers of the future, where the clock was set back, count as now.
        each: the most to one address.
        together: the most to all.

    Returns:
        the answers to remember, and why this one is too many; empty where it is not.
    """
    recent = tuple((other, min(at, now), to) for other, at, to in answers if at > now - HOUR)
    if any(other == key for other, _, _ in recent):
        return recent, ""
    plain = address.casefold()
    if sum(to == plain for _, _, to in recent) >= each:
        return recent, f"{address} was answered {each} times within an hour"
    if len(recent) >= together:
        return recent, f"{together} answers were given within an hour"
    return (*recent, (key, now, plain)), ""
