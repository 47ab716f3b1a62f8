"""One connection to a mail server, as sessions use it."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Final

from mailslot.net.socket_stream import SocketStream
from mailslot.net.tls import start_tls

if TYPE_CHECKING:
    import ssl
    from asyncio.trsock import TransportSocket

    from mailslot.net.endpoint import Endpoint

RECEIVE_SIZE: Final = 65_536
"""Octets received at once."""

# Where `tcpi_bytes_acked` stands in Linux's struct tcp_info (linux/tcp.h).
_BYTES_ACKED: Final = struct.Struct("120xQ")


class Channel(SocketStream):
    """A connection to a server that can be upgraded to TLS.

    Attributes:
        endpoint: the server.
    """

    def __init__(self, connected: socket.socket, endpoint: Endpoint) -> None:
        """Take over a connected socket that does not block."""
        super().__init__(connected, memoryview(bytearray(RECEIVE_SIZE)))
        self.endpoint = endpoint
        self._last_acknowledged: int | None = None

    @property
    def remote_host(self) -> str | None:
        """The server's IP address; None once it has broken the connection."""
        try:
            return str(self._socket.getpeername()[0])
        except OSError:
            return None

    async def start_tls(self, context: ssl.SSLContext, timeout: float, *, after_starttls: bool) -> None:
        """Start TLS; see `mailslot.net.tls.start_tls`.

        Raises:
            NetworkError: stage `tls`; the channel is closed.
        """
        self._socket = await start_tls(self._socket, self.endpoint, context, timeout, after_starttls=after_starttls)

    def made_progress(self) -> bool:
        """Tell whether the peer has acknowledged more octets since the last call; see `acknowledged_octets`."""
        before, self._last_acknowledged = self._last_acknowledged, acknowledged_octets(self._socket)
        return before is not None and self._last_acknowledged != before

    def detach(self) -> socket.socket:
        """Return the socket, which the caller then owns; the channel is closed."""
        return socket.socket(fileno=self._socket.detach())


def acknowledged_octets(connected: socket.socket | TransportSocket) -> int | None:
    """Return how many octets the peer has acknowledged; None on systems other than Linux, which do not tell.

    On a slow network one piece may take long although it makes progress; only the kernel sees that.
    """
    if not hasattr(socket, "TCP_INFO"):
        return None
    info = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size)
    return int(_BYTES_ACKED.unpack(info)[0]) if len(info) == _BYTES_ACKED.size else None
