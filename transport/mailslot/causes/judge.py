"""Judges a refusal: its cause, and whether it is temporary."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mailslot.causes.refusal import Refusal


class Judgement(NamedTuple):
    """The cause of a refusal, and whether the same attempt may succeed later without anybody acting."""

    cause: str
    retryable: bool


def judge(refusal: Refusal) -> Judgement:
    """Return the judgement of a refusal. Each refusal is judged once, where it is received.

    If the cause's row does not decide, a refusal with a reply code 4xx is temporary (RFC 5321 section 4.2.1).
    """
    from mailslot.causes.cause import causes  # noqa: PLC0415 - the tables are only read when something is refused
    from mailslot.causes.rules import find_rule  # noqa: PLC0415 - likewise

    rule = find_rule(refusal)
    cause = "unknown" if rule is None else rule.cause
    retryable = causes()[cause].retryable
    if retryable is None:
        retryable = refusal.reply.code is not None and 400 <= refusal.reply.code < 500
    return Judgement(cause, retryable)
