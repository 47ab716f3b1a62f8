"""TLS over a connected socket, which is closed if TLS cannot even begin."""

from __future__ import annotations

import errno
import os
import ssl
from traceback import walk_tb
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from types import TracebackType


def wrap_socket(
    context: ssl.SSLContext, connected: socket.socket, server_hostname: str | None = None, *, server_side: bool = False
) -> ssl.SSLSocket:
    """Return a connection for TLS in place of a socket; the handshake is still to be done.

    Args:
        context: the TLS context.
        connected: the socket, non-blocking; it must not be used any more, and is closed if an error is raised.
        server_hostname: the name that a server's certificate must have.
        server_side: whether this is the server's side.

    Raises:
        OSError: the other side has gone.
        ValueError: `server_hostname` cannot be the name of a server.
    """
    try:
        return context.wrap_socket(
            connected, server_side=server_side, server_hostname=server_hostname, do_handshake_on_connect=False
        )
    except BaseException as error:
        connected.close()
        _close_lost(error.__traceback__)
        if isinstance(error, ssl.SSLError) and error.errno == errno.ENOTCONN:
            # Octets had come before the reset. That is no failure of TLS.
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)) from error
        raise


def _close_lost(traceback: TracebackType | None) -> None:
    """Close a socket that `ssl.SSLContext.wrap_socket` has taken over and lost.

    If the connection was reset just before, it has handed the socket over to an object that nobody else knows, and
    leaves it open (ssl.SSLSocket._create).
    """
    # The first frame is the caller's, which refers to the exception: with a copy of its variables, it would be kept.
    for frame, _ in walk_tb(traceback and traceback.tb_next):
        lost = frame.f_locals.get("self")
        if isinstance(lost, ssl.SSLSocket):
            lost.close()
