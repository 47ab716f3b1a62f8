"""The SMTP dialogue through aiosmtplib, with our protocol core checking every reply."""

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
from mailslot.net.tls import check_tls_version, tls_error
from mailslot.smtp.base_dialogue import BaseSmtpDialogue
from mailslot.wire.protocol_error import ProtocolError, RemoteProtocolError
from mailslot_plugins.aiosmtplib.connection import AiosmtplibConnection
from mailslot_plugins.aiosmtplib.transport_tap import TransportTap

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
    """Sends commands and reads replies through aiosmtplib."""

    def __init__(
        self,
        channel: Channel,
        *,
        timeout: float,
        transcript: Transcript | None,
        redactor: Redactor,
        on_stage: Callable[[Stage], None] | None,
    ) -> None:
        connection = AiosmtplibConnection(channel, timeout)
        super().__init__(connection, timeout=timeout, transcript=transcript, redactor=redactor, on_stage=on_stage)
        self._client = connection.client
        self._tap: TransportTap | None = None

    @property
    def tap(self) -> TransportTap:
        """The tap, which is installed after the greeting."""
        assert self._tap is not None  # noqa: S101 - nothing is sent before
        return self._tap

    async def await_greeting(self, context: ssl.SSLContext) -> None:
        """Have aiosmtplib start TLS if it comes first, and await the server's greeting."""
        tls_first = self.channel.endpoint.security is Security.TLS
        async with self.exclusive_use("tls" if tls_first else "greeting"):
            greeting = await self._connect(context, tls_first=tls_first)
            if tls_first:
                self.transcribe_tls()
                self.protocol.encrypted = True
                self.stage = "greeting"
            self.protocol.receive(greeting)
            reply = self._read_reply().reply
            if not reply.positive:
                await self.abort()
                raise self.refusal(reply)
            if tls_first:
                self._check_tls()
            self._tap = TransportTap(self.channel.transport, self.protocol)

    async def _connect(self, context: ssl.SSLContext, *, tls_first: bool) -> bytes:
        """Connect, and return the greeting."""
        try:
            response = await self.channel.connect(context)
        except SMTPConnectResponseError as error:
            response = SMTPResponse(error.code, error.message)
        except SMTPResponseException as error:
            # Not a reply; the protocol core tells which protocol it looks like.
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
        # asyncio aborts a handshake that exceeds the timeout.
        timed_out = isinstance(error, ConnectionAbortedError | TimeoutError)
        return tls_error(
            TimeoutError() if timed_out else error, self.channel.endpoint, self.timeout, after_starttls=upgraded
        )

    def _check_tls(self) -> None:
        encrypted: ssl.SSLObject = self._client.get_transport_info("ssl_object")
        check_tls_version(encrypted.version(), self.channel.endpoint)

    async def execute(self, octets: bytes, transcribed_as: str | None = None) -> Reply:
        """Have aiosmtplib send one command and await its reply."""
        self.transcribe(octets if transcribed_as is None else transcribed_as.encode())
        self.current_timeout = self.timeout
        response = await self._execute(octets.removesuffix(b"\r\n"))
        received = self._read_reply()
        if response is None or received.reply.code != response.code:
            raise RemoteProtocolError("an answer that aiosmtplib cannot read, or takes for another")
        if octets.startswith(b"EHLO") and received.reply.positive:
            # aiosmtplib looks here whether STARTTLS is offered.
            self._client.last_ehlo_response = response
        return received.reply

    async def _execute(self, command: bytes) -> SMTPResponse | None:
        """Return what aiosmtplib takes for the reply to a command; None if it cannot parse it."""
        try:
            return await self._client.execute_command(command)
        except SMTPResponseException:
            # Do not use its text, which may quote a secret; the core reports the error, masked.
            return None

    def _read_reply(self) -> ReplyReceived:
        event = self.protocol.next_event()
        if event is None:
            raise RemoteProtocolError("an answer that is not whole")
        return self.handle_reply(event)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Have aiosmtplib send STARTTLS and perform the handshake."""
        tap = self.tap
        self.transcribe(self.protocol.starttls())
        tap.expect_tls()
        try:
            await self._client.starttls(tls_context=context, server_hostname=self.channel.endpoint.ascii_host)
        except (SMTPException, OSError) as error:
            if tap.error is not None:
                raise tap.error from None
            if tap.starttls_reply is None:
                if isinstance(error, OSError):
                    raise
                # aiosmtplib has taken something else for the reply to EHLO, and finds no STARTTLS in it.
                raise RemoteProtocolError("an answer that aiosmtplib takes for another") from None
            reply = self.handle_reply(tap.starttls_reply).reply
            if not reply.positive:
                raise self.refusal(reply) from None
            raise self._tls_failure(error, upgraded=True) from error
        assert tap.starttls_reply is not None  # noqa: S101 - without one there is no handshake
        self.handle_reply(tap.starttls_reply)
        self._check_tls()
        tap.attach(self.channel.transport)

    async def write(self, octets: bytes) -> ReplyReceived | None:
        """Send a piece of a message, and wait until there is room for the next one.

        Returns:
            an early refusal of the message; None if there is none.

        Raises:
            TimeoutError: there was no progress within the timeout.
            OSError: the connection is lost.
        """
        self.current_timeout = self.timeout
        self._smtp_protocol.write(octets)
        await anyio.lowlevel.checkpoint()
        acknowledged, last_progress = self.tap.acknowledged_octets(), anyio.current_time()
        while (received := self.poll_unsolicited()) is None and self.tap.write_paused and self._client.is_connected:
            await self.tap.await_activity(self.timeout)
            # Received octets of an incomplete reply do not count as progress.
            if (newly_acknowledged := self.tap.acknowledged_octets()) != acknowledged:
                acknowledged, last_progress = newly_acknowledged, anyio.current_time()
            elif anyio.current_time() - last_progress > self.timeout:
                raise TimeoutError
        return received

    async def end_of_data(self, octets: bytes, timeout: float) -> ReplyReceived:
        """Send the end of a message, and return the final reply.

        Raises:
            TimeoutError: it did not come in time.
            OSError: the connection is lost; if it was lost before sending, `in_doubt` is not set.
        """
        self._smtp_protocol.write(octets)
        self.in_doubt = True
        self.current_timeout = timeout
        # No await in between: aiosmtplib drops replies that nobody awaits.
        with suppress(SMTPResponseException):
            await self._smtp_protocol.read_response(timeout)
        received = self._read_reply()
        self.in_doubt = False
        return received

    async def quit(self) -> None:
        """Send QUIT and close, without waiting for the reply."""
        with suppress(OSError, ProtocolError):
            octets = self.protocol.quit()
            self.transcribe(octets)
            self._smtp_protocol.write(octets)
        await self.abort()

    @property
    def _smtp_protocol(self) -> SMTPProtocol:
        """The protocol object of aiosmtplib, for writing a message and reading the reply to it.

        Raises:
            ConnectionResetError: the connection is closed.
        """
        if self._client.protocol is None:
            raise ConnectionResetError("the connection is closed")
        return self._client.protocol


def _octets(response: SMTPResponse) -> bytes:
    """Return the octets of a reply, for the protocol core."""
    *lines, last = response.message.split("\n")
    text = "".join(f"{response.code}-{line}\r\n" for line in lines) + f"{response.code} {last}\r\n"
    return text.encode("utf-8", "surrogateescape")
