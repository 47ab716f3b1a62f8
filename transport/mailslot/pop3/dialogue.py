"""The POP3 dialogue over a channel of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import anyio
import anyio.lowlevel

from mailslot.causes.judge import judge
from mailslot.causes.refusal import Refusal
from mailslot.errors import NetworkError, RefusedError
from mailslot.net.channel import Channel
from mailslot.net.dialogue import Dialogue
from mailslot.net.endpoint import Security
from mailslot.pop3.protocol import (
    ChallengeReceived,
    LineReceived,
    OctetsReceived,
    Pop3Protocol,
    ResponseComplete,
    StatusReceived,
)
from mailslot.pop3.replies import parse_status
from mailslot.pop3.states import State, Verb
from mailslot.wire.protocol_error import RemoteProtocolError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from mailslot.errors import Stage
    from mailslot.pop3.protocol import Event
    from mailslot.wire.redact import Redactor
    from mailslot.wire.reply import Reply
    from mailslot.wire.transcript import Transcript

T = TypeVar("T")

_YIELD_AFTER: Final = 1_000
"""Lines of a listing after which other tasks get a turn."""

_REFUSAL_PHRASES: Final[Mapping[Stage, str]] = {
    "greeting": "does not take connections now",
    "tls": "will not encrypt the connection",
    "sign_in": "refused the sign-in",
    "quit": "did not delete what it was asked to delete",
}


class ActiveReader(Protocol):
    """A retrieval that has requested messages and has not read all of them."""

    async def drain(self) -> None:
        """Discard what was requested, so that the next response belongs to another command."""
        ...


class Pop3Dialogue(Dialogue[Channel]):
    """Sends commands and reads responses.

    Attributes:
        protocol: the state machine.
        reader: the retrieval whose messages are pending, if any.
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
        self.protocol = Pop3Protocol()
        self.reader: ActiveReader | None = None

    async def set_reader(self, reader: ActiveReader | None) -> None:
        """Set the reader, after discarding what another one has requested.

        Raises:
            ClosedError: there is too much to discard; the session is closed.
        """
        previous, self.reader = self.reader, reader
        if previous is not None and previous is not reader:
            await previous.drain()

    @property
    def alive(self) -> bool:
        """Whether commands can still be sent."""
        return not self.closed and self.protocol.state is not State.CLOSED

    def parse_reply_line(self, line: bytes) -> Reply | None:
        """Return the response in a status line; None if it is not one."""
        try:
            return parse_status(line)
        except RemoteProtocolError:
            return None

    # One exchange.

    async def send_commands(self, octets: bytes, transcribed_as: str | None = None) -> None:
        """Send commands without waiting for their responses.

        Args:
            octets: the commands, from the protocol core.
            transcribed_as: the text for the transcript, if they contain a secret.
        """
        if self.transcript is not None:
            for line in (
                [transcribed_as] if transcribed_as is not None else octets.decode("utf-8", "replace").splitlines()
            ):
                self.transcript.client(line)
        await self.channel.send(octets, self.start_wait())

    async def next_event(self, *, whole: bool = False) -> Event:
        """Return the next event, with secrets masked.

        Args:
            whole: whether the timeout is for the complete event rather than for each wait for octets.
        """
        deadline: float | None = None
        while (event := self.protocol.next_event()) is None:
            if deadline is None or not whole:
                deadline = self.new_deadline()
            self.protocol.receive(await self.channel.receive(deadline))
        if isinstance(event, StatusReceived):
            reply = self.redactor.mask_reply(event.reply)
            if self.transcript is not None:
                self.transcript.server(str(reply))
            return StatusReceived(event.verb, reply)
        if isinstance(event, ChallengeReceived) and self.transcript is not None:
            self.transcript.server(f"+ {self.redactor.mask(event.text)}")
        return event

    def next_message(self) -> bytes | None:
        """Return the next requested message, if it has come completely and no transcript records its status."""
        return self.protocol.next_message() if self.transcript is None else None

    async def execute(self, octets: bytes, transcribed_as: str | None = None) -> Reply:
        """Send one command and return its one-line response."""
        await self.send_commands(octets, transcribed_as)
        return await self.read_status()

    async def read_status(self) -> Reply:
        """Return the status of the oldest pending command; the timeout is for the complete line."""
        event = await self.next_event(whole=True)
        assert isinstance(event, StatusReceived)  # noqa: S101 - no listing or message is open here
        return event.reply

    async def read_lines(self, parse: Callable[[list[str]], list[T]]) -> list[T]:
        """Return the lines of the listing that has begun; a long one may take long if it makes progress.

        Args:
            parse: called with some lines; raises on an invalid one, so that we do not wait for the end of something
                else.
        """
        lines: list[T] = []
        yield_at = _YIELD_AFTER
        while isinstance(event := self.protocol.next_event() or await self.next_event(), LineReceived):
            lines += parse([event.text, *self.protocol.next_lines()])
            if len(lines) >= yield_at:
                yield_at = len(lines) + _YIELD_AFTER
                await anyio.lowlevel.checkpoint()
        assert isinstance(event, ResponseComplete)  # noqa: S101 - a listing has nothing but lines and its end
        if self.transcript is not None:
            shown = "\n".join(map(str, lines)) if event.verb is Verb.CAPA else f"({len(lines)} lines)"
            self.transcript.server(self.redactor.mask(shown))
        return lines

    async def read_octets(self) -> tuple[bytes, bool]:
        """Return some octets of the message that has begun, and whether they are the last ones."""
        event = await self.next_event()
        if not isinstance(event, OctetsReceived):
            return b"", True
        last = self.protocol.message_complete
        if last:
            self.protocol.next_event()
        return event.data, last

    def refusal(self, reply: Reply, predicate: str | None = None) -> RefusedError:
        """Return the error for an ``-ERR``."""
        cause, retryable = judge(Refusal(protocol="POP3", stage=self.stage, reply=reply))
        predicate = predicate or _REFUSAL_PHRASES.get(self.stage, "refused")
        return RefusedError(
            f"The mail server {self.channel.endpoint.host} {predicate}: {reply.one_line}",
            stage=self.stage,
            cause=cause,
            reply=reply,
            retryable=retryable,
            detail=str(reply),
        )

    # Opening.

    async def await_greeting(self, context: ssl.SSLContext) -> None:
        """Start TLS if it comes first, and await the server's greeting."""
        tls_first = self.channel.endpoint.security is Security.TLS
        async with self.exclusive_use("tls" if tls_first else "greeting"):
            if tls_first:
                await self._start_tls(context, after_starttls=False)
                self.protocol.encrypted = True
                self.stage = "greeting"
            with anyio.fail_after(self.timeout):
                reply = await self.read_status()
            if not reply.positive:
                raise self.refusal(reply)

    async def negotiate_capabilities(self, context: ssl.SSLContext) -> None:
        """Request the capabilities, and with STARTTLS start TLS and request them again."""
        async with self.exclusive_use("capabilities"):
            await self.request_capabilities()
            if self.channel.endpoint.security is not Security.STARTTLS:
                return
            self.stage = "tls"
            await self.upgrade_to_tls(context)
            self.stage = "capabilities"
            await self.request_capabilities()

    async def request_capabilities(self) -> None:
        """Send CAPA and read the response; a server may refuse it (RFC 2449 section 5)."""
        await self.send_commands(self.protocol.capa())
        await self.read_capabilities()

    async def read_capabilities(self) -> None:
        """Read the response to CAPA; the timeout is for all of it, since it is short."""
        with anyio.fail_after(self.timeout):
            if (await self.read_status()).positive:
                await self.read_lines(list)

    async def upgrade_to_tls(self, context: ssl.SSLContext) -> None:
        """Start TLS by STLS; raise if the server does not offer it. Needs `exclusive_use`."""
        capabilities = self.protocol.capabilities
        if capabilities and "STLS" not in capabilities:
            raise NetworkError(
                f"The mail server {self.channel.endpoint.host} does not offer encryption on port "
                f"{self.channel.endpoint.port}.",
                stage="tls",
                cause="tls_not_offered",
            )
        reply = await self.execute(self.protocol.stls())
        if not reply.positive:
            raise self.refusal(reply)
        self.protocol.tls_started()
        await self._start_tls(context, after_starttls=True)

    async def _start_tls(self, context: ssl.SSLContext, *, after_starttls: bool) -> None:
        await self.channel.start_tls(context, self.timeout, after_starttls=after_starttls)
        self.transcribe_tls()
