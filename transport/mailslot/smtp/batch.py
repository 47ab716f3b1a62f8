"""Several messages in one session, each with its own result."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.errors import InputError, MailError, NetworkError, RefusedError
from mailslot.smtp.content import BytesContent
from mailslot.smtp.standard_message import MAX_INLINE_SIZE, prepare_content
from mailslot.smtp.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from email.message import Message as StandardMessage

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from mailslot.smtp.content import Content
    from mailslot.smtp.dialogue import SmtpDialogue
    from mailslot.smtp.envelope import DeliveryStatus
    from mailslot.smtp.receipt import Receipt

WINDOW: Final = 64
"""Messages in flight at once, of at most `transaction.SMALL_MESSAGE` octets each."""

_BAD_SEQUENCE: Final = 503


@dataclass(frozen=True, slots=True)
class Submission:
    """A message to submit, with the arguments of `SmtpSession.submit`."""

    sender: str
    recipients: Sequence[str]
    message: bytes | StandardMessage | Content
    delivery: DeliveryStatus | None = None


async def begin_transaction(
    dialogue: SmtpDialogue,
    sender: str,
    recipients: Sequence[str],
    message: bytes | StandardMessage | Content,
    delivery: DeliveryStatus | None,
    *,
    chunking: bool,
) -> Transaction:
    """Validate a submission and return its transaction; nothing is sent yet.

    Args:
        dialogue: the dialogue.
        sender: as for `SmtpSession.submit`.
        recipients: as for `SmtpSession.submit`.
        message: as for `SmtpSession.submit`.
        delivery: as for `SmtpSession.submit`.
        chunking: whether to use BDAT if the server offers it.

    Raises:
        InputError: an address or the message cannot be used.
        MailError: the server's capabilities rule it out.
    """
    try:
        envelope = dialogue.negotiator.validate(sender, recipients, delivery)
        if type(message) is bytes and len(message) <= MAX_INLINE_SIZE:
            content: Content = BytesContent(message)
        else:
            content = await prepare_content(message)
    except MailError:
        raise
    except Exception as error:
        raise InputError(
            "The envelope or the message cannot be used.",
            stage="envelope",
            detail=f"{type(error).__name__}: {error}",
        ) from error
    transaction = Transaction(dialogue, envelope, content, chunking=chunking)
    if transaction.streamed:
        await transaction.read_beginning()
    return transaction


class Batch:
    """Sends submissions through one session; used once.

    A server may refuse a message only because its commands were pipelined with those of another. Such a message is sent
    again alone once nothing else is in flight, which is safe: the server has refused it. From then on messages are sent
    one after the other.
    """

    def __init__(
        self,
        dialogue: SmtpDialogue,
        submissions: Iterable[Submission],
        *,
        chunking: bool,
        final_timeout: float,
    ) -> None:
        self._dialogue = dialogue
        self._submissions: Iterator[Submission] = iter(submissions)
        self._chunking = chunking
        self._final_timeout = final_timeout
        self._results: list[Receipt | MailError | None] = []
        self._open_transactions: set[Transaction] = set()
        self._resubmissions: deque[tuple[int, Transaction, tuple[int, str | None]]] = deque()
        self._error: Exception | None = None
        self._in_flight = 0
        self._reply_read = anyio.Event()

    async def run(self) -> list[Receipt | MailError]:
        """Submit all messages; see `SmtpSession.submit_many`."""
        async with self._dialogue.exclusive_use("envelope"):
            try:
                if self._chunking and self._dialogue.negotiator.can_chunk:
                    await self._run_windowed()
                else:
                    await self._run_chained()
            finally:
                while self._open_transactions:
                    await self._open_transactions.pop().close()
            if not self._dialogue.alive:
                await self._dialogue.abort()
        return [result for result in self._results if result is not None]

    async def _next_transaction(self) -> tuple[int, Transaction] | None:
        """Return the next valid message and the index of its result; None after the last one."""
        while (submission := self._next_submission()) is not None:
            index = len(self._results)
            self._results.append(None)
            try:
                if not isinstance(submission, Submission):
                    raise InputError(f"A {type(submission).__name__} is not a Submission.", stage="envelope")
                if self._error is not None or not self._dialogue.alive:
                    raise self._not_sent_error()
                self._dialogue.count_transaction()
                transaction = await begin_transaction(
                    self._dialogue,
                    submission.sender,
                    submission.recipients,
                    submission.message,
                    submission.delivery,
                    chunking=self._chunking,
                )
            except MailError as error:
                self._results[index] = error
            else:
                if transaction.streamed:
                    self._open_transactions.add(transaction)
                return index, transaction
        return None

    def _next_submission(self) -> object | None:
        """Return the caller's next submission; an exception of the caller's iterator becomes a result."""
        try:
            return next(self._submissions, None)
        except Exception as error:  # noqa: BLE001 - the results of the other messages must not be lost
            failure = InputError(
                "The messages could not be taken any further.",
                stage="envelope",
                detail=f"{type(error).__name__}: {error}",
            )
            failure.__cause__ = error
            self._results.append(failure)
            return None

    # Chained: the envelope of each message is sent with the end of the previous one.

    async def _run_chained(self) -> None:
        current = await self._next_transaction()
        while current is not None:
            index, transaction = current
            following = await self._next_transaction()
            next_transaction = following[1] if following and self._dialogue.can_batch else None
            self._record_result(index, transaction, await self._submit_one(transaction, next_transaction))
            if transaction.streamed:
                await self._close(transaction)
            if self._resubmissions:
                await self._resubmit_due()
            current = following

    def _record_result(self, index: int, transaction: Transaction, result: Receipt | MailError) -> None:
        self._results[index] = result
        if transaction.batched and isinstance(result, RefusedError) and (refusal := _bad_sequence_codes(result)):
            self._dialogue.can_batch = False
            self._resubmissions.append((index, transaction, refusal))

    async def _resubmit_due(self) -> None:
        """Send again alone what was refused because of pipelining, unless replies are pending."""
        while self._resubmissions and not (self._dialogue.alive and self._dialogue.protocol.pending):
            index, transaction, refusal = self._resubmissions.popleft()
            result = await self._resubmit(transaction)
            self._results[index] = result
            if isinstance(result, RefusedError) and _bad_sequence_codes(result) == refusal:
                # The same refusal again, so pipelining was not the reason.
                self._dialogue.can_batch = True

    async def _resubmit(self, refused_transaction: Transaction) -> Receipt | MailError:
        dialogue = self._dialogue
        if not dialogue.alive:
            return self._not_sent_error()
        try:
            dialogue.count_transaction()
            transaction = Transaction(
                dialogue, refused_transaction.envelope, refused_transaction.content, chunking=self._chunking
            )
            if transaction.streamed:
                self._open_transactions.add(transaction)
                await transaction.read_beginning()
        except MailError as error:
            return error
        result = await self._submit_one(transaction, None)
        if transaction.streamed:
            await self._close(transaction)
        return result

    async def _close(self, transaction: Transaction) -> None:
        self._open_transactions.discard(transaction)
        await transaction.close()

    async def _submit_one(self, transaction: Transaction, following: Transaction | None) -> Receipt | MailError:
        dialogue = self._dialogue
        if not dialogue.alive:
            return self._not_sent_error()
        dialogue.in_doubt = False
        dialogue.stage = "envelope"
        try:
            await transaction.send_envelope()
            return await transaction.send_message(following, self._final_timeout)
        except RefusedError as error:
            return error
        except Exception as error:
            failure = error if isinstance(error, MailError) else dialogue.to_mail_error(error)
            await dialogue.abort()
            if failure is None:
                raise
            failure.__cause__ = error if failure is not error else error.__cause__
            return failure

    # Windowed: whole transactions in flight.

    async def _run_windowed(self) -> None:
        send, receive = anyio.create_memory_object_stream[tuple[int, Transaction]](WINDOW)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._send_window, send)
                await self._read_window(receive)
        except ExceptionGroup as failures:
            # The caller need not know about the two tasks.
            raise failures.exceptions[0] from None

    async def _send_window(self, queue: MemoryObjectSendStream[tuple[int, Transaction]]) -> None:
        async with queue:
            while (item := await self._next_transaction()) is not None:
                index, transaction = item
                if transaction.fits_one_group() and self._dialogue.can_batch:
                    self._in_flight += 1
                    await queue.send(item)
                    await self._send(index, transaction)
                    continue
                await self._drain_window()
                self._results[index] = await self._submit_one(transaction, None)
                if transaction.streamed:
                    await self._close(transaction)
            await self._drain_window()

    async def _drain_window(self) -> None:
        """Wait until nothing is in flight, then resubmit what is due."""
        while self._in_flight:
            self._reply_read = anyio.Event()
            await self._reply_read.wait()
        await self._resubmit_due()

    async def _send(self, index: int, transaction: Transaction) -> None:
        dialogue = self._dialogue
        if self._error is not None or not dialogue.alive:
            return
        try:
            octets = transaction.message_group()
            transaction.message_sent = True
            await dialogue.channel.send(octets, dialogue.timeout)
        except Exception as error:  # noqa: BLE001 - becomes the result of all messages in flight
            self._error = self._error or error
            if isinstance(error, MailError):
                self._results[index] = error
            if not isinstance(error, OSError) or isinstance(error, TimeoutError):
                await dialogue.abort()
            # A broken connection is closed once the server's last replies have been read.

    async def _read_window(self, queue: MemoryObjectReceiveStream[tuple[int, Transaction]]) -> None:
        async with queue:
            async for index, transaction in queue:
                result = await self._read_result(transaction)
                if self._results[index] is None:
                    self._record_result(index, transaction, result)
                if transaction.streamed:
                    await self._close(transaction)
                self._in_flight -= 1
                self._reply_read.set()

    async def _read_result(self, transaction: Transaction) -> Receipt | MailError:
        dialogue = self._dialogue
        dialogue.stage = "data"
        error: Exception
        try:
            if dialogue.alive and (self._error is None or transaction.message_sent):
                return await transaction.read_group_replies(self._final_timeout)
            error = self._error or EOFError("the connection was lost before")
        except RefusedError as refusal:
            return refusal
        except Exception as caught:  # noqa: BLE001 - becomes this message's result
            error = self._error = self._error or caught
            await dialogue.abort()
        if not transaction.message_sent:
            return self._not_sent_error()
        dialogue.in_doubt = True
        failure = dialogue.to_mail_error(error) or dialogue.to_mail_error(EOFError(str(error)))
        assert failure is not None  # noqa: S101 - a lost connection always has one
        failure.__cause__ = error
        return failure

    def _not_sent_error(self) -> NetworkError:
        return NetworkError(
            "The connection to the mail server was lost before this message's turn.",
            stage="envelope",
            cause="connection_lost",
            retryable=True,
        )


def _bad_sequence_codes(error: RefusedError) -> tuple[int, str | None] | None:
    """Return the codes of a refusal for a bad sequence of commands; None for other refusals.

    These are 503 and 5.5.x (RFC 5321 section 4.2.4, RFC 3463 section 3.6).
    """
    code, enhanced = (error.reply.code or 0, error.reply.enhanced) if error.reply is not None else (0, None)
    return (code, enhanced) if code == _BAD_SEQUENCE or (enhanced or "").startswith("5.5.") else None
