"""TLS over a connected socket, which is closed if TLS cannot even begin."""

from __future__ import annotations

import ssl
from traceback import walk_tb
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket


def wrap_socket(
    context: ssl.SSLContext, connected: socket.socket, server_hostname: str | None = None, *, server_side: bool = False
) -> ssl.SSLSocket:
    """Return a connection for TLS in place of a socket; the handshake is still to be done.

    Args:
        context: the TLS context.
        connected: the socket, non-blocking; it must not be used any more.
        server_hostname: the name that a server's certificate must have.
        server_side: whether this is the server's side.

    Raises:
        OSError: the other side has gone; the socket is closed.
    """
    try:
        return context.wrap_socket(
            connected, server_side=server_side, server_hostname=server_hostname, do_handshake_on_connect=False
        )
    except BaseException as error:
        connected.close()
        # If the connection was reset just before, `wrap_socket` has handed the socket over to an object that nobody
        # else knows, and leaves it open (ssl.SSLSocket._create).
        for frame, _ in walk_tb(error.__traceback__):
            lost = frame.f_locals.get("self")
            if isinstance(lost, ssl.SSLSocket):
                lost.close()
        raise
