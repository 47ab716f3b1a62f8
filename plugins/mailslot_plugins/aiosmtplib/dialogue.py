"""A dialogue in which aiosmtplib connects, speaks and encrypts, and the core judges what the server says."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

from aiosmtplib import (
    SMTPConnectError,
    SMTPConnectResponseError,
    SMTPException,
    SMTPResponse,
    SMTPResponseException,
    SMTPTimeoutError,
)
from mailslot.net.endpoint import Security
from mailslot.net.tls import check_version, tls_failure
from mailslot.smtp.base_dialogue import BaseSmtpDialogue
from mailslot.wire.protocol_error import ProtocolError, RemoteProtocolError
from mailslot_plugins.aiosmtplib.connection import AiosmtplibConnection
from mailslot_plugins.aiosmtplib.listener import Listener

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from aiosmtplib.protocol import SMTPProtocol
    from mailslot.errors import Stage
    from mailslot.net.channel import Channel
    from mailslot.smtp.protocol import ReplyReceived
    from mailslot.wire.redact import Redactor
    from mailslot.wire.reply import Reply
    from mailslot.wire.transcript import Transcript


class AiosmtplibDialogue(BaseSmtpDialogue[AiosmtplibConnection]):
    """The line-by-line side of a session."""

    def __init__(
        self,
        channel: Channel,
        *,
        timeout: float,
        transcript: Transcript | None,
        redactor: Redactor,
        on_stage: Callable[[Stage], None] | None,
    ) -> None:
        line = AiosmtplibConnection(channel, timeout)
        super().__init__(line, timeout=timeout, transcript=transcript, redactor=redactor, on_stage=on_stage)
        self._client = line.client
        self._listener: Listener | None = None

    @property
    def listener(self) -> Listener:
        """What reads along; it is there once the server has greeted."""
        assert self._listener is not None  # noqa: S101 - nothing is asked before
        return self._listener

    async def greet(self, context: ssl.SSLContext) -> None:
        """Have aiosmtplib bring TLS up where it comes first, and wait for the server's greeting."""
        tls_first = self.channel.endpoint.security is Security.TLS
        async with self.exclusive_use("tls" if tls_first else "greeting"):
            greeting = await self._connected(context, tls_first=tls_first)
            if tls_first:
                self.note_tls()
                self.protocol.encrypted = True
                self.stage = "greeting"
            self.protocol.receive(greeting)
            reply = self._heard().reply
            if not reply.positive:
                await self.abort()
                raise self.refusal(reply)
            if tls_first:
                self._check_tls()
            self._listener = Listener(self.channel.transport, self.protocol)

    async def _connected(self, context: ssl.SSLContext, *, tls_first: bool) -> bytes:
        """Connect, and return the greeting."""
        try:
            response = await self.channel.connect(context)
        except SMTPConnectResponseError as error:
            response = SMTPResponse(error.code, error.message)
        except SMTPResponseException as error:
            # What came was no reply; the core says whose it looks like.
            self.stage = "greeting"
            return error.message.removeprefix("Malformed SMTP response line: ").encode() + b"\r\n"
        except (SMTPTimeoutError, SMTPConnectError) as error:
            reason = error.__cause__
            if tls_first and not isinstance(reason, SMTPException):
                raise self._tls_failure(reason or error, upgraded=False) from error
            self.stage = "greeting"
            raise
        return _octets(response)

    def _tls_failure(self, error: BaseException, *, upgraded: bool) -> Exception:
        # asyncio aborts a handshake that takes too long.
        slow = isinstance(error, ConnectionAbortedError | TimeoutError)
        return tls_failure(TimeoutError() if slow else error, self.channel.endpoint, self.timeout, upgraded=upgraded)

    def _check_tls(self) -> None:
        encrypted: ssl.SSLObject = self._client.get_transport_info("ssl_object")
        check_version(encrypted.version(), self.channel.endpoint)

    async def ask(self, octets: bytes, noted: str | None = None) -> Reply:
        """Have aiosmtplib send one command and wait for its answer."""
        self.note(octets if noted is None else noted.encode())
        self.patience = self.timeout
        response = await self._executed(octets.removesuffix(b"\r\n"))
        answer = self._heard()
        if response is None or answer.reply.code != response.code:
            raise RemoteProtocolError("an answer that aiosmtplib cannot read, or takes for another")
        if octets.startswith(b"EHLO") and answer.reply.positive:
            # So that it knows that STARTTLS is offered.
            self._client.last_ehlo_response = response
        return answer.reply

    async def _executed(self, command: bytes) -> SMTPResponse | None:
        """Return what aiosmtplib takes for the answer to a command; None where it can make nothing of it."""
        try:
            return await self._client.execute_command(command)
        except SMTPResponseException:
            # Its text is the server's, which may quote a secret; the core masks what it says itself.
            return None

    def _heard(self) -> ReplyReceived:
        event = self.protocol.next_event()
        if event is None:
            raise RemoteProtocolError("an answer that is not whole")
        return self.handle_reply(event)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Have aiosmtplib say STARTTLS and make the handshake."""
        listener = self.listener
        self.note(self.protocol.starttls())
        listener.expect_tls()
        try:
            await self._client.starttls(tls_context=context, server_hostname=self.channel.endpoint.ascii_host)
        except (SMTPException, OSError) as error:
            if listener.fault is not None:
                raise listener.fault from None
            if listener.answer is None:
                if isinstance(error, OSError):
                    raise
                # It has taken something else for the answer to EHLO, and finds no STARTTLS there.
                raise RemoteProtocolError("an answer that aiosmtplib takes for another") from None
            reply = self.handle_reply(listener.answer).reply
            if not reply.positive:
                raise self.refusal(reply) from None
            raise self._tls_failure(error, upgraded=True) from error
        assert listener.answer is not None  # noqa: S101 - without one there is no handshake
        self.handle_reply(listener.answer)
        self._check_tls()
        listener.follow(self.channel.transport)

    async def write(self, octets: bytes) -> ReplyReceived | None:
        """Send a piece of a message, and wait until there is room for the next.

        Returns:
            what the server says against the message already; None for nothing.

        Raises:
            TimeoutError: nothing went on for as long as an answer may take.
            OSError: the connection is lost.
        """
        self.patience = self.timeout
        self._spoken.write(octets)
        await anyio.lowlevel.checkpoint()
        arrived, since = self.listener.arrived(), anyio.current_time()
        while (answer := self.poll_unsolicited()) is None and self.listener.full and self._client.is_connected:
            await self.listener.stirred(self.timeout)
            # Half a reply, one octet after the other, is no progress.
            if (now := self.listener.arrived()) != arrived:
                arrived, since = now, anyio.current_time()
            elif anyio.current_time() - since > self.timeout:
                raise TimeoutError
        return answer

    async def end(self, octets: bytes, timeout: float) -> ReplyReceived:
        """Send what ends a message, and return the answer to it.

        Raises:
            TimeoutError: it did not come in time.
            OSError: the connection is lost; where it was before, the message was not `handed_over`.
        """
        self._spoken.write(octets)
        self.handed_over = True
        self.patience = timeout
        # Between the two nothing may wait: aiosmtplib drops an answer that nobody waits for.
        with suppress(SMTPResponseException):
            await self._spoken.read_response(timeout)
        answer = self._heard()
        self.handed_over = False
        return answer

    async def leave(self) -> None:
        """Say QUIT and close; what the server answers changes nothing, so it is not waited for."""
        with suppress(OSError, ProtocolError):
            octets = self.protocol.quit()
            self.note(octets)
            self._spoken.write(octets)
        await self.abort()

    @property
    def _spoken(self) -> SMTPProtocol:
        """What aiosmtplib writes and reads with, for a message.

        Raises:
            ConnectionResetError: the connection is gone.
        """
        if self._client.protocol is None:
            raise ConnectionResetError("the connection is closed")
        return self._client.protocol


def _octets(response: SMTPResponse) -> bytes:
    """Return a reply as it came, so that the core can read it."""
    *lines, last = response.message.split("\n")
    text = "".join(f"{response.code}-{line}\r\n" for line in lines) + f"{response.code} {last}\r\n"
    return text.encode("utf-8", "surrogateescape")
