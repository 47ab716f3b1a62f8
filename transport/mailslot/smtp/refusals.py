"""Refusals over SMTP; ``causes/rules.toml`` says what they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.causes.judge import judge
from mailslot.causes.refusal import Refusal
from mailslot.errors import RecipientsRefusedError
from mailslot.smtp.states import Verb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.causes.judge import Judgement
    from mailslot.errors import Stage
    from mailslot.wire.reply import Reply


def judge_reply(stage: Stage, reply: Reply, verb: Verb | None = None) -> Judgement:
    """Return the cause of a refusal, and whether it is temporary.

    Args:
        stage: the stage.
        reply: the 4xx or 5xx reply.
        verb: the refused command, if the stage has several.
    """
    return judge(Refusal(protocol="SMTP", stage=stage, reply=reply, verb="" if verb is None else verb.value))


def all_refused_error(host: str, refused: Mapping[str, Reply]) -> RecipientsRefusedError:
    """Return the error for a message whose recipients were all refused.

    Args:
        host: the server.
        refused: its reply to each recipient.
    """
    judged = {reply: judge_reply("envelope", reply, Verb.RCPT) for reply in refused.values()}
    first = next(iter(refused.values()))
    return RecipientsRefusedError(
        f"The mail server {host} refused every recipient: {first.one_line}",
        cause=judged[first].cause,
        refused=refused,
        retryable=any(each.retryable for each in judged.values()),
        detail="; ".join(f"{address}: {reply}" for address, reply in refused.items()),
    )
