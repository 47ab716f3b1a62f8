"""A signed-in SMTP session: messages in, receipts out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.smtp.batch import Batch, Submission
from mailslot.smtp.before_end import BeforeEndHook, HookError
from mailslot.smtp.envelope import Envelope
from mailslot.smtp.probe import probe
from mailslot.smtp.transaction import Transaction

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
    """A session that is ready to take messages, as `mailslot.connect_smtp` gives it.

    It can be used by several tasks; they take turns. After a refusal it stays usable; after anything else, a
    cancellation included, it is closed.
    """

    def __init__(self, dialogue: SmtpDialogue, *, final_timeout: float, chunking: bool) -> None:
        self._dialogue = dialogue
        self._final_timeout = final_timeout
        self._chunking = chunking

    @property
    def capabilities(self) -> Capabilities:
        """What the server offers, as it said last."""
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
            sender: the reverse-path, where failures are reported to; ``""`` for the null sender.
            recipients: the forward-paths, at least one.
            message: octets with any line ends, an `email.message.EmailMessage`, or a stream such as
                `mailslot.message.Message`. A Bcc header is left out.
            delivery: what the server is to report about the delivery, where it offers to (RFC 3461).
            before_end: awaited once, right before the octets leave that end the message, so that a queue can note
                on its disk that the message may be out. It is not called where the server refuses before. What
                it raises is raised, the session is closed, and nothing was delivered.

        Returns:
            a receipt: the server answers for the message from now on.

        Raises:
            InputError: an address or the message cannot be used; nothing was sent.
            RefusedError: the server refuses the sender, every recipient or the message.
            MailError: anything else; without a reply where the server has said beforehand what it cannot take,
                and with `in_doubt` true where the whole message was out and no answer came.
        """
        submission = Submission(sender, recipients, message, delivery)
        transaction = Transaction(self._dialogue, *await submission.checked(), chunking=self._chunking)
        try:
            async with transaction, self._dialogue.exclusive_use("envelope"):
                self._dialogue.count_mail()
                await transaction.open()
                return await transaction.finish(None, self._final_timeout, BeforeEndHook(before_end))
        except HookError as error:
            raise error.reason from None

    async def submit_many(self, submissions: Iterable[Submission]) -> list[Receipt | MailError]:
        """Submit several messages with as few round trips as the server allows.

        Where it offers PIPELINING, the envelope of each goes out with the end of the one before; where the session
        was opened with ``chunking=True`` and it offers CHUNKING too, many short messages are on their way at once.

        Args:
            submissions: the messages; taken one after the other, as they are needed.

        Returns:
            for each, in order, its receipt, or the error that `submit` would have raised. Once the connection is
            lost, those whose end was out are `in_doubt`, and the others are not.
        """
        return await Batch(
            self._dialogue, submissions, chunking=self._chunking, final_timeout=self._final_timeout
        ).run()

    async def probe(self, sender: str, recipients: Sequence[str]) -> None:
        """Ask whether a short message would be taken, and send none.

        Args:
            sender: as for `submit`.
            recipients: as for `submit`.

        Raises:
            InputError: an address cannot be used.
            RefusedError: the server refuses the sender, or every recipient.
            MailError: anything else.
        """
        await probe(self._dialogue, Envelope(sender, recipients, None))

    async def noop(self) -> None:
        """Ask the server whether it is still there.

        Raises:
            MailError: it is not.
        """
        async with self._dialogue.exclusive_use("envelope"):
            self._dialogue.poll_unsolicited()
            reply = await self._dialogue.ask(self._dialogue.protocol.noop())
            if not reply.positive:
                raise self._dialogue.refusal(reply)
