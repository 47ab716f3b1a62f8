"""The SMTP dialogue up to the point where messages can be submitted, independent of the connection."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

from mailslot.errors import MailError, NetworkError, RefusedError
from mailslot.net.dialogue import ConnectionT, Dialogue
from mailslot.net.endpoint import Security
from mailslot.smtp.capabilities import Capabilities
from mailslot.smtp.negotiation import Negotiator
from mailslot.smtp.protocol import ReplyReceived, ServerClosing, SmtpProtocol
from mailslot.smtp.refusals import judge_reply
from mailslot.smtp.replies import parse_reply_line
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

_REFUSAL_PHRASES: Final[Mapping[Stage, str]] = {
    "greeting": "does not take connections now",
    "capabilities": "does not accept this device's greeting",
    "tls": "will not encrypt the connection",
    "envelope": "refused the sender",
    "data": "refused the message",
}


class BaseSmtpDialogue(Dialogue[ConnectionT], ABC):
    """A dialogue driven by the protocol core; subclasses send and receive the octets.

    Attributes:
        protocol: the state machine.
        negotiator: compares envelopes with the server's capabilities.
    """

    def __init__(
        self,
        channel: ConnectionT,
        *,
        timeout: float,
        transcript: Transcript | None,
        redactor: Redactor,
        on_stage: Callable[[Stage], None] | None = None,
    ) -> None:
        super().__init__(channel, timeout=timeout, transcript=transcript, redactor=redactor, on_stage=on_stage)
        self.protocol = SmtpProtocol()
        self._transaction_count = 0
        self.negotiator = Negotiator(Capabilities(), channel.endpoint.host)

    @property
    def alive(self) -> bool:
        """Whether commands can still be sent."""
        return not self.closed and self.protocol.state is not State.CLOSED

    @abstractmethod
    async def await_greeting(self, context: ssl.SSLContext) -> None:
        """Start TLS if it comes first, and await the server's greeting."""

    @abstractmethod
    async def execute(self, octets: bytes, transcribed_as: str | None = None) -> Reply:
        """Send one command and return its reply, with secrets masked.

        Args:
            octets: the command, from the protocol core.
            transcribed_as: the text for the transcript, if the command contains a secret.
        """

    @abstractmethod
    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Send STARTTLS, which the server offers, and perform the handshake. Needs `exclusive_use`."""

    def parse_reply_line(self, line: bytes) -> Reply | None:
        """Return the reply in a line; of a multi-line reply, the first line is enough."""
        return parse_reply_line(line)

    def transcribe(self, octets: bytes) -> None:
        """Record commands in the transcript."""
        if self.transcript is not None:
            for line in octets.decode("utf-8", "replace").splitlines() or [""]:
                self.transcript.client(line)

    def transcribe_replies(self, replies: list[Reply]) -> None:
        """Record replies in the transcript, with secrets masked."""
        if self.transcript is not None:
            for reply in map(self.redactor.mask_reply, replies):
                self.transcript.server(_to_lines(reply))

    def poll_unsolicited(self) -> ReplyReceived | None:
        """Return an early refusal of a message that is still being sent; None if nothing has come.

        Call it before a command that no other one precedes, since a 421 may have come behind the last reply.

        Raises:
            RefusedError: the server is closing the session.
        """
        protocol = self.protocol
        if not protocol.received.unread or protocol.pending or (event := protocol.next_event()) is None:
            return None
        return self.handle_reply(event)

    def handle_reply(self, event: Event) -> ReplyReceived:
        """Record a reply in the transcript, and return it masked; raise if the server is closing the session."""
        reply = self.redactor.mask_reply(event.reply)
        if self.transcript is not None:
            self.transcript.server(_to_lines(reply))
        if type(event) is ServerClosing:
            raise self.refusal(reply)
        if reply is event.reply or self.protocol.state is State.AUTH:
            # A challenge must stay intact to be decoded; its contents are masked where they are shown.
            return event
        return ReplyReceived(event.verb, reply)

    def refusal(
        self,
        reply: Reply,
        *,
        verb: Verb | None = None,
        stage: Stage | None = None,
        predicate: str | None = None,
    ) -> RefusedError:
        """Return the error for a 4xx or 5xx reply.

        Args:
            reply: the reply.
            verb: the refused command, if the stage has several.
            stage: the stage; None for the current one.
            predicate: what the error says of the server; None for the stage's usual phrase.
        """
        stage = stage or self.stage
        cause, retryable = judge_reply(stage, reply, verb)
        predicate = predicate or ("ends the session" if reply.code == 421 else _REFUSAL_PHRASES.get(stage, "refused"))
        return RefusedError(
            f"The mail server {self.channel.endpoint.host} {predicate}: {reply.one_line}",
            stage=stage,
            cause=cause,
            reply=reply,
            retryable=retryable,
            detail=str(reply),
        )

    def count_transaction(self) -> None:
        """Count a transaction.

        Raises:
            MailError: the server's announced limit for one session is reached (RFC 9422 section 5.1).
        """
        limit = self.negotiator.max_transactions
        if limit is not None and self._transaction_count >= limit:
            raise MailError(
                f"The mail server takes {limit} messages a session; this one needs a new session.",
                stage="envelope",
                cause="try_again_later",
                retryable=True,
            )
        self._transaction_count += 1

    async def negotiate_capabilities(self, context: ssl.SSLContext, name: str | None, *, require_ehlo: bool) -> None:
        """Send EHLO, and with STARTTLS start TLS and send EHLO again.

        Args:
            context: the TLS context.
            name: our name; None for our IP address as an address literal (RFC 5321 section 4.1.3).
            require_ehlo: whether the server must know EHLO; otherwise HELO is tried where it does not.
        """
        starttls = self.channel.endpoint.security is Security.STARTTLS
        async with self.exclusive_use("capabilities"):
            await self.send_ehlo(name, require_ehlo=require_ehlo or starttls)
            if not starttls:
                return
            self.stage = "tls"
            await self.upgrade_to_tls(context)
            self.stage = "capabilities"
            await self.send_ehlo(name, require_ehlo=True)

    async def send_ehlo(self, name: str | None, *, require_ehlo: bool) -> None:
        """Send EHLO, or HELO; the arguments are those of `negotiate_capabilities`. Needs `exclusive_use`."""
        self.poll_unsolicited()
        name = name or _address_literal(self.channel.local_host)
        reply = await self.execute(self.protocol.ehlo(name))
        if not reply.positive and self.alive and not require_ehlo and (reply.code or 0) >= 500:
            reply = await self.execute(self.protocol.helo(name))
        if not reply.positive:
            raise self.refusal(reply)
        self.negotiator = Negotiator(self.protocol.capabilities, self.channel.endpoint.host)

    async def upgrade_to_tls(self, context: ssl.SSLContext) -> None:
        """Start TLS by STARTTLS; raise if the server does not offer it. Needs `exclusive_use`."""
        if "STARTTLS" not in self.protocol.capabilities:
            raise NetworkError(
                f"The mail server {self.channel.endpoint.host} does not offer encryption on port "
                f"{self.channel.endpoint.port}.",
                stage="tls",
                cause="tls_not_offered",
            )
        await self.start_tls(context)
        self.transcribe_tls()


def _address_literal(host: str) -> str:
    return f"[IPv6:{host.partition('%')[0]}]" if ":" in host else f"[{host}]"


def _to_lines(reply: Reply) -> str:
    """Return a reply as the server sent it, line by line."""
    *texts, last = reply.text.split("\n")
    enhanced = f"{reply.enhanced} " if reply.enhanced else ""
    return "\n".join([*(f"{reply.code}-{enhanced}{text}" for text in texts), f"{reply.code} {enhanced}{last}"])
