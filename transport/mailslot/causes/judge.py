"""What a refusal means, for those who receive it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mailslot.causes.refusal import Refusal


class Judgement(NamedTuple):
    """What a refusal means: its cause, and whether the same attempt may succeed later without anybody acting."""

    cause: str
    retryable: bool


def judge(refusal: Refusal) -> Judgement:
    """Return what a refusal means. Each refusal is judged once, where it is received.

    A refusal with a cause whose row does not say may pass where SMTP's reply code is 4xx (RFC 5321 section 4.2.1).
    """
    from mailslot.causes.cause import causes  # noqa: PLC0415 - the tables are read once something is refused
    from mailslot.causes.rules import find_rule  # noqa: PLC0415 - likewise

    rule = find_rule(refusal)
    cause = "unknown" if rule is None else rule.cause
    retryable = causes()[cause].retryable
    if retryable is None:
        retryable = refusal.reply.code is not None and refusal.reply.code < 500
    return Judgement(cause, retryable)
