"""One job through one session: in as many transactions as the server's limits ask for, each settled on the disk.

Nothing is settled but by what the server said. `Spool.hand_over` is on the disk before the octets leave that end a
message, so that a crash at any instruction leaves behind what is true: `sending` where nothing can have been
delivered, `in_doubt` where it can.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from mailslot.errors import InputError, MailError, RecipientsRefusedError, RefusedError
from mailslot.service.disposition import DeliveryFailure, judge
from mailslot.service.notification_request import requested_notifications
from mailslot.smtp.address import parse_address
from mailslot.smtp.refusals import judge_reply
from mailslot.smtp.states import Verb
from mailslot.spool.errors import SpoolError
from mailslot.spool.job import Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from mailslot.diagnosis.catalogue import Explanation
    from mailslot.service.limits import Allowance
    from mailslot.service.pipeline import RetryPolicies
    from mailslot.slots.submitter import SubmissionSession
    from mailslot.smtp.content import Content
    from mailslot.spool.job import Job
    from mailslot.spool.spool import Spool
    from mailslot.wire.reply import Reply

MOST_RECIPIENTS: Final = 100
"""Recipients of a transaction, whatever the server takes; every server takes as many (RFC 5321 section 4.5.3.1.8)."""

MOST_MAILS: Final = 100
"""Transactions in a session."""

TWICE: Final = (
    "It was sent again after the answer to an earlier attempt was lost, and may arrive twice. Both have the same "
    "Message-ID."
)

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class SessionUsage:
    """What a session was used for, so that the server's limits are kept (RFC 9422).

    Attributes:
        session: the session.
        mails: how many transactions were begun in it.
        domains: the domains of all recipients that were named in it.
        most_recipients: how many a transaction may have, as far as the server has shown.
    """

    session: SubmissionSession
    mails: int = 0
    domains: set[str] = field(default_factory=set[str])
    most_recipients: int = MOST_RECIPIENTS

    def __post_init__(self) -> None:
        self.most_recipients = min(MOST_RECIPIENTS, self.session.capabilities.limit("RCPTMAX") or MOST_RECIPIENTS)

    @property
    def spent(self) -> bool:
        """Whether another message needs another session."""
        most = self.session.capabilities.limit("MAILMAX") or MOST_MAILS
        return not self.session.usable or self.mails >= min(most, MOST_MAILS)

    def some(self, addresses: Sequence[str], room: int | None) -> list[str]:
        """Return those of `addresses` that the next transaction can have; none where this session takes no more."""
        most = self.most_recipients if room is None else min(self.most_recipients, room)
        most_domains = self.session.capabilities.limit("RCPTDOMAINMAX")
        domains, some = set(self.domains), list[str]()
        for address in addresses:
            domain = address.rpartition("@")[2].lower()
            if len(some) == most:
                break
            if most_domains is None or domain in domains or len(domains) < most_domains:
                domains.add(domain)
                some.append(address)
        return some

    def begin(self, addresses: Sequence[str]) -> None:
        """Count a transaction."""
        self.mails += 1
        self.domains.update(address.rpartition("@")[2].lower() for address in addresses)


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """How a delivery ended.

    Attributes:
        kind: `answered`: the server has said something of each recipient that it was asked about. `later`: the rest
            needs another session, or a limit to pass. `stale`: the session had died unused. `trouble`: see there.
        trouble: what went wrong with the session or the record; None where nothing did.
    """

    kind: Literal["answered", "later", "stale", "trouble"]
    trouble: DeliveryFailure | None = None


class Delivery:
    """Delivers jobs that are `sending`.

    Args:
        spool: where they are.
        now: the wall clock.
        random: gives a number from 0 to 1.
        words: says what an error means.
        persist: does what has to be written in the end, however often the disk refuses.
        policies: when jobs are tried again.
    """

    def __init__(
        self,
        spool: Spool,
        now: Callable[[], float],
        random: Callable[[], float],
        words: Callable[[MailError], Awaitable[Explanation]],
        persist: Callable[[Callable[[], Awaitable[Job]]], Awaitable[Job]],
        policies: RetryPolicies,
    ) -> None:
        self._spool = spool
        self._now = now
        self._random = random
        self._words = words
        self._persist = persist
        self._policies = policies

    async def run(
        self, job: Job, use: SessionUsage, allowance: Allowance, progress: Callable[[int, int], None]
    ) -> DeliveryOutcome:
        """Deliver a job as far as it goes.

        Args:
            job: the job, `sending`.
            use: the session, not spent.
            allowance: what the account may send.
            progress: told how many octets of how many are out.
        """
        if not job.waiting:
            await self._persist(partial(self._spool.settle, job.id))
            return DeliveryOutcome("answered")
        # Loaded ahead, so that nothing has to be waited for between the server's answer and its note on the disk.
        await self._policies.of(job.pipeline)
        put_off: dict[str, DeliveryFailure] = {}
        content = ProgressContent(self._spool.content(job), progress)
        while True:
            waiting = [address for address in job.waiting if address not in put_off]
            some = use.some(waiting, allowance.room(self._now()))
            if use.spent or not some or allowance.wait(self._now()) > 0:
                await self._persist(partial(self._spool.requeue, job.id))
                return DeliveryOutcome("later")
            fresh = use.mails == 0
            use.begin(some)
            answer = await self._submit(job, use.session, some, content)
            if isinstance(answer, _Answers):
                if answer.accepted:
                    await self._count(allowance, len(answer.accepted))
                job = await self._settle(job, use, some, answer, put_off)
                if job.state != "queued":
                    return DeliveryOutcome("answered")
                # Some could not be named in this transaction: a further one, at once.
                again = await self._spool.claim(job.via, self._now(), job_id=job.id)
                if again is None:
                    return DeliveryOutcome("later")
                job = again
                continue
            if _is_stale(answer) and not fresh:
                await self._persist(partial(self._spool.requeue, job.id))
                return DeliveryOutcome("stale")
            if answer.in_doubt:
                await self._count(allowance, len(some))
            return DeliveryOutcome("trouble", await self._trouble(job, answer))

    async def _submit(
        self, job: Job, session: SubmissionSession, recipients: Sequence[str], content: Content
    ) -> _Answers | MailError:
        async def before_end() -> None:
            await self._spool.hand_over(job.id)

        try:
            receipt = await session.submit(
                job.sender, recipients, content, delivery=requested_notifications(job), before_end=before_end
            )
        except RecipientsRefusedError as error:
            return _Answers((), error.refused, "")
        except MailError as error:
            return error
        return _Answers(receipt.accepted, receipt.refused, str(receipt.reply))

    async def _settle(
        self, job: Job, use: SessionUsage, asked: Sequence[str], answers: _Answers, put_off: dict[str, DeliveryFailure]
    ) -> Job:
        """Note what the server said of each recipient; return the job, `queued` where some are to be asked at once."""
        accepted, replies = answers.matched(asked)
        refused: dict[str, Refusal] = {}
        for address in asked:
            if address in accepted:
                continue
            reply = replies.get(address)
            if reply is not None and accepted and _is_one_too_many(reply):
                use.most_recipients = min(use.most_recipients, len(accepted))
                continue
            trouble = await self._refusal(address, reply)
            if trouble.disposition == "fail":
                refused[address] = Refusal(trouble.reply, trouble.cause)
            else:
                put_off[address] = trouble
        answered = {*accepted, *refused}
        left = [address for address in job.waiting if address not in answered]
        until, cause, sentence = None, None, ""
        if left and all(address in put_off for address in left):
            until = await self._next_attempt(job)
            cause, sentence = put_off[left[0]].cause, put_off[left[0]].sentence
        elif not left and job.doubts and (accepted or any(each.state == "accepted" for each in job.recipients)):
            cause, sentence = "in_doubt", TWICE
        settle = partial(
            self._spool.settle,
            job.id,
            accepted=accepted,
            refused=refused,
            reply=answers.reply or (put_off[left[0]].reply if until is not None else ""),
            until=until,
            cause=cause,
            sentence=sentence,
        )
        job = await self._persist(settle)
        logger.info(
            "%d recipients accepted, %d refused, %d wait",
            len(accepted),
            len(refused),
            len(left),
            extra={"job": job.id, "record": job.via, "pipeline": job.pipeline, "state": job.state, "cause": job.cause},
        )
        return job

    async def _refusal(self, address: str, reply: Reply | None) -> DeliveryFailure:
        """Return what comes of a recipient that was not accepted."""
        if reply is None:
            return DeliveryFailure("defer", "try_again_later", f"The mail server said nothing about {address}.")
        cause, retryable = judge_reply("envelope", reply, Verb.RCPT)
        error = RecipientsRefusedError(str(reply), cause=cause, refused={address: reply}, retryable=retryable)
        trouble = judge(error, await self._words(error))
        # It is this recipient's, whatever it is, since others may have been accepted.
        disposition = (
            trouble.disposition if trouble.disposition in {"fail", "defer"} else "defer" if retryable else "fail"
        )
        return DeliveryFailure(disposition, trouble.cause, trouble.sentence, trouble.reply)

    async def _trouble(self, job: Job, error: MailError) -> DeliveryFailure:
        """Note why a transaction failed; the record's part of it is the caller's."""
        trouble = judge(error, await self._words(error))
        if isinstance(error, SpoolError):
            trouble = DeliveryFailure("back_off", error.cause, str(error))
        logger.warning(
            "%s",
            trouble.sentence,
            extra={"job": job.id, "record": job.via, "cause": trouble.cause, "detail": error.detail},
        )
        await self.apply(job, trouble)
        return trouble

    async def apply(self, job: Job, trouble: DeliveryFailure) -> None:
        """Move a job that is `sending`, or handed over and refused, to where a trouble leads it."""
        spool = self._spool
        said = (trouble.cause, trouble.sentence, trouble.reply)
        if trouble.disposition == "hold":
            await self._persist(partial(spool.hold, job.id, *said))
        elif trouble.disposition == "fail":
            await self._persist(partial(spool.fail, job.id, *said))
        elif trouble.disposition in {"back_off", "defer"}:
            until = await self._next_attempt(job)
            await self._persist(partial(spool.defer, job.id, until, *said))
        elif (await spool.job(job.id)).state == "in_doubt":
            # That is on the disk already, unless a submitter said nothing before the end of the message.
            await self._persist(partial(spool.abandon, job.id))

    async def _next_attempt(self, job: Job) -> float:
        policy = await self._policies.of(job.pipeline)
        return self._now() + policy.delay(job.attempts, self._random)

    async def _count(self, allowance: Allowance, recipients: int) -> None:
        try:
            await allowance.count(self._now(), recipients)
        except SpoolError as error:
            logger.warning("What was sent is counted in memory only: %s", error)


@dataclass(frozen=True, slots=True)
class _Answers:
    """What a server said of the recipients of a transaction, by address as it was given."""

    accepted: Sequence[str]
    refused: Mapping[str, Reply]
    reply: str

    def matched(self, asked: Sequence[str]) -> tuple[list[str], dict[str, Reply]]:
        """Return the same for each that was asked; two that differ only in the case of the domain were asked as one."""
        accepted = {_wire(address) for address in self.accepted}
        refused = {_wire(address): reply for address, reply in self.refused.items()}
        return (
            [address for address in asked if _wire(address) in accepted],
            {address: refused[_wire(address)] for address in asked if _wire(address) in refused},
        )


class ProgressContent:
    """A message that tells how much of it was read.

    Args:
        content: the message.
        progress: told after each piece.
    """

    def __init__(self, content: Content, progress: Callable[[int, int], None]) -> None:
        self._content = content
        self._progress = progress
        self.size = content.size
        self.eight_bit = content.eight_bit
        self.smtputf8 = content.smtputf8

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the octets."""
        out = 0
        pieces = self._content.chunks()
        try:
            async for piece in pieces:
                yield piece
                out += len(piece)
                self._progress(out, self.size)
        finally:
            if close := getattr(pieces, "aclose", None):
                await close()


def _wire(address: str) -> str:
    try:
        return parse_address(address, "recipient").wire
    except InputError:
        return address


def _is_one_too_many(reply: Reply) -> bool:
    """Tell whether a recipient, behind one that was accepted, was refused for that (RFC 5321 section 4.5.3.1.10)."""
    return (reply.code, reply.enhanced) in {(452, "4.5.3"), (452, None), (552, "5.5.3"), (552, None)}


def _is_stale(error: MailError) -> bool:
    """Tell whether a session had ended before this message's turn, as servers end idle ones."""
    if error.in_doubt or error.stage != "envelope":
        return False
    farewell = isinstance(error, RefusedError) and error.reply is not None and error.reply.code == 421
    return farewell or error.cause == "connection_lost"
