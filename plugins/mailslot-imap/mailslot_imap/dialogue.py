"""The dialogue with an IMAP server, command by command, over a connection of the library's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.causes.judge import judge
from mailslot.causes.refusal import Refusal
from mailslot.errors import NetworkError, RefusedError
from mailslot.net.channel import Channel
from mailslot.net.dialogue import Dialogue
from mailslot.net.endpoint import Security
from mailslot.wire.protocol_error import LocalProtocolError, RemoteProtocolError
from mailslot_imap.client import Client
from mailslot_imap.commands import PendingCommand
from mailslot_imap.responses import capabilities_in, is_fetch, reply_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from mailslot.errors import Stage
    from mailslot.wire.redact import Redactor
    from mailslot.wire.reply import Reply
    from mailslot.wire.transcript import Transcript

_REFUSED: Final[Mapping[Stage, str]] = {
    "greeting": "does not take connections now",
    "tls": "will not encrypt the connection",
    "quit": "did not do what it was asked to do with the mails that were fetched",
}

_BREATH: Final = 200
"""Lines after which other tasks get a turn."""


class ImapDialogue(Dialogue[Channel]):
    """The dialogue over one connection.

    Attributes:
        client: what parses the answers.
        capabilities: what the server said last that it can do.
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
        self.client = Client()
        self.capabilities: frozenset[str] = frozenset()
        self._asking: asyncio.Task[object] | None = None

    @property
    def alive(self) -> bool:
        """Whether commands can still be sent."""
        return not self.closed and self.client.farewell is None

    async def abort(self) -> None:
        """Close the connection at once, without a word."""
        if self._asking is not None:
            self._asking.cancel()
        await super().abort()

    def reply_in(self, line: bytes) -> Reply | None:
        """Return the reply that a line is: the server's farewell, or a tagged answer."""
        _, _, rest = line.decode("utf-8", "backslashreplace").partition(" ")
        result, _, text = rest.partition(" ")
        return reply_of(result.upper(), text) if result.upper() in {"OK", "NO", "BAD", "BYE"} else None

    # One exchange.

    def command(self, name: str, *arguments: str, prefix: str = "", untagged: str = "") -> PendingCommand:
        """Return a command, to be given to `begin` or `ask`."""
        return PendingCommand(self.client, name, *arguments, prefix=prefix, untagged=untagged)

    async def begin(self, command: PendingCommand) -> None:
        """Send a command."""
        self._asking = asyncio.create_task(self.client.execute(command))
        self._asking.add_done_callback(_look_at)
        # It sends at once, and waits for the answer, which `more` has it get.
        await asyncio.sleep(0)
        if self._asking.done():
            raise LocalProtocolError(f"{command.name} in the state {self.client.state}")
        if self.transcript is not None:
            self.transcript.client(self.redactor.mask(str(command).partition(" ")[2]))
        await self.flush()

    async def flush(self) -> None:
        """Send what the client wants to have sent."""
        octets = bytes(self.client.out)
        self.client.out.clear()
        await self.channel.send(octets, self.deadline())

    async def more(self, command: PendingCommand, deadline: float) -> None:
        """Parse one line, or one piece of a literal, that belongs to a command, or to nothing that was asked.

        Raises:
            NetworkError: the server takes its leave.
        """
        while (line := self.client.parse()) is None:
            self.client.receive(await self.channel.receive(deadline))
        if line:
            command.lines += 1
            if command.lines > command.most_lines:
                raise RemoteProtocolError(f"over {command.most_lines} lines to {command.name}")
            if command.lines % _BREATH == 0:
                await anyio.lowlevel.checkpoint()
        if line and self.transcript is not None and not is_fetch(line.removeprefix(b"* ")):
            self.transcript.server(self.redactor.mask(line.decode("utf-8", "replace")))
        if self.client.farewell is not None and command.name != "LOGOUT":
            raise self._left(self.client.farewell)

    async def answer(self, command: PendingCommand, *, whole: bool = True) -> Reply:
        """Return the tagged answer to a command that was begun.

        Args:
            command: the command.
            whole: whether the wait for all of it is bounded, and not only each wait for more.
        """
        deadline = self.deadline()
        while not command.ended:
            await self.more(command, deadline if whole else self.deadline())
        if self._asking is not None:
            # It has the answer, and ends.
            await self._asking
            self._asking = None
        if command.result not in {"OK", "NO", "BAD"}:
            raise RemoteProtocolError(f"neither OK nor NO nor BAD: {command.result[:20]!a}")
        return self.redactor.masked(reply_of(command.result, command.words.decode("utf-8", "replace")))

    async def ask(self, command: PendingCommand, what: str | None = None) -> Reply:
        """Send a command, and return its answer where it is OK.

        Args:
            command: the command.
            what: what the server does where it refuses, such as ``does not open the folder Faxes``.

        Raises:
            RefusedError: it is not.
        """
        await self.begin(command)
        reply = await self.answer(command)
        if not reply.positive:
            raise self.refusal(reply, what)
        return reply

    async def prompted(self, command: PendingCommand) -> bytes | None:
        """Wait for a prompt, and return what stands behind its ``+``; None where the tagged answer came instead."""
        deadline = self.deadline()
        while not command.prompts and not command.ended:
            await self.more(command, deadline)
        return command.prompts.popleft() if command.prompts else None

    async def respond(self, octets: bytes, noted: str = "•••") -> None:
        """Answer a prompt.

        Args:
            octets: what is sent, without CRLF.
            noted: what the transcript says.
        """
        if self.transcript is not None:
            self.transcript.client(noted)
        await self.channel.send(octets + b"\r\n", self.deadline())

    def refusal(self, reply: Reply, what: str | None = None) -> RefusedError:
        """Return the error for a ``NO`` or ``BAD``."""
        cause, retryable = judge(Refusal(protocol="IMAP", stage=self.stage, reply=reply))
        what = what or _REFUSED.get(self.stage, "refused")
        return RefusedError(
            f"The mail server {self.channel.endpoint.host} {what}: {reply.words}",
            stage=self.stage,
            cause=cause,
            reply=reply,
            retryable=retryable,
            detail=f"[{reply.enhanced}] {reply.words}" if reply.enhanced else reply.words,
        )

    def _left(self, words: str) -> NetworkError:
        said = self.redactor.masked(reply_of("BYE", words)).words
        return NetworkError(
            f"The mail server {self.channel.endpoint.host} ended the session: {said}",
            stage=self.stage,
            cause="connection_lost",
            retryable=True,
            detail=f"BYE {said}",
        )

    # The way to a session.

    async def greet(self, context: ssl.SSLContext) -> None:
        """Bring TLS up, where it comes first or by STARTTLS, and wait for the server's greeting.

        The greeting is read here: aioimaplib would go on by itself, and take one that says that somebody is signed in
        already.
        """
        security = self.channel.endpoint.security
        async with self.exclusive_use("tls" if security is Security.TLS else "greeting"):
            if security is Security.TLS:
                await self._encrypt(context, upgraded=False)
                self.stage = "greeting"
            deadline = self.deadline()
            while (line := self.client.take_line()) is None:
                self.client.receive(await self.channel.receive(deadline))
            self._welcome(self.redactor.mask(line.decode("utf-8", "replace")))
            if security is Security.STARTTLS:
                self.stage = "tls"
                await self.ask(self.command("STARTTLS"))
                if self.client.idle_octets:
                    raise RemoteProtocolError("octets sent ahead of the TLS handshake", cause="tls_injection")
                await self._encrypt(context, upgraded=True)

    def _welcome(self, line: str) -> None:
        if self.transcript is not None:
            self.transcript.server(line)
        mark, _, rest = line.partition(" ")
        result, _, text = rest.partition(" ")
        if mark == "*" and result.upper() == "BYE":
            raise self.refusal(reply_of("BYE", text))
        if mark != "*" or result.upper() != "OK":
            raise RemoteProtocolError(f"not a greeting of IMAP: {line[:60]!a}")

    async def learn(self) -> None:
        """Ask what the server can do."""
        command = self.command("CAPABILITY")
        await self.ask(command)
        found = [names for line in command.heard if (names := capabilities_in(line)) is not None]
        if not found:
            raise RemoteProtocolError("an answer to CAPABILITY that lists nothing")
        self.capabilities = found[-1]
        self.client.capabilities = set(self.capabilities)

    async def _encrypt(self, context: ssl.SSLContext, *, upgraded: bool) -> None:
        await self.channel.start_tls(context, self.timeout, upgraded=upgraded)
        self.note_tls()


def _look_at(task: asyncio.Task[object]) -> None:
    """Have the event loop know that somebody has looked at what a task ended with."""
    if not task.cancelled():
        task.exception()
