"""A mail transaction: the envelope, the message as a stream, the receipt (RFC 5321 section 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.smtp.before_end import run_hook
from mailslot.smtp.commands import DATA
from mailslot.smtp.content import SMALL_MESSAGE, InMemoryContent, check_size, read_beginning, read_content
from mailslot.smtp.limits import MAX_PIPELINED_RECIPIENTS
from mailslot.smtp.receipt import Receipt
from mailslot.smtp.refusals import all_refused_error
from mailslot.smtp.states import State, Verb
from mailslot.smtp.upload import Upload

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mailslot.errors import RefusedError
    from mailslot.smtp.before_end import Hook
    from mailslot.smtp.content import Content
    from mailslot.smtp.dialogue import SmtpDialogue
    from mailslot.smtp.envelope import Envelope
    from mailslot.smtp.protocol import ReplyReceived
    from mailslot.wire.reply import Reply

_NOTHING_TO_RESET: Final = frozenset({State.READY, State.DATA, State.NO_RECIPIENTS})
"""The states in which the end of a message, if one is due, leaves no transaction open."""


class Transaction:
    """The submission of one message; used once.

    Attributes:
        envelope: the envelope.
        content: the message.
        streamed: whether the message is read in pieces: `read_beginning` comes first, and `close` at the end.
        envelope_sent: whether the envelope was sent early, with the end of the previous message.
        batched: whether it was pipelined with another transaction.
        message_sent: whether the whole message may have been sent.
        can_follow: whether the envelope may be sent together with the end of the previous message.
    """

    def __init__(self, dialogue: SmtpDialogue, envelope: Envelope, content: Content, *, chunking: bool) -> None:
        """Check the message against the server's capabilities.

        Raises:
            MailError: they rule it out; stage `envelope`.
        """
        self.envelope = envelope
        self.content = content
        self.envelope_sent = False
        self.batched = False
        self.message_sent = False
        self._dialogue = dialogue
        self._protocol = dialogue.protocol
        self._can_pipeline = dialogue.negotiator.can_pipeline
        self._chunked = chunking and dialogue.negotiator.can_chunk
        self._negotiated = dialogue.negotiator.negotiate(envelope, content)
        self._recipients = self._negotiated.recipients
        self.can_follow = self._can_pipeline and not self._recipients[MAX_PIPELINED_RECIPIENTS:]
        self._accepted: list[str] = []
        self._refused = {**self._negotiated.refused}
        self._whole = content.whole if isinstance(content, InMemoryContent) and content.size <= SMALL_MESSAGE else None
        self.streamed = self._whole is None
        self._beginning = b"" if self._whole is None else self._whole.lines
        self._pieces: AsyncGenerator[bytes] | None = None

    async def read_beginning(self) -> None:
        """Read the beginning of the message, so that most errors are found before anything is sent.

        Raises:
            InputError: the content cannot be read, or has another size than announced.
        """
        self._pieces = read_content(self.content)
        try:
            self._beginning = await read_beginning(self.content, self._pieces, SMALL_MESSAGE)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close the files of the message."""
        if self._pieces is not None:
            await self._pieces.aclose()

    # The envelope.

    def envelope_group(self, *, reset: bool = False) -> bytes:
        """Return the envelope, and DATA unless BDAT is used, as one group of commands (RFC 2920).

        Args:
            reset: whether RSET comes first even if no transaction seems to be open.
        """
        self.envelope_sent = True
        octets = self._protocol.rset() if reset or self._protocol.state not in _NOTHING_TO_RESET else b""
        octets += self._negotiated.commands(self.content.size)
        if self._chunked:
            return self._protocol.group(octets, self._negotiated.verbs)
        return self._protocol.group(octets + DATA, (*self._negotiated.verbs, Verb.DATA))

    def _mail(self) -> bytes:
        return self._protocol.group(self._negotiated.mail(self.content.size), (Verb.MAIL,))

    async def send_envelope(self) -> None:
        """Send the envelope, unless it was sent early, and read the replies to it; the stage is `envelope`.

        Raises:
            RefusedError: the sender, every recipient or the message is refused; another transaction can follow.
        """
        dialogue, received = self._dialogue, self._protocol.received
        if not self.envelope_sent and received.unread:
            dialogue.poll_unsolicited()
        if not self.can_follow:
            await self._evaluate_envelope_replies(await self._send_envelope_in_steps())
            return
        if not self.envelope_sent:
            group = self.envelope_group()
            if dialogue.transcript is not None:
                dialogue.transcribe(group)
            await dialogue.channel.send(group, dialogue.timeout)
        deadline: float | None = None
        if not received.unread:
            deadline = dialogue.current_time() + dialogue.timeout
            received.feed(await dialogue.channel.receive(deadline))
        if not (replies := self._protocol.next_success()):
            await self._evaluate_envelope_replies(await dialogue.read_replies(deadline))
            return
        self._accepted = [*self._negotiated.accepted]
        if dialogue.transcript is not None:
            dialogue.transcribe_replies(replies)

    async def _send_envelope_in_steps(self) -> list[ReplyReceived]:
        dialogue = self._dialogue
        replies: list[ReplyReceived] = []

        async def execute(commands: bytes) -> bool:
            await dialogue.send_commands(commands)
            replies.extend(await dialogue.read_replies())
            return replies[-1].reply.positive

        if self._protocol.state not in _NOTHING_TO_RESET and not await execute(self._protocol.rset()):
            return replies
        if not await execute(self._mail()):
            return replies
        group_size = MAX_PIPELINED_RECIPIENTS if self._can_pipeline else 1
        rcpts = self._negotiated.rcpts()
        for start in range(0, len(rcpts), group_size):
            group = rcpts[start : start + group_size]
            await execute(self._protocol.group(b"".join(group), (Verb.RCPT,) * len(group)))
            if not dialogue.alive:
                return replies
        if self._protocol.state is State.RECIPIENTS and not self._chunked:
            await execute(self._protocol.data())
        return replies

    async def _evaluate_envelope_replies(self, replies: list[ReplyReceived]) -> None:
        """Sort the recipients by their replies; raise unless the message is due now."""
        recipients = iter(self._recipients)
        refusal: RefusedError | None = None
        for received in replies:
            reply = received.reply
            if received.verb is Verb.RSET and received is not replies[-1] and reply.code != 421:
                # Some servers refuse RSET without an open transaction; the further replies decide.
                continue
            if received.verb is Verb.RCPT and reply.code != 421:
                recipient = next(recipients).original
                if reply.positive:
                    self._accepted.append(recipient)
                else:
                    self._refused[recipient] = reply
            elif not reply.positive:
                refusal = self._data_refusal(reply) if received.verb is Verb.DATA else self._sender_refusal(reply)
                break
        if refusal is None and not self._accepted:
            refusal = all_refused_error(self._dialogue.channel.endpoint.host, self._refused)
        if self._protocol.state is State.NO_RECIPIENTS:
            if any(received.verb is Verb.RCPT and received.reply.positive for received in replies):
                # The server refused the sender but kept the previous transaction, or sent a surplus reply: this
                # recipient would get an empty message.
                await self._dialogue.abort()
            else:
                # The server waits for a message without recipients; an empty one ends that (RFC 2920 section 3.1).
                await self._dialogue.execute(self._protocol.end_of_data())
        if refusal is not None:
            raise refusal

    def _sender_refusal(self, reply: Reply) -> RefusedError:
        return self._dialogue.refusal(reply, verb=Verb.MAIL, stage="envelope")

    def _data_refusal(self, reply: Reply) -> RefusedError:
        return (
            all_refused_error(self._dialogue.channel.endpoint.host, self._refused)
            if not self._accepted
            else self._dialogue.refusal(reply, stage="data")
        )

    # The message.

    async def send_message(
        self, following: Transaction | None, final_timeout: float, before_end: Hook | None = None
    ) -> Receipt:
        """Send the message and read the final reply.

        Args:
            following: the next transaction, whose envelope may be sent with the end of this message.
            final_timeout: seconds to wait for the final reply (RFC 5321 section 4.5.3.2.6).
            before_end: runs right before the end of the message is sent.

        Raises:
            HookError: `before_end` failed; the session is over, nothing was delivered.
            RefusedError: the server refuses the message.
            InputError: the content has another size than announced; the session is over, nothing was delivered.
        """
        dialogue = self._dialogue
        dialogue.stage = "data"
        if dialogue.transcript is not None:
            dialogue.transcribe(b"(message of %d octets)" % self.content.size)
        received = dialogue.poll_unsolicited() if self._protocol.received.unread else None
        if received is None and self._whole is None and len(self._beginning) > SMALL_MESSAGE:
            received = await self._upload(following, final_timeout, before_end)
        elif received is None:
            if self._whole is None or self._chunked:
                octets = self._end_of_message(self._beginning)
            else:
                octets = self._protocol.message(self._whole)
            if following is not None:
                octets += self._following_envelope(following)
            if before_end is not None:
                await run_hook(before_end)
            # Until the kernel has taken the last octet the server cannot have the end, unless more octets follow it.
            dialogue.in_doubt = following is not None
            await dialogue.channel.send(octets, dialogue.timeout)
            dialogue.in_doubt = True
            received = await dialogue.read_reply(final_timeout)
        dialogue.in_doubt = False
        return self.receipt(received.reply)

    def receipt(self, reply: Reply) -> Receipt:
        """Return the receipt for the final reply; raise if that is a refusal."""
        if not reply.positive:
            raise self._dialogue.refusal(reply, stage="data")
        return Receipt(tuple(self._accepted), self._refused, reply)

    async def _upload(
        self, following: Transaction | None, final_timeout: float, before_end: Hook | None
    ) -> ReplyReceived:
        upload = Upload(self._dialogue, before_end, chunked=self._chunked)
        assert self._pieces is not None  # noqa: S101 - a long message is read in pieces
        return await upload.run(
            self._beginning,
            self._pieces,
            self._end_of_message,
            lambda: self._following_envelope(following),
            final_timeout,
        )

    def _end_of_message(self, rest: bytes) -> bytes:
        """Return the last octets of the message and its end."""
        protocol = self._protocol
        octets = protocol.bdat(rest, last=True) if self._chunked else protocol.content(rest) + protocol.end_of_data()
        check_size(self.content, protocol.sent_size)
        return octets

    def _following_envelope(self, following: Transaction | None) -> bytes:
        """Return the envelope of the next message, to be sent with the end of this one; empty if not possible."""
        if following is None or not following.can_follow:
            return b""
        group = following.envelope_group()
        self.batched = following.batched = True
        if self._dialogue.transcript is not None:
            self._dialogue.transcribe(group)
        return group

    # A whole transaction in one group.

    def fits_one_group(self) -> bool:
        """Tell whether envelope and message can be sent together, by `message_group`."""
        return self._chunked and self.can_follow and len(self._beginning) <= SMALL_MESSAGE

    def message_group(self) -> bytes:
        """Return envelope and message as one group, ended by BDAT LAST (RFC 3030 section 4.2).

        It begins with RSET, since the chunk of the previous group may be refused, and then only RSET helps.
        """
        self.batched = True
        group = self.envelope_group(reset=True)
        self._dialogue.transcribe(group + b"(message of %d octets)" % self.content.size)
        return group + self._end_of_message(self._beginning)

    async def read_group_replies(self, final_timeout: float) -> Receipt:
        """Read all replies to `message_group`.

        Raises:
            RefusedError: the sender, every recipient or the message is refused; other messages are not affected.
        """
        dialogue = self._dialogue
        replies: list[ReplyReceived] = []
        before_last = 2 + len(self._recipients)
        while len(replies) <= before_last and dialogue.alive:
            replies.append(await dialogue.read_reply(final_timeout if len(replies) == before_last else None))
        await self._evaluate_envelope_replies([received for received in replies if received.verb is not Verb.BDAT_LAST])
        return self.receipt(replies[-1].reply)
