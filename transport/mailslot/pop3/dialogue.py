"""The dialogue with a POP3 server, line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

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

_BREATH: Final = 1_000
"""Lines of a listing after which other tasks get a turn."""

_REFUSED: Final[Mapping[Stage, str]] = {
    "greeting": "does not take connections now",
    "tls": "will not encrypt the connection",
    "sign_in": "refused the sign-in",
    "quit": "did not delete what it was asked to delete",
}


class Reader(Protocol):
    """Whoever has asked for messages, and has not read all of them."""

    async def leave(self) -> None:
        """Read over what was asked for, so that the next answer is another's."""
        ...


class Pop3Dialogue(Dialogue[Channel]):
    """The line-by-line side of a session.

    Attributes:
        protocol: the state machine.
        reader: whose messages are under way, if any.
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
        self.reader: Reader | None = None

    async def read_by(self, reader: Reader | None) -> None:
        """Make `reader` the one that may read; what another has asked for is read over first.

        Raises:
            ClosedError: that is too much; the session is ended.
        """
        before, self.reader = self.reader, reader
        if before is not None and before is not reader:
            await before.leave()

    @property
    def alive(self) -> bool:
        """Whether commands can still be sent."""
        return not self.closed and self.protocol.state is not State.CLOSED

    def reply_in(self, line: bytes) -> Reply | None:
        """Return the reply that a line is."""
        try:
            return parse_status(line)
        except RemoteProtocolError:
            return None

    # One exchange.

    async def say(self, octets: bytes, noted: str | None = None) -> None:
        """Send commands without waiting for their answers.

        Args:
            octets: the commands, as the protocol gave them.
            noted: what the transcript says instead, where they hold a secret.
        """
        if self.transcript is not None:
            for line in [noted] if noted is not None else octets.decode("utf-8", "replace").splitlines():
                self.transcript.client(line)
        await self.channel.send(octets, self.deadline())

    async def event(self, *, whole: bool = False) -> Event:
        """Return what came next, with secrets masked.

        Args:
            whole: whether the wait for all of it is bounded, and not only each wait for more octets.
        """
        deadline: float | None = None
        while (event := self.protocol.next_event()) is None:
            if deadline is None or not whole:
                deadline = self.deadline()
            self.protocol.receive(await self.channel.receive(deadline))
        if isinstance(event, StatusReceived):
            reply = self.redactor.masked(event.reply)
            if self.transcript is not None:
                self.transcript.server(str(reply))
            return StatusReceived(event.verb, reply)
        if isinstance(event, ChallengeReceived) and self.transcript is not None:
            self.transcript.server(f"+ {self.redactor.mask(event.text)}")
        return event

    async def ask(self, octets: bytes, noted: str | None = None) -> Reply:
        """Send one command and return its one-line answer."""
        await self.say(octets, noted)
        return await self.status()

    async def status(self) -> Reply:
        """Return the answer to the oldest unanswered command; the wait for all of it is bounded."""
        event = await self.event(whole=True)
        assert isinstance(event, StatusReceived)  # noqa: S101 - no listing or message is open here
        return event.reply

    async def lines(self, check: Callable[[str], object] | None = None) -> list[str]:
        """Return the lines of the listing that has begun; a long one may take long, as long as it gets on.

        Args:
            check: raises where a line is none of such a listing, so that nobody waits for the end of another one.
        """
        lines: list[str] = []
        while isinstance(event := self.protocol.next_event() or await self.event(), LineReceived):
            if check is not None:
                check(event.text)
            lines.append(event.text)
            if len(lines) % _BREATH == 0:
                await anyio.lowlevel.checkpoint()
        assert isinstance(event, ResponseComplete)  # noqa: S101 - a listing has nothing but lines and its end
        if self.transcript is not None:
            noted = "\n".join(lines) if event.verb is Verb.CAPA else f"({len(lines)} lines)"
            self.transcript.server(self.redactor.mask(noted))
        return lines

    async def octets(self) -> tuple[bytes, bool]:
        """Return some octets of the message that has begun, and whether they are the last."""
        event = await self.event()
        if not isinstance(event, OctetsReceived):
            return b"", True
        last = self.protocol.complete
        if last:
            self.protocol.next_event()
        return event.data, last

    def refusal(self, reply: Reply, what: str | None = None) -> RefusedError:
        """Return the error for an ``-ERR``."""
        cause, retryable = judge(Refusal(protocol="POP3", stage=self.stage, reply=reply))
        what = what or _REFUSED.get(self.stage, "refused")
        return RefusedError(
            f"The mail server {self.channel.endpoint.host} {what}: {reply.words}",
            stage=self.stage,
            cause=cause,
            reply=reply,
            retryable=retryable,
            detail=str(reply),
        )

    # The way to a session.

    async def greet(self, context: ssl.SSLContext) -> None:
        """Bring TLS up where it comes first, and wait for the server's greeting."""
        tls_first = self.channel.endpoint.security is Security.TLS
        async with self.exclusive_use("tls" if tls_first else "greeting"):
            if tls_first:
                await self._encrypt(context, upgraded=False)
                self.protocol.encrypted = True
                self.stage = "greeting"
            with anyio.fail_after(self.timeout):
                reply = await self.status()
            if not reply.positive:
                raise self.refusal(reply)

    async def introduce(self, context: ssl.SSLContext) -> None:
        """Learn what the server can do, and bring TLS up where it is due by STLS."""
        async with self.exclusive_use("capabilities"):
            await self.capabilities()
            if self.channel.endpoint.security is not Security.STARTTLS:
                return
            self.stage = "tls"
            await self.upgrade(context)
            self.stage = "capabilities"
            await self.capabilities()

    async def capabilities(self) -> None:
        """Ask what the server can do; a server that does not know CAPA may do so (RFC 2449 section 5)."""
        await self.say(self.protocol.capa())
        await self.learn()

    async def learn(self) -> None:
        """Read the answer to CAPA; all of it has to come in time, for it is short."""
        with anyio.fail_after(self.timeout):
            if (await self.status()).positive:
                await self.lines()

    async def upgrade(self, context: ssl.SSLContext) -> None:
        """Bring TLS up by STLS, in a turn of whoever asks for it."""
        capabilities = self.protocol.capabilities
        if capabilities and "STLS" not in capabilities:
            raise NetworkError(
                f"The mail server {self.channel.endpoint.host} does not offer encryption on port "
                f"{self.channel.endpoint.port}.",
                stage="tls",
                cause="tls_not_offered",
            )
        reply = await self.ask(self.protocol.stls())
        if not reply.positive:
            raise self.refusal(reply)
        self.protocol.tls_started()
        await self._encrypt(context, upgraded=True)

    async def _encrypt(self, context: ssl.SSLContext, *, upgraded: bool) -> None:
        await self.channel.start_tls(context, self.timeout, upgraded=upgraded)
        self.note_tls()
