"""Many messages in one session, each with a result of its own."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.errors import InputError, MailError, NetworkError, RefusedError
from mailslot.smtp.envelope import Envelope
from mailslot.smtp.standard import content_of
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
"""Messages on their way at once, of `transaction.SMALL` octets at most each."""

_BAD_SEQUENCE: Final = 503


@dataclass(frozen=True, slots=True)
class Submission:
    """A message to submit, as the arguments of `SmtpSession.submit`."""

    sender: str
    recipients: Sequence[str]
    message: bytes | StandardMessage | Content
    delivery: DeliveryStatus | None = None

    async def checked(self) -> tuple[Envelope, Content]:
        """Return the envelope and the content.

        Raises:
            InputError: an address or the message cannot be used.
        """
        try:
            return Envelope(self.sender, self.recipients, self.delivery), await content_of(self.message)
        except MailError:
            raise
        except Exception as error:
            raise InputError(
                "The envelope or the message cannot be used.",
                stage="envelope",
                detail=f"{type(error).__name__}: {error}",
            ) from error


class Batch:
    """Submissions on their way through one session; used once.

    A message that may be refused only for what it was sent along with is sent again by itself, once nothing else is
    under way; the server has said that it does not have it. From then on nothing is sent along with anything.
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
        self._open: set[Transaction] = set()
        self._due: deque[tuple[int, Transaction, tuple[int, str | None]]] = deque()
        self._error: Exception | None = None
        self._flying = 0
        self._landed = anyio.Event()

    async def run(self) -> list[Receipt | MailError]:
        """Submit them all; see `SmtpSession.submit_many`."""
        async with self._dialogue.exclusive_use("envelope"):
            capabilities = self._dialogue.protocol.capabilities
            try:
                if self._chunking and "CHUNKING" in capabilities and "PIPELINING" in capabilities:
                    await self._windowed()
                else:
                    await self._chained()
            finally:
                while self._open:
                    await self._open.pop().close()
            if not self._dialogue.alive:
                await self._dialogue.abort()
        return [result for result in self._results if result is not None]

    async def _next(self) -> tuple[int, Transaction] | None:
        """Return the next message that can be tried, with the number of its result; None after the last."""
        while (submission := self._take()) is not None:
            number = len(self._results)
            self._results.append(None)
            try:
                if not isinstance(submission, Submission):
                    raise InputError(f"A {type(submission).__name__} is no Submission.", stage="envelope")
                if self._error is not None or not self._dialogue.alive:
                    raise self._lost()
                self._dialogue.count_mail()
                transaction = Transaction(self._dialogue, *await submission.checked(), chunking=self._chunking)
                await transaction.__aenter__()
                self._open.add(transaction)
            except MailError as error:
                self._results[number] = error
            else:
                return number, transaction
        return None

    def _take(self) -> object | None:
        """Return the caller's next one; what is under way is not lost where the caller has none to give."""
        try:
            return next(self._submissions, None)
        except Exception as error:  # noqa: BLE001 - the results of the others are worth more
            failure = InputError(
                "The messages could not be taken any further.",
                stage="envelope",
                detail=f"{type(error).__name__}: {error}",
            )
            failure.__cause__ = error
            self._results.append(failure)
            return None

    # The envelope of each with the end of the one before.

    async def _chained(self) -> None:
        current = await self._next()
        while current is not None:
            number, transaction = current
            following = await self._next()
            together = following[1] if following and self._dialogue.takes_batches else None
            self._note(number, transaction, await self._one(transaction, together))
            await self._close(transaction)
            await self._catch_up()
            current = following

    def _note(self, number: int, transaction: Transaction, result: Receipt | MailError) -> None:
        self._results[number] = result
        if transaction.batched and isinstance(result, RefusedError) and (refusal := _out_of_order(result)):
            self._dialogue.takes_batches = False
            self._due.append((number, transaction, refusal))

    async def _catch_up(self) -> None:
        """Send by itself what was refused for what it was sent along with, unless something is under way."""
        while self._due and not (self._dialogue.alive and self._dialogue.protocol.pending):
            number, transaction, refusal = self._due.popleft()
            result = await self._alone(transaction)
            self._results[number] = result
            if isinstance(result, RefusedError) and _out_of_order(result) == refusal:
                # It was not for that, then.
                self._dialogue.takes_batches = True

    async def _alone(self, before: Transaction) -> Receipt | MailError:
        dialogue = self._dialogue
        if not dialogue.alive:
            return self._lost()
        try:
            dialogue.count_mail()
            transaction = Transaction(dialogue, before.envelope, before.content, chunking=self._chunking)
            await transaction.__aenter__()
        except MailError as error:
            return error
        self._open.add(transaction)
        result = await self._one(transaction, None)
        await self._close(transaction)
        return result

    async def _close(self, transaction: Transaction) -> None:
        self._open.discard(transaction)
        await transaction.close()

    async def _one(self, transaction: Transaction, following: Transaction | None) -> Receipt | MailError:
        dialogue = self._dialogue
        if not dialogue.alive:
            return self._lost()
        dialogue.handed_over = False
        try:
            await transaction.open()
            return await transaction.finish(following, self._final_timeout)
        except RefusedError as error:
            return error
        except Exception as error:
            failure = error if isinstance(error, MailError) else dialogue.failure(error)
            await dialogue.abort()
            if failure is None:
                raise
            failure.__cause__ = error if failure is not error else error.__cause__
            return failure

    # Whole transactions in flight.

    async def _windowed(self) -> None:
        send, receive = anyio.create_memory_object_stream[tuple[int, Transaction]](WINDOW)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._launch, send)
                await self._land(receive)
        except ExceptionGroup as failures:
            # Whatever it is, it is no fault of two tasks.
            raise failures.exceptions[0] from None

    async def _launch(self, queue: MemoryObjectSendStream[tuple[int, Transaction]]) -> None:
        async with queue:
            while (item := await self._next()) is not None:
                number, transaction = item
                if transaction.fits_whole() and self._dialogue.takes_batches:
                    self._flying += 1
                    await queue.send(item)
                    await self._send(number, transaction)
                    continue
                await self._clear()
                self._results[number] = await self._one(transaction, None)
                await self._close(transaction)
            await self._clear()

    async def _clear(self) -> None:
        """Wait until nothing is in flight, and send again what is due."""
        while self._flying:
            self._landed = anyio.Event()
            await self._landed.wait()
        await self._catch_up()

    async def _send(self, number: int, transaction: Transaction) -> None:
        dialogue = self._dialogue
        if self._error is not None or not dialogue.alive:
            return
        try:
            octets = transaction.whole()
            transaction.out = True
            await dialogue.channel.send(octets, dialogue.deadline())
        except Exception as error:  # noqa: BLE001 - becomes the results of all that are in flight
            self._error = self._error or error
            if isinstance(error, MailError):
                self._results[number] = error
            if not isinstance(error, OSError) or isinstance(error, TimeoutError):
                await dialogue.abort()
            # A broken connection ends by itself once what the server said last has been read.

    async def _land(self, queue: MemoryObjectReceiveStream[tuple[int, Transaction]]) -> None:
        async with queue:
            async for number, transaction in queue:
                result = await self._settle(transaction)
                if self._results[number] is None:
                    self._note(number, transaction, result)
                await self._close(transaction)
                self._flying -= 1
                self._landed.set()

    async def _settle(self, transaction: Transaction) -> Receipt | MailError:
        dialogue = self._dialogue
        dialogue.stage = "data"
        error: Exception
        try:
            if dialogue.alive and (self._error is None or transaction.out):
                return await transaction.settle(self._final_timeout)
            error = self._error or EOFError("the connection was lost before")
        except RefusedError as refusal:
            return refusal
        except Exception as caught:  # noqa: BLE001 - becomes this message's result
            error = self._error = self._error or caught
            await dialogue.abort()
        if not transaction.out:
            return self._lost()
        dialogue.handed_over = True
        failure = dialogue.failure(error) or dialogue.failure(EOFError(str(error)))
        assert failure is not None  # noqa: S101 - a lost connection always is one
        failure.__cause__ = error
        return failure

    def _lost(self) -> NetworkError:
        return NetworkError(
            "The connection to the mail server was lost before this message's turn.",
            stage="envelope",
            cause="connection_lost",
            retryable=True,
        )


def _out_of_order(error: RefusedError) -> tuple[int, str | None] | None:
    """Return the codes by which a server says that a command came where it may not; None for any others.

    503, or 5.5.x (RFC 5321 section 4.2.4, RFC 3463 section 3.6).
    """
    code, enhanced = (error.reply.code or 0, error.reply.enhanced) if error.reply is not None else (0, None)
    return (code, enhanced) if code == _BAD_SEQUENCE or (enhanced or "").startswith("5.5.") else None
