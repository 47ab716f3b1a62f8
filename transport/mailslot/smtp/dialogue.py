"""The SMTP dialogue over a channel of ours."""

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
    """Sends commands and reads replies over a `Channel`.

    Attributes:
        can_batch: whether messages may be pipelined; False once the server refused one for that.
    """

    can_batch: bool = True

    # One exchange.

    async def execute(self, octets: bytes, transcribed_as: str | None = None) -> Reply:
        """Send one command and return its reply; see `BaseSmtpDialogue.execute`.

        Args:
            octets: the command, from the protocol core.
            transcribed_as: the text for the transcript, if the command contains a secret.
        """
        await self.send_commands(octets, transcribed_as)
        return (await self.read_reply()).reply

    async def send_commands(self, octets: bytes, transcribed_as: str | None = None) -> None:
        """Send commands without waiting for their replies."""
        if self.transcript is not None:
            self.transcribe(octets if transcribed_as is None else transcribed_as.encode())
        await self.channel.send(octets, self.timeout)

    async def read_reply(self, timeout: float | None = None, deadline: float | None = None) -> ReplyReceived:
        """Return the reply to the oldest pending command, with secrets masked.

        Args:
            timeout: seconds to wait, in place of the usual ones.
            deadline: that of a wait that has begun already.
        """
        try:
            while not self.protocol.received.unread or (event := self.protocol.next_event()) is None:
                if deadline is None:
                    deadline = self.current_time() + (self.timeout if timeout is None else timeout)
                self.protocol.received.feed(await self.channel.receive(deadline))
        except TimeoutError:
            # Another task may have set it for its own wait meanwhile.
            self.current_timeout = self.timeout if timeout is None else timeout
            raise
        return self.handle_reply(event)

    async def read_replies(self, deadline: float | None = None) -> list[ReplyReceived]:
        """Return the replies to all pending commands; 421 is always the last one.

        Args:
            deadline: that of the wait for the first of them, if it has begun already.
        """
        replies: list[ReplyReceived] = []
        while self.protocol.pending:
            replies.append(await self.read_reply(deadline=deadline))
            deadline = None
        return replies

    # Opening and closing.

    async def await_greeting(self, context: ssl.SSLContext) -> None:
        """Start TLS if it comes first, and await the server's greeting."""
        tls_first = self.channel.endpoint.security is Security.TLS
        async with self.exclusive_use("tls" if tls_first else "greeting"):
            if tls_first:
                await self.channel.start_tls(context, self.timeout, after_starttls=False)
                self.transcribe_tls()
                self.protocol.encrypted = True
                self.stage = "greeting"
            reply = (await self.read_reply()).reply
            if not reply.positive:
                if self.alive:
                    await self.quit()
                await self.abort()
                raise self.refusal(reply)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Send STARTTLS, and perform the handshake once it is accepted."""
        reply = await self.execute(self.protocol.starttls())
        if not reply.positive:
            raise self.refusal(reply)
        self.protocol.tls_started()
        await self.channel.start_tls(context, self.timeout, after_starttls=True)

    async def quit(self) -> None:
        """Send QUIT and close, without waiting for the reply, since all results are known.

        It is not an error if the server has closed the connection already.
        """
        with anyio.move_on_after(min(self.timeout, 2)), suppress(OSError, EOFError, ProtocolError):
            await self.send_commands(self.protocol.quit())
        await self.abort()
