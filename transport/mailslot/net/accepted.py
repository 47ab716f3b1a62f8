"""A connection that a listener has accepted: the server's side of TLS, and a close that loses no reply."""

from __future__ import annotations

import hashlib
import socket
import ssl
import struct
from contextlib import suppress
from typing import Final

import anyio

from mailslot.net.peer import Peer, TlsInfo
from mailslot.net.socket_stream import SocketStream
from mailslot.net.tls_socket import wrap_socket

_RESET: Final = struct.pack("ii", 1, 0)

_LINGER_TIME: Final = 5.0
_LINGER_OCTETS: Final = 1_048_576
"""Seconds and octets for which a connection is still read while it is being closed."""


class TlsHandshakeError(Exception):
    """The handshake failed; `Peer.tls_error` says why."""


class AcceptedConnection(SocketStream):
    """A client's connection.

    Attributes:
        peer: its data below the mail protocol.
    """

    def __init__(self, connected: socket.socket, peer: Peer, buffer: memoryview) -> None:
        """Take over an accepted non-blocking socket; `buffer` as for `SocketStream`."""
        super().__init__(connected, buffer)
        self.peer = peer

    def has_pending_octets(self) -> bool:
        """Tell whether octets have arrived that were not received yet; without TLS."""
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    async def start_tls(self, context: ssl.SSLContext, deadline: float) -> None:
        """Perform the handshake, and record its result in `peer`.

        Args:
            context: a server's context.
            deadline: when to give up waiting, by `anyio.current_time`.

        Raises:
            TlsHandshakeError: it failed, or the deadline passed.
        """
        try:
            self._drop_waiter()
            encrypted = wrap_socket(context, self._socket, server_side=True)
            self._socket = encrypted
            await self._handshake(encrypted, deadline)
        except (OSError, ValueError) as error:
            # Whoever waits for a socket that was closed meanwhile gets ValueError.
            self.peer.tls_error = tls_error_reason(error)
            raise TlsHandshakeError(self.peer.tls_error) from error
        self.peer.tls = _tls_info(encrypted)

    async def _handshake(self, encrypted: ssl.SSLSocket, deadline: float) -> None:
        while True:
            try:
                encrypted.do_handshake()
            except ssl.SSLWantReadError:
                await self._wait_for_octets(deadline)
            except ssl.SSLWantWriteError:
                await self._wait(anyio.wait_writable(encrypted), deadline)
            else:
                return

    def reset(self) -> None:
        """Close so that the client's next call fails."""
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.close()

    async def close_gracefully(self) -> None:
        """Close so that the client receives everything that was sent to it.

        With unread octets from the client, the system would reset the connection, and the client would lose data in
        transit. So our side is closed first, and the connection is read a little longer.
        """
        with suppress(OSError, ValueError, EOFError):
            if isinstance(self._socket, ssl.SSLSocket):
                # No reply to it is needed, and it cannot be sent after a failed handshake.
                with suppress(OSError, ValueError):
                    self._socket.unwrap()
            self._socket.shutdown(socket.SHUT_WR)
            deadline, left = anyio.current_time() + _LINGER_TIME, _LINGER_OCTETS
            while left > 0:
                left -= len(await self.receive(deadline))
        self.close()


def tls_error_reason(error: Exception) -> str:
    """Return why TLS failed: OpenSSL's reason, or else the exception's text."""
    if isinstance(error, TimeoutError):
        return "TIMEOUT"
    if isinstance(error, ssl.SSLError) and error.reason and not isinstance(error, ssl.SSLEOFError):
        return error.reason
    return "CONNECTION_CLOSED"


def _tls_info(encrypted: ssl.SSLSocket) -> TlsInfo:
    name, _, bits = encrypted.cipher() or ("", "", 0)
    certificate = encrypted.getpeercert(binary_form=True)
    fingerprint = None if certificate is None else hashlib.sha256(certificate).hexdigest()
    return TlsInfo(encrypted.version() or "", name, bits or 0, fingerprint)
