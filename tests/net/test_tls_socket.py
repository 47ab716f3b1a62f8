"""A socket is not left open when TLS cannot begin on it."""

from __future__ import annotations

import gc
import select
import socket
import ssl
import struct

import pytest

from mailslot.net.tls_socket import wrap_socket


@pytest.mark.parametrize("server_side", [False, True])
def test_a_connection_that_was_reset_is_closed(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext, server_side: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as other:
            connected, _ = listener.accept()
            other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connected.setblocking(False)
        select.select([connected], [], [])
        name = connected.getsockname()
        context, host = (server_context, None) if server_side else (client_context, "localhost")
        with pytest.raises(ConnectionResetError) as caught:
            wrap_socket(context, connected, host, server_side=server_side)
    # The exception is still held, and with it all that it refers to.
    assert caught.value.__traceback__ is not None
    assert connected.fileno() == -1
    encrypted = [each for each in gc.get_objects() if isinstance(each, ssl.SSLSocket) and each.fileno() >= 0]
    assert name not in [each.getsockname() for each in encrypted]
