"""The dialogue with an SMTP server, up to the point where messages can be submitted."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.errors import MailError, NetworkError, RefusedError
from mailslot.net.dialogue import Dialogue
from mailslot.net.endpoint import Security
from mailslot.smtp.protocol import Answer, Farewell, SmtpProtocol
from mailslot.smtp.refusals import cause_of
from mailslot.smtp.states import State
from mailslot.wire.protocol_error import ProtocolError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from mailslot.errors import Stage
    from mailslot.net.channel import Channel
    from mailslot.smtp.protocol import Event
    from mailslot.wire.redact import Redactor
    from mailslot.wire.reply import Reply
    from mailslot.wire.transcript import Transcript

_REFUSED: Final[Mapping[Stage, str]] = {
    "greeting": "does not take connections now",
    "capabilities": "does not accept this device's greeting",
    "tls": "will not encrypt the connection",
    "envelope": "refused the sender",
    "data": "refused the message",
}


class SmtpDialogue(Dialogue):
    """The line-by-line side of a session.

    Attributes:
        protocol: the state machine.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        timeout: float,
        transcript: Transcript | None,
        redactor: Redactor,
        on_stage: Callable[[Stage], None] | None = None,
    ) -> None:
        super().__init__(channel, timeout=timeout, transcript=transcript, redactor=redactor, on_stage=on_stage)
        self.protocol = SmtpProtocol(encrypted=channel.encrypted)
        self._mails = 0

    @property
    def alive(self) -> bool:
        """Whether commands can still be sent."""
        return not self.closed and self.protocol.state is not State.GONE

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

    def note(self, octets: bytes) -> None:
        """Note commands in the transcript."""
        if self.transcript is not None:
            for line in octets.decode("utf-8", "replace").splitlines() or [""]:
                self.transcript.client(line)

    async def answer(self, timeout: float | None = None) -> Answer:
        """Return the answer to the oldest unanswered command, with secrets masked.

        Args:
            timeout: seconds to wait for it, if not the usual ones.
        """
        deadline: float | None = None
        while (event := self.protocol.next_event()) is None:
            deadline = deadline or self.deadline(timeout)
            self.protocol.receive(await self.channel.receive(deadline))
        return self.heed(event)

    async def answers(self) -> list[Answer]:
        """Return the answers to all commands that are unanswered; 421 is the last one, wherever it comes."""
        answers: list[Answer] = []
        while self.protocol.unanswered:
            answers.append(await self.answer())
        return answers

    def overhear(self) -> Answer | None:
        """Return what the server has said though nothing was asked: that it refuses a message it has not got yet."""
        if self.protocol.unanswered or (event := self.protocol.next_event()) is None:
            return None
        return self.heed(event)

    def heed(self, event: Event) -> Answer:
        """Note what the server said; raise where it was a farewell that nobody asked for."""
        reply = self.redactor.masked(event.reply)
        if self.transcript is not None:
            self.transcript.server(_as_lines(reply))
        if isinstance(event, Farewell):
            raise self.refusal(reply, "server_busy")
        if reply is event.reply or self.protocol.state is State.SIGN_IN:
            # A challenge is decoded first; what it says is masked where it is shown.
            return event
        return Answer(event.verb, reply)

    def refusal(
        self,
        reply: Reply,
        otherwise: str = "unknown",
        *,
        stage: Stage | None = None,
        what: str | None = None,
    ) -> RefusedError:
        """Return the error for an answer of 4xx or 5xx."""
        stage = stage or self.stage
        cause, retryable = cause_of(stage, reply, otherwise)
        what = what or ("ends the session" if reply.code == 421 else _REFUSED.get(stage, "refused"))
        return RefusedError(
            f"The mail server {self.channel.endpoint.host} {what}: {reply.words}",
            stage=stage,
            cause=cause,
            reply=reply,
            retryable=retryable,
            detail=str(reply),
        )

    def count_mail(self) -> None:
        """Count a transaction.

        Raises:
            MailError: the server said beforehand that it takes no more in one session (RFC 9422 section 5.1).
        """
        most = self.protocol.capabilities.limit("MAILMAX")
        if most is not None and self._mails >= most:
            raise MailError(
                f"The mail server takes {most} messages a session; this one needs a new session.",
                stage="envelope",
                cause="try_again_later",
                retryable=True,
            )
        self._mails += 1

    # The way to a session.

    async def greet(self, context: ssl.SSLContext) -> None:
        """Bring TLS up where it comes first, and wait for the server's greeting."""
        tls_first = self.channel.endpoint.security is Security.TLS
        async with self.turn("tls" if tls_first else "greeting"):
            if tls_first:
                await self.channel.start_tls(context, self.timeout, upgraded=False)
                self._note_tls()
                self.protocol.encrypted = True
                self.stage = "greeting"
            reply = (await self.answer()).reply
            if not reply.positive:
                if self.alive:
                    await self.leave()
                await self.abort()
                raise self.refusal(reply)

    async def introduce(self, context: ssl.SSLContext, name: str | None, *, must_extend: bool) -> None:
        """Say who we are, learn what the server can do, and bring TLS up where it is due by STARTTLS.

        Args:
            context: TLS settings.
            name: our name; None for our own address as a literal (RFC 5321 section 4.1.3).
            must_extend: whether EHLO is needed; else a server that knows only HELO will do.
        """
        starttls = self.channel.endpoint.security is Security.STARTTLS
        async with self.turn("capabilities"):
            await self.hello(name, must_extend=must_extend or starttls)
            if not starttls:
                return
            self.stage = "tls"
            await self.upgrade(context)
            self.stage = "capabilities"
            await self.hello(name, must_extend=True)

    async def hello(self, name: str | None, *, must_extend: bool) -> None:
        """Say EHLO, in a turn of whoever asks for it; `name` and `must_extend` are those of `introduce`."""
        name = name or _literal(self.channel.local_host)
        reply = await self.ask(self.protocol.ehlo(name))
        if not reply.positive and self.alive and not must_extend and (reply.code or 0) >= 500:
            reply = await self.ask(self.protocol.helo(name))
        if not reply.positive:
            raise self.refusal(reply)

    async def upgrade(self, context: ssl.SSLContext) -> None:
        """Bring TLS up by STARTTLS, in a turn of whoever asks for it."""
        if "STARTTLS" not in self.protocol.capabilities:
            raise NetworkError(
                f"The mail server {self.channel.endpoint.host} does not offer encryption on port "
                f"{self.channel.endpoint.port}.",
                stage="tls",
                cause="tls_not_offered",
            )
        reply = await self.ask(self.protocol.starttls())
        if not reply.positive:
            raise self.refusal(reply)
        self.protocol.tls_started()
        await self.channel.start_tls(context, self.timeout, upgraded=True)
        self._note_tls()

    def _note_tls(self) -> None:
        if self.transcript is not None:
            self.transcript.event("encrypted from here on")

    async def leave(self) -> None:
        """Say QUIT and close; what the server answers changes nothing, so it is not waited for.

        Every result is known by then. A server that has closed already is no failure either.
        """
        with anyio.move_on_after(min(self.timeout, 2)), suppress(OSError, EOFError, ProtocolError):
            await self.say(self.protocol.quit())
        await self.abort()


def _literal(host: str) -> str:
    return f"[IPv6:{host.partition('%')[0]}]" if ":" in host else f"[{host}]"


def _as_lines(reply: Reply) -> str:
    """Return a reply as the server's lines."""
    *texts, last = reply.text.split("\n")
    enhanced = f"{reply.enhanced} " if reply.enhanced else ""
    return "\n".join([*(f"{reply.code}-{enhanced}{text}" for text in texts), f"{reply.code} {enhanced}{last}"])
