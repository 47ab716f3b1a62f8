"""The dialogue with an SMTP server, up to the point where messages can be submitted."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from mailslot.net.channel import Channel
from mailslot.net.endpoint import Security
from mailslot.smtp.base_dialogue import BaseSmtpDialogue
from mailslot.wire.protocol_error import ProtocolError

if TYPE_CHECKING:
    import ssl

    from mailslot.smtp.protocol import ReplyReceived
    from mailslot.wire.reply import Reply


class SmtpDialogue(BaseSmtpDialogue[Channel]):
    """The line-by-line side of a session.

    Attributes:
        takes_batches: whether the server has not refused anything yet for what was sent along with it.
    """

    takes_batches: bool = True

    # One exchange.

    async def ask(self, octets: bytes, noted: str | None = None) -> Reply:
        """Send one command and return its answer.

        Args:
            octets: the command, as the protocol gave it.
            noted: what the transcript says instead, where the command holds a secret.
        """
        await self.say(octets, noted)
        return (await self.answer()).reply

    async def say(self, octets: bytes, noted: str | None = None) -> None:
        """Send commands without waiting for their answers."""
        self.note(octets if noted is None else noted.encode())
        await self.channel.send(octets, self.deadline())

    async def answer(self, timeout: float | None = None) -> ReplyReceived:
        """Return the answer to the oldest unanswered command, with secrets masked.

        Args:
            timeout: seconds to wait for it, if not the usual ones.
        """
        deadline: float | None = None
        try:
            while (event := self.protocol.next_event()) is None:
                deadline = deadline or self.deadline(timeout)
                self.protocol.receive(await self.channel.receive(deadline))
        except TimeoutError:
            # Another task may have begun a wait of its own meanwhile.
            self.patience = self.timeout if timeout is None else timeout
            raise
        return self.handle_reply(event)

    async def answers(self) -> list[ReplyReceived]:
        """Return the answers to all commands that are unanswered; 421 is the last one, wherever it comes."""
        answers: list[ReplyReceived] = []
        while self.protocol.pending:
            answers.append(await self.answer())
        return answers

    # The way to a session.

    async def greet(self, context: ssl.SSLContext) -> None:
        """Bring TLS up where it comes first, and wait for the server's greeting."""
        tls_first = self.channel.endpoint.security is Security.TLS
        async with self.exclusive_use("tls" if tls_first else "greeting"):
            if tls_first:
                await self.channel.start_tls(context, self.timeout, upgraded=False)
                self.note_tls()
                self.protocol.encrypted = True
                self.stage = "greeting"
            reply = (await self.answer()).reply
            if not reply.positive:
                if self.alive:
                    await self.leave()
                await self.abort()
                raise self.refusal(reply)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Say STARTTLS, and make the handshake once it is taken."""
        reply = await self.ask(self.protocol.starttls())
        if not reply.positive:
            raise self.refusal(reply)
        self.protocol.tls_started()
        await self.channel.start_tls(context, self.timeout, upgraded=True)

    async def leave(self) -> None:
        """Say QUIT and close; what the server answers changes nothing, so it is not waited for.

        Every result is known by then. A server that has closed already is no failure either.
        """
        with anyio.move_on_after(min(self.timeout, 2)), suppress(OSError, EOFError, ProtocolError):
            await self.say(self.protocol.quit())
        await self.abort()
