"""What is said with an SMTP server up to the point where messages can be submitted, whoever carries it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

from mailslot.errors import MailError, NetworkError, RefusedError
from mailslot.net.dialogue import Dialogue, L
from mailslot.net.endpoint import Security
from mailslot.smtp.protocol import ReplyReceived, ServerClosing, SmtpProtocol
from mailslot.smtp.refusals import judge_reply
from mailslot.smtp.replies import reply_in
from mailslot.smtp.states import State

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from mailslot.errors import Stage
    from mailslot.smtp.protocol import Event
    from mailslot.smtp.states import Verb
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


class BaseSmtpDialogue(Dialogue[L], ABC):
    """A dialogue in which the core judges what the server says; subclasses carry the octets.

    Attributes:
        protocol: the state machine.
    """

    def __init__(
        self,
        channel: L,
        *,
        timeout: float,
        transcript: Transcript | None,
        redactor: Redactor,
        on_stage: Callable[[Stage], None] | None = None,
    ) -> None:
        super().__init__(channel, timeout=timeout, transcript=transcript, redactor=redactor, on_stage=on_stage)
        self.protocol = SmtpProtocol()
        self._mails = 0

    @property
    def alive(self) -> bool:
        """Whether commands can still be sent."""
        return not self.closed and self.protocol.state is not State.CLOSED

    @abstractmethod
    async def greet(self, context: ssl.SSLContext) -> None:
        """Bring TLS up where it comes first, and wait for the server's greeting."""

    @abstractmethod
    async def ask(self, octets: bytes, noted: str | None = None) -> Reply:
        """Send one command and return its answer, with secrets masked.

        Args:
            octets: the command, as the protocol gave it.
            noted: what the transcript says instead, where the command holds a secret.
        """

    @abstractmethod
    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Say STARTTLS and bring TLS up, in a turn of whoever asks for it; the server offers it."""

    def reply_in(self, line: bytes) -> Reply | None:
        """Return the reply that a line is; a longer one's first line stands for all of it."""
        return reply_in(line)

    def note(self, octets: bytes) -> None:
        """Note commands in the transcript."""
        if self.transcript is not None:
            for line in octets.decode("utf-8", "replace").splitlines() or [""]:
                self.transcript.client(line)

    def poll_unsolicited(self) -> ReplyReceived | None:
        """Return what the server has said though nothing was asked: that it refuses a message it has not got yet."""
        if self.protocol.pending or (event := self.protocol.next_event()) is None:
            return None
        return self.handle_reply(event)

    def handle_reply(self, event: Event) -> ReplyReceived:
        """Note what the server said; raise where it was a farewell that nobody asked for."""
        reply = self.redactor.masked(event.reply)
        if self.transcript is not None:
            self.transcript.server(_as_lines(reply))
        if isinstance(event, ServerClosing):
            raise self.refusal(reply)
        if reply is event.reply or self.protocol.state is State.AUTH:
            # A challenge is decoded first; what it says is masked where it is shown.
            return event
        return ReplyReceived(event.verb, reply)

    def refusal(
        self,
        reply: Reply,
        *,
        verb: Verb | None = None,
        stage: Stage | None = None,
        what: str | None = None,
    ) -> RefusedError:
        """Return the error for an answer of 4xx or 5xx.

        Args:
            reply: the answer.
            verb: the command that was refused, where the stage leaves that open.
            stage: where that was; None for where the dialogue is now.
            what: what the server does, in a sentence about it.
        """
        stage = stage or self.stage
        cause, retryable = judge_reply(stage, reply, verb)
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

    async def introduce(self, context: ssl.SSLContext, name: str | None, *, must_extend: bool) -> None:
        """Say who we are, learn what the server can do, and bring TLS up where it is due by STARTTLS.

        Args:
            context: TLS settings.
            name: our name; None for our own address as a literal (RFC 5321 section 4.1.3).
            must_extend: whether EHLO is needed; else a server that knows only HELO will do.
        """
        starttls = self.channel.endpoint.security is Security.STARTTLS
        async with self.exclusive_use("capabilities"):
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
        await self.start_tls(context)
        self.note_tls()


def _literal(host: str) -> str:
    return f"[IPv6:{host.partition('%')[0]}]" if ":" in host else f"[{host}]"


def _as_lines(reply: Reply) -> str:
    """Return a reply as the server's lines."""
    *texts, last = reply.text.split("\n")
    enhanced = f"{reply.enhanced} " if reply.enhanced else ""
    return "\n".join([*(f"{reply.code}-{enhanced}{text}" for text in texts), f"{reply.code} {enhanced}{last}"])
