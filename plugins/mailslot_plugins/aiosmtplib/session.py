"""SMTP sessions through aiosmtplib: one command at a time, the message as a stream."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from mailslot.smtp.before_end import HookError, run_hook
from mailslot.smtp.content import PIECE_SIZE, check_size, read_beginning, read_content
from mailslot.smtp.envelope import Envelope
from mailslot.smtp.probe import probe
from mailslot.smtp.receipt import Receipt
from mailslot.smtp.refusals import all_refused_error
from mailslot.smtp.standard_message import prepare_content
from mailslot.smtp.states import State, Verb
from mailslot.wire.protocol_error import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from mailslot.smtp.before_end import Hook
    from mailslot.smtp.capabilities import Capabilities
    from mailslot.smtp.content import Content
    from mailslot.smtp.envelope import DeliveryStatus
    from mailslot.smtp.negotiation import NegotiatedEnvelope
    from mailslot.smtp.protocol import ReplyReceived
    from mailslot.wire.reply import Reply
    from mailslot_plugins.aiosmtplib.dialogue import AiosmtplibDialogue


class AiosmtplibSession:
    """A session; see `mailslot.slots.submitter.SubmissionSession`."""

    def __init__(self, dialogue: AiosmtplibDialogue, *, final_timeout: float) -> None:
        self._dialogue = dialogue
        self._final_timeout = final_timeout

    @property
    def capabilities(self) -> Capabilities:
        """The server's capabilities."""
        return self._dialogue.protocol.capabilities

    @property
    def usable(self) -> bool:
        """Whether another message can be submitted."""
        return self._dialogue.alive

    async def submit(
        self,
        sender: str,
        recipients: Sequence[str],
        message: bytes | Content,
        *,
        delivery: DeliveryStatus | None = None,
        before_end: Callable[[], Awaitable[None]] | None = None,
    ) -> Receipt:
        """Submit one message; see `mailslot.slots.submitter.SubmissionSession.submit`."""
        negotiator = self._dialogue.negotiator
        envelope, content = negotiator.validate(sender, recipients, delivery), await prepare_content(message)
        negotiated = negotiator.negotiate(envelope, content)
        refused = {**negotiated.refused}
        try:
            async with aclosing(read_content(content)) as pieces:
                # Find most errors in reading before anything is sent.
                beginning = await read_beginning(content, pieces, PIECE_SIZE)
                async with self._dialogue.exclusive_use("envelope"):
                    self._dialogue.count_transaction()
                    accepted = await self._open(negotiated, content.size, refused)
                    received = await self._send(beginning, pieces, content, before_end)
                    if not received.reply.positive:
                        raise self._dialogue.refusal(received.reply, stage="data")
        except HookError as error:
            raise error.reason from None
        return Receipt(tuple(accepted), refused, received.reply)

    async def probe(self, sender: str, recipients: Sequence[str]) -> None:
        """Ask whether a short message would be accepted, without sending one."""
        await probe(self._dialogue, Envelope(sender, recipients, None))

    async def _open(self, negotiated: NegotiatedEnvelope, size: int, refused: dict[str, Reply]) -> list[str]:
        """Send the envelope; return the accepted recipients, and add the others to `refused`."""
        dialogue, protocol = self._dialogue, self._dialogue.protocol
        dialogue.poll_unsolicited()
        if protocol.state is not State.READY and not (reply := await dialogue.execute(protocol.rset())).positive:
            raise dialogue.refusal(reply)
        reply = await dialogue.execute(protocol.mail(negotiated.sender, negotiated.mail_parameters(size)))
        if not reply.positive:
            raise dialogue.refusal(reply, verb=Verb.MAIL)
        accepted: list[str] = []
        for recipient, parameters in zip(negotiated.recipients, negotiated.rcpt_parameters, strict=True):
            reply = await dialogue.execute(protocol.rcpt(recipient, parameters))
            if not dialogue.alive:
                raise dialogue.refusal(reply)
            if reply.positive:
                accepted.append(recipient.original)
            else:
                refused[recipient.original] = reply
        if not accepted:
            raise all_refused_error(dialogue.channel.endpoint.host, refused)
        reply = await dialogue.execute(protocol.data())
        if not reply.positive:
            raise dialogue.refusal(reply, stage="data")
        return accepted

    async def _send(
        self, beginning: bytes, pieces: AsyncIterator[bytes], content: Content, before_end: Hook | None
    ) -> ReplyReceived:
        """Send the message and return the final reply."""
        dialogue, protocol = self._dialogue, self._dialogue.protocol
        dialogue.stage = "data"
        dialogue.transcribe(b"(message of %d octets)" % content.size)
        if (early := await self._put(beginning)) is not None:
            return early
        async for piece in pieces:
            if (early := await self._put(piece)) is not None:
                return early
        if (early := dialogue.poll_unsolicited()) is not None:
            return early
        end = protocol.end_of_data()
        check_size(content, protocol.sent_size)
        if before_end is not None:
            await run_hook(before_end)
        if (event := protocol.next_event()) is not None:
            if event.reply.positive:
                raise RemoteProtocolError("a yes before the message was whole")
            await dialogue.abort()
            return dialogue.handle_reply(event)
        return await dialogue.end_of_data(end, self._final_timeout)

    async def _put(self, octets: bytes) -> ReplyReceived | None:
        """Send octets of the message; return an early refusal."""
        dialogue = self._dialogue
        for start in range(0, len(octets), PIECE_SIZE):
            try:
                received = await dialogue.write(dialogue.protocol.content(octets[start : start + PIECE_SIZE]))
            except OSError:
                # The server's last reply says more than the broken connection.
                if (received := dialogue.poll_unsolicited()) is None:
                    raise
            if received is not None:
                return received
        return None
