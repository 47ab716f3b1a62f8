"""What is refused over SMTP, as errors; what a refusal means stands in ``causes/rules.toml``."""

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
    """Return what a refusal means.

    Args:
        stage: where the server refused.
        reply: its words, of 4xx or 5xx.
        verb: the command that was refused, where the stage leaves that open.
    """
    return judge(Refusal(protocol="SMTP", stage=stage, reply=reply, verb="" if verb is None else verb.value))


def nobody_accepted(host: str, refused: Mapping[str, Reply]) -> RecipientsRefusedError:
    """Return the error for a message that nobody is to get.

    Args:
        host: the server.
        refused: what it said of each recipient.
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
