"""SMTP sessions, which submit messages and return receipts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.smtp.batch import Batch, Submission, begin_transaction
from mailslot.smtp.before_end import HookError
from mailslot.smtp.envelope import Envelope
from mailslot.smtp.probe import probe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from email.message import Message as StandardMessage

    from mailslot.errors import MailError
    from mailslot.smtp.capabilities import Capabilities
    from mailslot.smtp.content import Content
    from mailslot.smtp.dialogue import SmtpDialogue
    from mailslot.smtp.envelope import DeliveryStatus
    from mailslot.smtp.receipt import Receipt


class SmtpSession:
    """A session that is ready to submit messages, opened by `mailslot.connect_smtp`.

    Several tasks may use it; they take turns. It stays usable after a refusal; any other error, and a cancellation,
    closes it.
    """

    def __init__(self, dialogue: SmtpDialogue, *, final_timeout: float, chunking: bool) -> None:
        self._dialogue = dialogue
        self._exclusive_use = dialogue.exclusive_use("envelope")
        self._final_timeout = final_timeout
        self._chunking = chunking

    @property
    def capabilities(self) -> Capabilities:
        """The server's capabilities, from its last reply to EHLO."""
        return self._dialogue.protocol.capabilities

    @property
    def usable(self) -> bool:
        """Whether another message can be submitted."""
        return self._dialogue.alive

    async def submit(
        self,
        sender: str,
        recipients: Sequence[str],
        message: bytes | StandardMessage | Content,
        *,
        delivery: DeliveryStatus | None = None,
        before_end: Callable[[], Awaitable[None]] | None = None,
    ) -> Receipt:
        """Submit one message.

        Args:
            sender: the reverse-path, to which failures are reported; ``""`` for the null sender.
            recipients: the forward-paths, at least one.
            message: bytes with any line ends, an `email.message.EmailMessage`, or a stream such as
                `mailslot.message.Message`. Bcc fields are removed.
            delivery: the notifications to request, if the server offers DSN (RFC 3461).
            before_end: awaited once, right before the end of the message is sent, so that a queue can record on disk
                that the message may have been sent. It is not called if the server refuses before that. If it raises,
                the exception is raised, the session is closed, and nothing was delivered.

        Returns:
            the receipt: the server has accepted responsibility for the message.

        Raises:
            InputError: an address or the message is invalid; nothing was sent.
            RefusedError: the server refuses the sender, every recipient or the message.
            MailError: any other error. It has no reply if the server's capabilities rule the message out, and
                `in_doubt` is true if the whole message was sent and no reply came.
        """
        transaction = await begin_transaction(
            self._dialogue, sender, recipients, message, delivery, chunking=self._chunking
        )
        try:
            async with self._exclusive_use:
                self._dialogue.count_transaction()
                await transaction.send_envelope()
                return await transaction.send_message(None, self._final_timeout, before_end)
        except HookError as error:
            raise error.reason from None
        finally:
            if transaction.streamed:
                await transaction.close()

    async def submit_many(self, submissions: Iterable[Submission]) -> list[Receipt | MailError]:
        """Submit several messages with as few round trips as the server allows.

        With PIPELINING, each envelope is sent together with the end of the previous message. If the session was opened
        with ``chunking=True`` and the server offers CHUNKING as well, many short messages are in flight at once.

        Args:
            submissions: the messages; the iterator is advanced as they are needed.

        Returns:
            for each message, in order, its receipt, or the error that `submit` would have raised. If the connection is
            lost, messages whose end was sent are `in_doubt`, and the others are not.
        """
        return await Batch(
            self._dialogue, submissions, chunking=self._chunking, final_timeout=self._final_timeout
        ).run()

    async def probe(self, sender: str, recipients: Sequence[str]) -> None:
        """Ask whether a short message would be accepted, without sending one.

        Args:
            sender: as for `submit`.
            recipients: as for `submit`.

        Raises:
            InputError: an address is invalid.
            RefusedError: the server refuses the sender, or every recipient.
            MailError: any other error.
        """
        await probe(self._dialogue, Envelope(sender, recipients, None))

    async def noop(self) -> None:
        """Send NOOP, to check that the session is alive.

        Raises:
            MailError: it is not.
        """
        async with self._exclusive_use:
            self._dialogue.poll_unsolicited()
            reply = await self._dialogue.execute(self._dialogue.protocol.noop())
            if not reply.positive:
                raise self._dialogue.refusal(reply)
