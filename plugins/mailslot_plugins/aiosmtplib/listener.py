"""Between a connection and aiosmtplib: hears what the server says, and whether there is room to write."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio

from mailslot.net.channel import acknowledged
from mailslot.smtp.limits import MAX_REPLY
from mailslot.wire.protocol_error import RemoteProtocolError

if TYPE_CHECKING:
    from mailslot.smtp.protocol import Event, SmtpProtocol


class Listener(asyncio.Protocol):
    """Takes aiosmtplib's place at a transport, tells the core what comes, and hands it on.

    aiosmtplib drops what it has not asked for, keeps what comes behind an answer for the next command's, and throws
    away without a word what came before TLS. The core takes none of that for an answer.

    Args:
        transport: the connection.
        core: judges what the server says.

    Attributes:
        full: whether the transport wants no more octets for now.
        answer: what the server said to STARTTLS.
        fault: what it did wrong then.
    """

    def __init__(self, transport: asyncio.Transport, core: SmtpProtocol) -> None:
        self.full = False
        self.answer: Event | None = None
        self.fault: RemoteProtocolError | None = None
        self._core = core
        self._upgrading = False
        self._stirred = asyncio.Event()
        self._transport = transport
        self._behind = self._step_between()

    def follow(self, transport: asyncio.Transport) -> None:
        """Go along to the transport that TLS has put before the first one."""
        self._transport, self._upgrading = transport, False
        self._behind = self._step_between()

    def expect_tls(self) -> None:
        """Take whatever follows the next answer as an injection (RFC 3207 section 6)."""
        self._upgrading = True

    def _step_between(self) -> asyncio.Protocol:
        # What is written is to be with the system, rather than wait here: only there can be told whether it goes on.
        # With 0, asyncio's TLS takes an empty buffer for a full one.
        self._transport.set_write_buffer_limits(1)
        behind = self._transport.get_protocol()
        assert isinstance(behind, asyncio.Protocol)  # noqa: S101 - aiosmtplib's
        self._transport.set_protocol(self)
        return behind

    async def stirred(self, timeout: float) -> None:
        """Wait until something has happened: octets came, there is room, or the connection is lost.

        Raises:
            TimeoutError: nothing has, and the server's system has acknowledged nothing either.
        """
        arrived = self.arrived()
        while True:
            self._stirred.clear()
            with anyio.move_on_after(timeout):
                await self._stirred.wait()
                return
            before, arrived = arrived, self.arrived()
            if before == arrived:
                raise TimeoutError

    def arrived(self) -> int | None:
        """Return how many octets the server's system has acknowledged; None where ours does not tell."""
        connected = self._transport.get_extra_info("socket")
        return None if connected is None or connected.fileno() < 0 else acknowledged(connected)

    # What the transport calls.

    def data_received(self, data: bytes) -> None:
        """Hear octets; more of them than anything asked for can bring end the connection, and are judged later."""
        self._core.receive(data)
        if self._core.unread > MAX_REPLY:
            self._transport.abort()
        if self._upgrading:
            self._watch_over_tls()
        self._behind.data_received(data)
        self._stirred.set()

    def _watch_over_tls(self) -> None:
        try:
            if self.answer is not None:
                raise RemoteProtocolError("octets sent ahead of the TLS handshake", cause="tls_injection")
            self.answer = self._core.next_event()
            if self.answer is not None and self.answer.reply.positive:
                self._core.tls_started()
        except RemoteProtocolError as error:
            # aiosmtplib looks at its transport before it begins the handshake.
            self.fault = error
            self._transport.abort()

    def eof_received(self) -> bool | None:
        """Hear that the server says no more."""
        return self._behind.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hear that the connection is gone."""
        self._behind.connection_lost(exc)
        self._stirred.set()

    def pause_writing(self) -> None:
        """Hear that the transport wants no more."""
        self.full = True
        self._behind.pause_writing()

    def resume_writing(self) -> None:
        """Hear that there is room again."""
        self.full = False
        self._behind.resume_writing()
        self._stirred.set()
