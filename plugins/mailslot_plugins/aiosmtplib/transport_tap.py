"""A tap between asyncio's transport and aiosmtplib, which also feeds our protocol core."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio

from mailslot.net.channel import acknowledged_octets
from mailslot.smtp.limits import MAX_REPLY
from mailslot.wire.protocol_error import RemoteProtocolError

if TYPE_CHECKING:
    from mailslot.smtp.protocol import Event, SmtpProtocol


class TransportTap(asyncio.Protocol):
    """Replaces aiosmtplib's protocol at a transport: feeds the protocol core, then passes everything on.

    aiosmtplib drops unsolicited replies, takes surplus octets for the reply to the next command, and silently discards
    octets that came before TLS. The core detects all of that.

    Attributes:
        write_paused: whether the transport's write buffer is full.
        starttls_reply: the reply to STARTTLS.
        error: the server's protocol error after STARTTLS.
    """

    def __init__(self, transport: asyncio.Transport, core: SmtpProtocol) -> None:
        self.write_paused = False
        self.starttls_reply: Event | None = None
        self.error: RemoteProtocolError | None = None
        self._core = core
        self._expecting_tls = False
        self._activity = asyncio.Event()
        self._transport = transport
        self._inner = self._install()

    def attach(self, transport: asyncio.Transport) -> None:
        """Move to the TLS transport after the handshake."""
        self._transport, self._expecting_tls = transport, False
        self._inner = self._install()

    def expect_tls(self) -> None:
        """Take any octets after the next reply as an injection (RFC 3207 section 6)."""
        self._expecting_tls = True

    def _install(self) -> asyncio.Protocol:
        # Keep asyncio's write buffer small, since progress can only be measured in the kernel. With 0, asyncio's TLS
        # would take an empty buffer for a full one.
        self._transport.set_write_buffer_limits(1)
        inner = self._transport.get_protocol()
        assert isinstance(inner, asyncio.Protocol)  # noqa: S101 - aiosmtplib's
        self._transport.set_protocol(self)
        return inner

    async def await_activity(self, timeout: float) -> None:
        """Wait until octets come, the write buffer has room, or the connection is lost.

        Raises:
            TimeoutError: none of that happened, and the peer has acknowledged no octets either.
        """
        acknowledged = self.acknowledged_octets()
        while True:
            self._activity.clear()
            with anyio.move_on_after(timeout):
                await self._activity.wait()
                return
            previous, acknowledged = acknowledged, self.acknowledged_octets()
            if previous == acknowledged:
                raise TimeoutError

    def acknowledged_octets(self) -> int | None:
        """Return how many octets the peer has acknowledged; None if the system does not tell."""
        connected = self._transport.get_extra_info("socket")
        return None if connected is None or connected.fileno() < 0 else acknowledged_octets(connected)

    # Called by the transport.

    def data_received(self, data: bytes) -> None:
        """Feed octets to the core and pass them on; abort if there are more than any reply can have."""
        self._core.receive(data)
        if self._core.received.unread > MAX_REPLY:
            self._transport.abort()
        if self._expecting_tls:
            self._check_starttls_reply()
        self._inner.data_received(data)
        self._activity.set()

    def _check_starttls_reply(self) -> None:
        try:
            if self.starttls_reply is not None:
                raise RemoteProtocolError("octets sent ahead of the TLS handshake", cause="tls_injection")
            self.starttls_reply = self._core.next_event()
            if self.starttls_reply is not None and self.starttls_reply.reply.positive:
                self._core.tls_started()
        except RemoteProtocolError as error:
            # aiosmtplib checks its transport before it begins the handshake.
            self.error = error
            self._transport.abort()

    def eof_received(self) -> bool | None:
        """Pass on the end of the stream."""
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on the loss of the connection."""
        self._inner.connection_lost(exc)
        self._activity.set()

    def pause_writing(self) -> None:
        """Note that the write buffer is full."""
        self.write_paused = True
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Note that the write buffer has room again."""
        self.write_paused = False
        self._inner.resume_writing()
        self._activity.set()
