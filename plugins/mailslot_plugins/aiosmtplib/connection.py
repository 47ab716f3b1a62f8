"""A connection of ours, handed to aiosmtplib, which closes it at once when it is closed."""

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
    """aiosmtplib's client, which closes at once; by itself it takes leave of TLS first, for up to half a minute."""

    def close(self) -> None:
        """Close without a word."""
        if self.transport is not None:
            cast("asyncio.Transport", self.transport).abort()
        super().close()


class AiosmtplibConnection:
    """A connection that aiosmtplib takes over.

    Attributes:
        endpoint: where it leads.
        local_host: our own IP address on it.
        client: whose it is once it is to `connect`.
    """

    def __init__(self, channel: Channel, timeout: float) -> None:
        self.endpoint: Endpoint = channel.endpoint
        self.local_host = channel.local_host
        self._channel = channel
        self._socket: socket.socket | None = None
        # The way to TLS is always said: left open, aiosmtplib does without where the server offers none.
        self.client = Client(
            hostname=self.endpoint.ascii_host,
            use_tls=self.endpoint.security is Security.TLS,
            start_tls=False,
            local_hostname="localhost",
            timeout=timeout,
        )

    async def connect(self, context: ssl.SSLContext) -> SMTPResponse:
        """Hand the connection over, and return the greeting; raises as aiosmtplib does."""
        # Once aiosmtplib has begun, somebody owns the socket, whenever a cancellation comes.
        await anyio.lowlevel.checkpoint()
        self._socket = self._channel.detach()
        return await self.client.connect(tls_context=context, sock=self._socket)

    @property
    def transport(self) -> asyncio.Transport:
        """The connection.

        Raises:
            ConnectionResetError: it is gone.
        """
        if self.client.transport is None:
            raise ConnectionResetError("the connection is closed")
        return cast("asyncio.Transport", self.client.transport)

    def close(self) -> None:
        """Close at once."""
        self._channel.close()
        self.client.close()
        if self._socket is not None:
            # Given up in the middle of a handshake, the socket is asyncio's, which closes it once it has ended.
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
