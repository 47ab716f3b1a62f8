"""The delivery of one job in one session, in as many transactions as the server's limits require.

A job's state follows only from the server's replies. `Spool.hand_over` is on the disk before the end of a message is
sent. So after a crash at any instruction the state is right: `sending` if nothing can have been delivered, `in_doubt`
if it may have been.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeVar

from mailslot.errors import InputError, MailError, RecipientsRefusedError, RefusedError
from mailslot.service.disposition import DeliveryFailure, classify_failure
from mailslot.service.notification_request import requested_notifications
from mailslot.smtp.address import parse_address
from mailslot.smtp.refusals import judge_reply
from mailslot.smtp.states import Verb
from mailslot.spool.errors import SpoolError
from mailslot.spool.job import RecipientRefusal
from mailslot.spool.transitions import RecipientReplies

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from mailslot.diagnosis.catalogue import Explanation
    from mailslot.service.pipeline import RetryPolicies
    from mailslot.service.sending_quota import SendingQuota
    from mailslot.slots.submitter import SubmissionSession
    from mailslot.smtp.content import Content
    from mailslot.spool.job import Job
    from mailslot.spool.spool import Spool
    from mailslot.wire.reply import Reply

MAX_RECIPIENTS: Final = 100
"""The maximum recipients of a transaction. Every server must accept this many (RFC 5321 section 4.5.3.1.8)."""

MAX_TRANSACTIONS: Final = 100
"""The maximum transactions in a session."""

MAY_ARRIVE_TWICE: Final = (
    "It was sent again after the answer to an earlier attempt was lost, and may arrive twice. Both have the same "
    "Message-ID."
)

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Persist(Protocol):
    """Performs a write, repeating it until the disk accepts it."""

    def __call__(self, write: Callable[[], Awaitable[T]], /) -> Awaitable[T]:
        """Return the result of `write`."""
        ...


@dataclass(slots=True)
class SessionUsage:
    """What a session was used for so far, to stay within the server's limits (RFC 9422).

    Attributes:
        session: the session.
        transactions: the number of transactions that were begun in it.
        domains: the domains of all recipients so far.
        max_recipients: the maximum recipients of a transaction, as far as the server has shown.
    """

    session: SubmissionSession
    transactions: int = 0
    domains: set[str] = field(default_factory=set[str])
    max_recipients: int = MAX_RECIPIENTS

    def __post_init__(self) -> None:
        self.max_recipients = min(MAX_RECIPIENTS, self.session.capabilities.limit("RCPTMAX") or MAX_RECIPIENTS)

    @property
    def is_exhausted(self) -> bool:
        """Whether another message needs another session."""
        most = self.session.capabilities.limit("MAILMAX") or MAX_TRANSACTIONS
        return not self.session.usable or self.transactions >= min(most, MAX_TRANSACTIONS)

    def next_recipients(self, addresses: Sequence[str], limit: int | None) -> list[str]:
        """Return the addresses for the next transaction; none if this session cannot take more.

        Args:
            addresses: those that are still to be sent to.
            limit: the maximum number of addresses, by the account's quota; None for no such limit.
        """
        most = self.max_recipients if limit is None else min(self.max_recipients, limit)
        most_domains = self.session.capabilities.limit("RCPTDOMAINMAX")
        domains, chosen = set(self.domains), list[str]()
        for address in addresses:
            domain = address.rpartition("@")[2].lower()
            if len(chosen) == most:
                break
            if most_domains is None or domain in domains or len(domains) < most_domains:
                domains.add(domain)
                chosen.append(address)
        return chosen

    def count_transaction(self, addresses: Sequence[str]) -> None:
        """Count a transaction with these recipients."""
        self.transactions += 1
        self.domains.update(address.rpartition("@")[2].lower() for address in addresses)


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """How a delivery ended.

    Attributes:
        kind: `answered`: the server has replied to every recipient that was sent. `later`: the other recipients need
            another session, or must wait for a limit. `stale`: the server had closed the session before it was used.
            `failed`: see `failure`.
        failure: the failure of the session or the record; None if there was none.
        has_claimed: whether the next job was claimed as well, if there is one.
        following: the job that was claimed; None for none.
    """

    kind: Literal["answered", "later", "stale", "failed"]
    failure: DeliveryFailure | None = None
    has_claimed: bool = False
    following: Job | None = None


class Delivery:
    """Delivers jobs that are in state `sending`.

    Args:
        spool: the spool with the jobs.
        now: the wall clock.
        random: returns a number from 0 to 1.
        explain: returns the explanation of an error.
        persist: performs a write, repeating it until the disk accepts it.
        policies: the retry policies of the pipelines.
    """

    def __init__(
        self,
        spool: Spool,
        now: Callable[[], float],
        random: Callable[[], float],
        explain: Callable[[MailError], Awaitable[Explanation]],
        persist: Persist,
        policies: RetryPolicies,
    ) -> None:
        self._spool = spool
        self._now = now
        self._random = random
        self._explain = explain
        self._persist = persist
        self._policies = policies

    async def run(
        self,
        job: Job,
        usage: SessionUsage,
        quota: SendingQuota,
        progress: Callable[[int, int], None],
        may_claim_next: Callable[[], bool] = lambda: False,
    ) -> DeliveryOutcome:
        """Deliver a job as far as possible.

        Args:
            job: the job, in state `sending`.
            usage: the session, which must not be exhausted.
            quota: the sending quota of the account.
            progress: called with the octets sent so far and the total.
            may_claim_next: tells, once the server has replied, whether the record's next job is to be claimed in the
                transaction that records the replies.
        """
        if not job.waiting:
            await self._persist(partial(self._spool.record_replies, job.id))
            return DeliveryOutcome("answered")
        # Loaded in advance, so that nothing delays saving the server's reply.
        await self._policies.of(job.pipeline)
        deferred: dict[str, DeliveryFailure] = {}
        content = ProgressContent(self._spool.content(job), progress)
        while True:
            waiting = [address for address in job.waiting if address not in deferred]
            addresses = usage.next_recipients(waiting, quota.remaining_recipients(self._now()))
            if usage.is_exhausted or not addresses or quota.wait(self._now()) > 0:
                await self._persist(partial(self._spool.requeue, job.id))
                return DeliveryOutcome("later")
            fresh = usage.transactions == 0
            usage.count_transaction(addresses)
            with quota.attempt(len(addresses)):
                result = await self._submit(job, usage.session, addresses, content)
                if isinstance(result, _RecipientReplies):
                    sent = len(result.accepted)
                else:
                    sent = len(addresses) if result.in_doubt else 0
                if sent:
                    await self._count(quota, sent)
            if isinstance(result, _RecipientReplies):
                claims = may_claim_next()
                job, following = await self._record_outcome(job, usage, addresses, result, deferred, claims=claims)
                if job.state != "queued":
                    return DeliveryOutcome("answered", has_claimed=claims, following=following)
                # The server did not take all recipients in this transaction, so another one follows at once.
                again = await self._spool.claim(job.via, self._now(), job_id=job.id)
                if again is None:
                    return DeliveryOutcome("later")
                job = again
                continue
            if _is_stale(result) and not fresh:
                await self._persist(partial(self._spool.requeue, job.id))
                return DeliveryOutcome("stale")
            return DeliveryOutcome("failed", await self._fail(job, result))

    async def _submit(
        self, job: Job, session: SubmissionSession, recipients: Sequence[str], content: Content
    ) -> _RecipientReplies | MailError:
        async def before_end() -> None:
            await self._spool.hand_over(job.id)

        try:
            receipt = await session.submit(
                job.sender, recipients, content, delivery=requested_notifications(job), before_end=before_end
            )
        except RecipientsRefusedError as error:
            return _RecipientReplies((), error.refused, "")
        except MailError as error:
            return error
        return _RecipientReplies(receipt.accepted, receipt.refused, str(receipt.reply))

    async def _record_outcome(
        self,
        job: Job,
        usage: SessionUsage,
        requested: Sequence[str],
        result: _RecipientReplies,
        deferred: dict[str, DeliveryFailure],
        *,
        claims: bool,
    ) -> tuple[Job, Job | None]:
        """Save the replies for the recipients, and claim the next job if told so.

        Returns:
            the job, `queued` if some recipients are to be tried at once, and the next one.
        """
        accepted, replies = result.matched(requested)
        refused: dict[str, RecipientRefusal] = {}
        for address in requested:
            if address in accepted:
                continue
            reply = replies.get(address)
            if reply is not None and accepted and _is_recipient_limit(reply):
                usage.max_recipients = min(usage.max_recipients, len(accepted))
                continue
            failure = await self._recipient_failure(address, reply)
            if failure.disposition == "fail":
                refused[address] = RecipientRefusal(failure.reply, failure.cause)
            else:
                deferred[address] = failure
        answered = {*accepted, *refused}
        left = [address for address in job.waiting if address not in answered]
        until, cause, sentence = None, None, ""
        if left and all(address in deferred for address in left):
            until = await self._next_attempt(job)
            cause, sentence = deferred[left[0]].cause, deferred[left[0]].sentence
        elif not left and job.doubts and (accepted or any(each.state == "accepted" for each in job.recipients)):
            cause, sentence = "in_doubt", MAY_ARRIVE_TWICE
        whole = result.reply or (deferred[left[0]].reply if until is not None else "")
        recorded = RecipientReplies(accepted, refused, whole, until, cause, sentence)
        settle = partial(self._spool.settle, job.id, recorded, claims_next_of=job.via if claims else None)
        job, following = await self._persist(settle)
        logger.info(
            "%d recipients accepted, %d refused, %d wait",
            len(accepted),
            len(refused),
            len(left),
            extra={"job": job.id, "record": job.via, "pipeline": job.pipeline, "state": job.state, "cause": job.cause},
        )
        return job, following

    async def _recipient_failure(self, address: str, reply: Reply | None) -> DeliveryFailure:
        """Return the failure of a recipient that was not accepted."""
        if reply is None:
            return DeliveryFailure("defer", "try_again_later", f"The mail server said nothing about {address}.")
        cause, retryable = judge_reply("envelope", reply, Verb.RCPT)
        error = RecipientsRefusedError(str(reply), cause=cause, refused={address: reply}, retryable=retryable)
        failure = classify_failure(error, await self._explain(error))
        # Whatever the cause, it concerns only this recipient, since others may have been accepted.
        disposition = (
            failure.disposition if failure.disposition in {"fail", "defer"} else "defer" if retryable else "fail"
        )
        return DeliveryFailure(disposition, failure.cause, failure.sentence, failure.reply)

    async def _fail(self, job: Job, error: MailError) -> DeliveryFailure:
        """Save the failure of a transaction; the caller handles the consequences for the record."""
        failure = classify_failure(error, await self._explain(error))
        fault = error.__cause__ if isinstance(error, InputError) else error
        if isinstance(fault, SpoolError):
            # A message that is missing or damaged concerns only this job.
            passes = failure.disposition == "back_off" or fault is error or fault.cause != "spool_unreadable"
            failure = DeliveryFailure("back_off" if passes else "fail", fault.cause, str(fault))
        logger.warning(
            "%s",
            failure.sentence,
            extra={"job": job.id, "record": job.via, "cause": failure.cause, "detail": error.detail},
        )
        await self.apply(job, failure)
        return failure

    async def apply(self, job: Job, failure: DeliveryFailure) -> None:
        """Do what a failure's disposition says with a job that is `sending`, or was handed over and then refused."""
        spool = self._spool
        details = (failure.cause, failure.sentence, failure.reply)
        if failure.disposition == "hold":
            await self._persist(partial(spool.hold, job.id, *details))
        elif failure.disposition == "fail":
            await self._persist(partial(spool.fail, job.id, *details))
        elif failure.disposition in {"back_off", "defer"}:
            until = await self._next_attempt(job)
            await self._persist(partial(spool.defer, job.id, until, *details))
        elif (await spool.job(job.id)).state == "in_doubt":
            # This is already on the disk, unless the submitter did not call `before_end`.
            await self._persist(partial(spool.abandon, job.id))

    async def _next_attempt(self, job: Job) -> float:
        policy = await self._policies.of(job.pipeline)
        return self._now() + policy.delay(job.attempts, self._random)

    async def _count(self, quota: SendingQuota, recipients: int) -> None:
        try:
            await quota.count(self._now(), recipients)
        except SpoolError as error:
            logger.warning("What was sent is counted in memory only: %s", error)


@dataclass(frozen=True, slots=True)
class _RecipientReplies:
    """The server's replies for the recipients of a transaction, by the address that was sent."""

    accepted: Sequence[str]
    refused: Mapping[str, Reply]
    reply: str

    def matched(self, requested: Sequence[str]) -> tuple[list[str], dict[str, Reply]]:
        """Return the replies by requested address; addresses that differ only in the domain's case were sent once."""
        accepted = {_canonical(address) for address in self.accepted}
        refused = {_canonical(address): reply for address, reply in self.refused.items()}
        return (
            [address for address in requested if _canonical(address) in accepted],
            {address: refused[_canonical(address)] for address in requested if _canonical(address) in refused},
        )


class ProgressContent:
    """A message that reports its progress as it is read.

    Args:
        content: the message.
        progress: called after each piece, with the octets read so far and the total.
    """

    def __init__(self, content: Content, progress: Callable[[int, int], None]) -> None:
        self._content = content
        self._progress = progress
        self.size = content.size
        self.eight_bit = content.eight_bit
        self.smtputf8 = content.smtputf8

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the octets."""
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


def _canonical(address: str) -> str:
    try:
        return parse_address(address, "recipient").wire
    except InputError:
        return address


def _is_recipient_limit(reply: Reply) -> bool:
    """Whether a recipient was refused because there are too many (RFC 5321 section 4.5.3.1.10)."""
    return (reply.code, reply.enhanced) in {(452, "4.5.3"), (452, None), (552, "5.5.3"), (552, None)}


def _is_stale(error: MailError) -> bool:
    """Whether the server had closed the session before this message, as servers do with idle sessions."""
    if error.in_doubt or error.stage != "envelope":
        return False
    server_closing = isinstance(error, RefusedError) and error.reply is not None and error.reply.code == 421
    return server_closing or error.cause == "connection_lost"
