"""One mail transaction: the envelope in one group, the message as a stream, one receipt (RFC 5321 section 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.smtp.before_end import BeforeEndHook
from mailslot.smtp.content import BytesContent, beginning, hold_to_size, read
from mailslot.smtp.limits import MAX_GROUP
from mailslot.smtp.negotiation import negotiate
from mailslot.smtp.receipt import Receipt
from mailslot.smtp.refusals import nobody_accepted
from mailslot.smtp.states import State, Verb
from mailslot.smtp.upload import Upload

if TYPE_CHECKING:
    from typing import Self

    from mailslot.errors import RefusedError
    from mailslot.smtp.address import Address
    from mailslot.smtp.content import Content
    from mailslot.smtp.dialogue import SmtpDialogue
    from mailslot.smtp.envelope import Envelope
    from mailslot.smtp.protocol import ReplyReceived
    from mailslot.wire.reply import Reply

SMALL: Final = 16_384
"""Octets up to which a message is sent in one piece, and its answer waited for only then. Every system takes as
many at once (Linux: the default of tcp_wmem)."""

_NOTHING: Final = BeforeEndHook()


class Transaction:
    """A message on its way through a session; used once.

    Attributes:
        envelope: from whom, to whom.
        content: the message.
        grouped: whether the envelope's commands are out already, ahead of their turn.
        batched: whether it was sent behind another message, or another one's envelope behind it.
        out: whether the whole message may be out.
    """

    def __init__(self, dialogue: SmtpDialogue, envelope: Envelope, content: Content, *, chunking: bool) -> None:
        """Check what can be checked without asking the server.

        Raises:
            MailError: the server has said beforehand that it cannot take this message, stage `envelope`.
        """
        self.envelope = envelope
        self.content = content
        self.grouped = False
        self.batched = False
        self.out = False
        self._dialogue = dialogue
        self._protocol = dialogue.protocol
        self._chunked = chunking and self._groups and "CHUNKING" in dialogue.protocol.capabilities
        terms = negotiate(envelope, content, dialogue.protocol.capabilities, dialogue.channel.endpoint.host)
        self._recipients = terms.recipients
        self._accepted: list[str] = []
        self._refused = terms.refused
        self._mail_parameters = terms.mail_parameters
        self._pieces = read(content)
        self._head = b""

    async def __aenter__(self) -> Self:
        """Read the beginning of the message, so that what cannot be read is known before an octet leaves.

        Raises:
            InputError: the content cannot be read, or is not what it says it is.
        """
        if isinstance(self.content, BytesContent) and self.content.size <= SMALL:
            # It was read and measured when it was made.
            self._head = self.content.data
            return self
        try:
            self._head = await beginning(self.content, self._pieces, SMALL)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the message's files."""
        await self._pieces.aclose()

    # The envelope.

    @property
    def _groups(self) -> bool:
        return "PIPELINING" in self._protocol.capabilities

    def can_follow(self) -> bool:
        """Tell whether `group` may be sent right behind the end of the message before."""
        return self._groups and len(self._recipients) <= MAX_GROUP

    def group(self) -> bytes:
        """Return the envelope, and DATA where it is due, as one group of commands (RFC 2920)."""
        self.grouped = True
        return self._reset() + self._envelope() + (b"" if self._chunked else self._protocol.data())

    def _envelope(self) -> bytes:
        return self._mail() + b"".join(map(self._rcpt, self._recipients))

    def _reset(self) -> bytes:
        open_before = self._protocol.state not in {State.READY, State.DATA, State.NO_RECIPIENTS}
        return self._protocol.rset() if open_before else b""

    def _mail(self) -> bytes:
        return self._protocol.mail(self.envelope.sender, self._mail_parameters)

    def _rcpt(self, recipient: Address) -> bytes:
        parameters = self.envelope.rcpt_parameters(recipient, self._protocol.capabilities)
        return self._protocol.rcpt(recipient, parameters)

    async def open(self) -> None:
        """Send the envelope where that was not done ahead, and read what the server says to it.

        Raises:
            RefusedError: the sender, every recipient or the message is refused; another transaction can follow.
        """
        dialogue = self._dialogue
        dialogue.stage = "envelope"
        dialogue.poll_unsolicited()
        if self.can_follow():
            if not self.grouped:
                await dialogue.say(self.group())
            answers = await dialogue.answers()
        else:
            answers = await self._step_by_step()
        await self._judge(answers)

    async def _step_by_step(self) -> list[ReplyReceived]:
        dialogue = self._dialogue
        answers: list[ReplyReceived] = []

        async def ask(*commands: bytes) -> bool:
            await dialogue.say(b"".join(commands))
            answers.extend(await dialogue.answers())
            return answers[-1].reply.positive

        if (reset := self._reset()) and not await ask(reset):
            return answers
        if not await ask(self._mail()):
            return answers
        at_once = MAX_GROUP if self._groups else 1
        for start in range(0, len(self._recipients), at_once):
            await ask(*[self._rcpt(recipient) for recipient in self._recipients[start : start + at_once]])
            if not dialogue.alive:
                return answers
        if self._protocol.state is State.RECIPIENTS and not self._chunked:
            await ask(self._protocol.data())
        return answers

    async def _judge(self, answers: list[ReplyReceived]) -> None:
        """Sort the answers to the envelope; raise unless the message is due now."""
        recipients = iter(self._recipients)
        refusal: RefusedError | None = None
        for answer in answers:
            reply = answer.reply
            if answer.verb is Verb.RSET and answer is not answers[-1] and reply.code != 421:
                # There may have been nothing to give up; what follows it tells.
                continue
            if answer.verb is Verb.RCPT and reply.code != 421:
                recipient = next(recipients).given
                if reply.positive:
                    self._accepted.append(recipient)
                else:
                    self._refused[recipient] = reply
            elif not reply.positive:
                refusal = self._no_data(reply) if answer.verb is Verb.DATA else self._unopened(reply)
                break
        if refusal is None and not self._accepted:
            refusal = nobody_accepted(self._dialogue.channel.endpoint.host, self._refused)
        if self._protocol.state is State.NO_RECIPIENTS:
            if any(answer.verb is Verb.RCPT and answer.reply.positive for answer in answers):
                # It refused the sender, and has not forgotten the transaction before, or has said one line too many:
                # this recipient would get an empty message.
                await self._dialogue.abort()
            else:
                # The server waits for a message that nobody would get; an empty one ends that (RFC 2920 section 3.1).
                await self._dialogue.ask(self._protocol.end())
        if refusal is not None:
            raise refusal

    def _unopened(self, reply: Reply) -> RefusedError:
        return self._dialogue.refusal(reply, verb=Verb.MAIL, stage="envelope")

    def _no_data(self, reply: Reply) -> RefusedError:
        return (
            nobody_accepted(self._dialogue.channel.endpoint.host, self._refused)
            if not self._accepted
            else self._dialogue.refusal(reply, stage="data")
        )

    # The message.

    async def finish(
        self, following: Transaction | None, final_timeout: float, before_end: BeforeEndHook = _NOTHING
    ) -> Receipt:
        """Send the message and read the server's last word on it.

        Args:
            following: the transaction whose envelope may be sent along with the end of the message.
            final_timeout: seconds to wait for the answer once it is out (RFC 5321 section 4.5.3.2.6).
            before_end: awaited once the end is the next to go out.

        Raises:
            NotEndedError: `before_end` failed; the session is over, nothing was delivered.
            RefusedError: the server refuses the message.
            InputError: the content is not what it said it was; the session is over, nothing was delivered.
        """
        dialogue = self._dialogue
        dialogue.stage = "data"
        dialogue.note(b"(message of %d octets)" % self.content.size)
        answer = dialogue.poll_unsolicited()
        if answer is None and len(self._head) > SMALL:
            answer = await self._upload(following, final_timeout, before_end)
        elif answer is None:
            octets = self._end(self._head) + self._follow(following)
            await before_end()
            # Until the system has taken the last octet, nobody can have the end, unless more goes out behind it.
            dialogue.handed_over = following is not None
            await dialogue.channel.send(octets, dialogue.deadline())
            dialogue.handed_over = True
            answer = await dialogue.answer(final_timeout)
        dialogue.handed_over = False
        return self.receipt(answer.reply)

    def receipt(self, reply: Reply) -> Receipt:
        """Return the receipt for the server's last word, or raise where that is no."""
        if not reply.positive:
            raise self._dialogue.refusal(reply, stage="data")
        return Receipt(tuple(self._accepted), self._refused, reply)

    async def _upload(
        self, following: Transaction | None, final_timeout: float, before_end: BeforeEndHook
    ) -> ReplyReceived:
        upload = Upload(self._dialogue, before_end, chunked=self._chunked)
        return await upload.run(self._head, self._pieces, self._end, lambda: self._follow(following), final_timeout)

    def _end(self, rest: bytes) -> bytes:
        """Return the rest of the message and its end."""
        protocol = self._protocol
        octets = protocol.chunk(rest, last=True) if self._chunked else protocol.content(rest) + protocol.end()
        hold_to_size(self.content, protocol.sent_size)
        return octets

    def _follow(self, following: Transaction | None) -> bytes:
        """Return what may go out along with the end of the message: the envelope of the next one."""
        if following is None or not following.can_follow():
            return b""
        group = following.group()
        self.batched = following.batched = True
        self._dialogue.note(group)
        return group

    # A whole transaction in one group.

    def fits_whole(self) -> bool:
        """Tell whether envelope and message can go out together, for `whole`."""
        return self._chunked and self.can_follow() and len(self._head) <= SMALL

    def whole(self) -> bytes:
        """Return envelope and message as one group, ended by BDAT LAST (RFC 3030 section 4.2).

        RSET leads it, since the group before may fail at its chunk, and then only RSET helps.
        """
        protocol = self._protocol
        self.batched = True
        group = protocol.rset() + self._envelope()
        self._dialogue.note(group + b"(message of %d octets)" % self.content.size)
        return group + self._end(self._head)

    async def settle(self, final_timeout: float) -> Receipt:
        """Read all that the server says to `whole`.

        Raises:
            RefusedError: the sender, every recipient or the message is refused; others in the window go on.
        """
        dialogue = self._dialogue
        answers: list[ReplyReceived] = []
        before_last = 2 + len(self._recipients)
        while len(answers) <= before_last and dialogue.alive:
            answers.append(await dialogue.answer(final_timeout if len(answers) == before_last else None))
        await self._judge([answer for answer in answers if answer.verb is not Verb.BDAT_LAST])
        return self.receipt(answers[-1].reply)
