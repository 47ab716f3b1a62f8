"""A socket is not left open when TLS cannot begin on it."""

from __future__ import annotations

import gc
import select
import socket
import ssl
import struct
import weakref
from contextlib import suppress

import pytest

from mailslot.net.tls_socket import wrap_socket


@pytest.mark.parametrize("octets", [b"", b"\x16\x03\x01"])
@pytest.mark.parametrize("server_side", [False, True])
def test_a_connection_that_was_reset_is_closed(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext, server_side: bool, octets: bytes
) -> None:
    connected = reset_connection(octets)
    number = connected.fileno()
    context, host = (server_context, None) if server_side else (client_context, "localhost")
    with pytest.raises(ConnectionResetError) as caught:
        wrap_socket(context, connected, host, server_side=server_side)
    # The exception is still held, and with it all that it refers to.
    assert caught.value.__traceback__ is not None
    assert connected.fileno() == -1
    # A proxy would answer for what it stands for.
    encrypted = [each for each in gc.get_objects() if issubclass(type(each), ssl.SSLSocket)]
    assert number not in [each.fileno() for each in encrypted]


def test_nothing_is_left_to_the_collector(server_context: ssl.SSLContext) -> None:
    """A server that is scanned would otherwise keep many connections in memory."""

    class Session:
        pass

    def begin() -> weakref.ref[Session]:
        session = Session()
        # What pytest notes of an exception would be for the collector as well.
        with suppress(ConnectionResetError):
            wrap_socket(server_context, reset_connection(b""), server_side=True)
        return weakref.ref(session)

    gc.collect()
    gc.disable()
    try:
        assert begin()() is None
    finally:
        gc.enable()


def test_a_name_that_is_none(client_context: ssl.SSLContext) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as one:
        with pytest.raises(ValueError, match="server_hostname"):
            wrap_socket(client_context, one, "")
        assert one.fileno() == -1


def reset_connection(octets: bytes) -> socket.socket:
    """A connection whose other side has sent octets, and reset it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as other:
            connected, _ = listener.accept()
            other.sendall(octets)
            other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connected.setblocking(False)
        poll = select.poll()
        poll.register(connected, 0)
        assert poll.poll(60_000), "the reset has not come"
        return connected
