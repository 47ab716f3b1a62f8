"""The IMAP dialogue over a channel of the library."""

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
from mailslot_imap.responses import is_fetch, parse_capabilities, reply_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from mailslot.errors import Stage
    from mailslot.wire.redact import Redactor
    from mailslot.wire.reply import Reply
    from mailslot.wire.transcript import Transcript

_REFUSAL_PHRASES: Final[Mapping[Stage, str]] = {
    "greeting": "does not take connections now",
    "tls": "will not encrypt the connection",
    "quit": "did not do what it was asked to do with the mails that were fetched",
}

_YIELD_AFTER: Final = 200
"""Lines after which other tasks get a turn."""


class ImapDialogue(Dialogue[Channel]):
    """Sends commands and reads responses.

    Attributes:
        client: parses the responses.
        capabilities: the server's capabilities, from its last response to CAPABILITY.
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
        self._execution: asyncio.Task[object] | None = None

    @property
    def alive(self) -> bool:
        """Whether commands can still be sent."""
        return not self.closed and self.client.bye_text is None

    async def abort(self) -> None:
        """Close the connection at once, without LOGOUT."""
        if self._execution is not None:
            self._execution.cancel()
        await super().abort()

    def parse_reply_line(self, line: bytes) -> Reply | None:
        """Return the reply in a line: BYE or a tagged response; None for any other."""
        _, _, rest = line.decode("utf-8", "backslashreplace").partition(" ")
        result, _, text = rest.partition(" ")
        return reply_of(result.upper(), text) if result.upper() in {"OK", "NO", "BAD", "BYE"} else None

    # One exchange.

    def new_command(self, name: str, *arguments: str, prefix: str = "", untagged: str = "") -> PendingCommand:
        """Return a command for `send_command` or `execute`."""
        return PendingCommand(self.client, name, *arguments, prefix=prefix, untagged=untagged)

    async def send_command(self, command: PendingCommand) -> None:
        """Send a command."""
        self._execution = asyncio.create_task(self.client.execute(command))
        self._execution.add_done_callback(_retrieve_exception)
        # The task sends at once, and then waits for the responses, which `parse_more` delivers.
        await asyncio.sleep(0)
        if self._execution.done():
            raise LocalProtocolError(f"{command.name} in the state {self.client.state}")
        if self.transcript is not None:
            self.transcript.client(self.redactor.mask(str(command).partition(" ")[2]))
        await self.flush()

    async def flush(self) -> None:
        """Send the client's queued octets."""
        octets = bytes(self.client.outgoing)
        self.client.outgoing.clear()
        await self.channel.send(octets, self.start_wait())

    async def parse_more(self, command: PendingCommand, deadline: float) -> None:
        """Parse one line, or one piece of a literal, of a response or an unsolicited response.

        Raises:
            NetworkError: the server sent BYE.
        """
        while (line := self.client.parse_next()) is None:
            self.client.receive(await self.channel.receive(deadline))
        if line:
            command.line_count += 1
            if command.line_count > command.max_lines:
                raise RemoteProtocolError(f"over {command.max_lines} lines to {command.name}")
            if command.line_count % _YIELD_AFTER == 0:
                await anyio.lowlevel.checkpoint()
        if line and self.transcript is not None and not is_fetch(line.removeprefix(b"* ")):
            self.transcript.server(self.redactor.mask(line.decode("utf-8", "replace")))
        if self.client.bye_text is not None and command.name != "LOGOUT":
            raise self._bye_error(self.client.bye_text)

    async def read_tagged_response(self, command: PendingCommand, *, whole: bool = True) -> Reply:
        """Return the tagged response to a command that was sent.

        Args:
            command: the command.
            whole: whether the timeout is for the whole response rather than for each wait for octets.
        """
        deadline = self.new_deadline()
        while not command.completed:
            await self.parse_more(command, deadline if whole else self.new_deadline())
        if self._execution is not None:
            # The task has the tagged response, and ends.
            await self._execution
            self._execution = None
        if command.status not in {"OK", "NO", "BAD"}:
            raise RemoteProtocolError(f"neither OK nor NO nor BAD: {command.status[:20]!a}")
        return self.redactor.mask_reply(reply_of(command.status, command.text.decode("utf-8", "replace")))

    async def execute(self, command: PendingCommand, predicate: str | None = None) -> Reply:
        """Send a command, and return its tagged response.

        Args:
            command: the command.
            predicate: what the error says of the server, such as ``does not open the folder Faxes``.

        Raises:
            RefusedError: the response is not OK.
        """
        await self.send_command(command)
        reply = await self.read_tagged_response(command)
        if not reply.positive:
            raise self.refusal(reply, predicate)
        return reply

    async def await_prompt(self, command: PendingCommand) -> bytes | None:
        """Await a prompt, and return the text after ``+``; None if the tagged response came instead."""
        deadline = self.new_deadline()
        while not command.prompts and not command.completed:
            await self.parse_more(command, deadline)
        return command.prompts.popleft() if command.prompts else None

    async def respond(self, octets: bytes, transcribed_as: str = "•••") -> None:
        """Respond to a prompt.

        Args:
            octets: the response, without CRLF.
            transcribed_as: the text for the transcript.
        """
        if self.transcript is not None:
            self.transcript.client(transcribed_as)
        await self.channel.send(octets + b"\r\n", self.start_wait())

    def refusal(self, reply: Reply, predicate: str | None = None) -> RefusedError:
        """Return the error for a ``NO`` or ``BAD``."""
        cause, retryable = judge(Refusal(protocol="IMAP", stage=self.stage, reply=reply))
        predicate = predicate or _REFUSAL_PHRASES.get(self.stage, "refused")
        return RefusedError(
            f"The mail server {self.channel.endpoint.host} {predicate}: {reply.one_line}",
            stage=self.stage,
            cause=cause,
            reply=reply,
            retryable=retryable,
            detail=f"[{reply.enhanced}] {reply.one_line}" if reply.enhanced else reply.one_line,
        )

    def _bye_error(self, text: str) -> NetworkError:
        shown = self.redactor.mask_reply(reply_of("BYE", text)).one_line
        return NetworkError(
            f"The mail server {self.channel.endpoint.host} ended the session: {shown}",
            stage=self.stage,
            cause="connection_lost",
            retryable=True,
            detail=f"BYE {shown}",
        )

    # Opening.

    async def await_greeting(self, context: ssl.SSLContext) -> None:
        """Await the server's greeting, and start TLS before it or by STARTTLS.

        The greeting is read here, since aioimaplib would accept PREAUTH.
        """
        security = self.channel.endpoint.security
        async with self.exclusive_use("tls" if security is Security.TLS else "greeting"):
            if security is Security.TLS:
                await self._start_tls(context, after_starttls=False)
                self.stage = "greeting"
            deadline = self.new_deadline()
            while (line := self.client.take_line()) is None:
                self.client.receive(await self.channel.receive(deadline))
            self._check_greeting(self.redactor.mask(line.decode("utf-8", "replace")))
            if security is Security.STARTTLS:
                self.stage = "tls"
                await self.execute(self.new_command("STARTTLS"))
                if self.client.unparsed_octets:
                    raise RemoteProtocolError("octets sent ahead of the TLS handshake", cause="tls_injection")
                await self._start_tls(context, after_starttls=True)

    def _check_greeting(self, line: str) -> None:
        if self.transcript is not None:
            self.transcript.server(line)
        tag, _, rest = line.partition(" ")
        result, _, text = rest.partition(" ")
        if tag == "*" and result.upper() == "BYE":
            raise self.refusal(reply_of("BYE", text))
        if tag != "*" or result.upper() != "OK":
            raise RemoteProtocolError(f"not a greeting of IMAP: {line[:60]!a}")

    async def request_capabilities(self) -> None:
        """Send CAPABILITY, and store the server's capabilities."""
        command = self.new_command("CAPABILITY")
        await self.execute(command)
        found = [names for line in command.responses if (names := parse_capabilities(line)) is not None]
        if not found:
            raise RemoteProtocolError("an answer to CAPABILITY that lists nothing")
        self.capabilities = found[-1]
        self.client.capabilities = set(self.capabilities)

    async def _start_tls(self, context: ssl.SSLContext, *, after_starttls: bool) -> None:
        await self.channel.start_tls(context, self.timeout, after_starttls=after_starttls)
        self.transcribe_tls()


def _retrieve_exception(task: asyncio.Task[object]) -> None:
    """Retrieve the exception of a task, so that asyncio does not report it as unhandled."""
    if not task.cancelled():
        task.exception()
