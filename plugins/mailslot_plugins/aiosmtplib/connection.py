"""A connection of ours that is passed to aiosmtplib."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import anyio.lowlevel

from aiosmtplib import SMTP
from mailslot.net.endpoint import Security

if TYPE_CHECKING:
    import asyncio
    import ssl

    from aiosmtplib import SMTPResponse
    from mailslot.net.channel import Channel
    from mailslot.net.endpoint import Endpoint


class Client(SMTP):
    """aiosmtplib's client, but closing at once; the original waits up to half a minute for TLS to shut down."""

    def close(self) -> None:
        """Close at once, without QUIT."""
        if self.transport is not None:
            cast("asyncio.Transport", self.transport).abort()
        super().close()


class AiosmtplibConnection:
    """A connection that aiosmtplib takes over.

    Attributes:
        endpoint: the server.
        local_host: our own IP address on this connection.
        client: aiosmtplib's client, which owns the connection after `connect`.
    """

    def __init__(self, channel: Channel, timeout: float) -> None:
        self.endpoint: Endpoint = channel.endpoint
        self.local_host = channel.local_host
        self._channel = channel
        self._socket: socket.socket | None = None
        # TLS is always explicit: by default aiosmtplib continues unencrypted if the server does not offer STARTTLS.
        self.client = Client(
            hostname=self.endpoint.ascii_host,
            use_tls=self.endpoint.security is Security.TLS,
            start_tls=False,
            local_hostname="localhost",
            timeout=timeout,
        )

    async def connect(self, context: ssl.SSLContext) -> SMTPResponse:
        """Pass the connection to aiosmtplib, and return the greeting; raises as aiosmtplib does."""
        # Let a pending cancellation come now; afterwards aiosmtplib owns the socket.
        await anyio.lowlevel.checkpoint()
        self._socket = self._channel.detach()
        return await self.client.connect(tls_context=context, sock=self._socket)

    @property
    def transport(self) -> asyncio.Transport:
        """The transport.

        Raises:
            ConnectionResetError: the connection is closed.
        """
        if self.client.transport is None:
            raise ConnectionResetError("the connection is closed")
        return cast("asyncio.Transport", self.client.transport)

    def close(self) -> None:
        """Close at once."""
        self._channel.close()
        self.client.close()
        if self._socket is not None:
            # During a handshake asyncio owns the socket, and closes it only after the handshake has ended.
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
