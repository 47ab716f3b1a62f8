"""An SMTP server that discards everything: ``sink.py PLAIN STARTTLS TLS CERTIFICATE``, with three ports.

It does as little as possible, in a separate process and with a thread for each connection, so that the client is
measured and not the server.
"""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from contextlib import suppress

END = b"\r\n.\r\n"
EHLO = b"250-sink\r\n250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n250-CHUNKING\r\n%s250 SMTPUTF8\r\n"


def serve_dialogue(connection: socket.socket, context: ssl.SSLContext, security: str) -> None:
    if security == "tls":
        connection = context.wrap_socket(connection, server_side=True)
    out, buffer, content, chunk = b"220 sink\r\n", b"", False, 0
    while True:
        if out:
            connection.sendall(out)
        data, out = connection.recv(262_144), b""
        if not data:
            return
        buffer += data
        while buffer:
            if content:
                end = buffer.find(END)
                if end < 0:
                    buffer = buffer[-4:]
                    break
                buffer, content, out = buffer[end + len(END) :], False, out + b"250 taken\r\n"
            elif chunk:
                taken = min(chunk, len(buffer))
                buffer, chunk = buffer[taken:], chunk - taken
                out += b"" if chunk else b"250 taken\r\n"
            elif b"\r\n" not in buffer:
                break
            else:
                line, _, buffer = buffer.partition(b"\r\n")
                verb = line[:4].upper()
                if verb == b"DATA":
                    # The end may be the very first line.
                    buffer, content, out = b"\r\n" + buffer, True, out + b"354 go on\r\n"
                elif verb == b"BDAT":
                    chunk = int(line.split()[1])
                elif verb == b"EHLO":
                    out += EHLO % (b"250-STARTTLS\r\n" if security == "starttls" else b"")
                elif verb == b"STAR":
                    connection.sendall(b"220 go on\r\n")
                    connection, security = context.wrap_socket(connection, server_side=True), "tls"
                else:
                    out += b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n"


def serve(connection: socket.socket, context: ssl.SSLContext, security: str) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, suppress(OSError):
        serve_dialogue(connection, context, security)


def listen(port: int, context: ssl.SSLContext, security: str) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=64) as server:
        while True:
            threading.Thread(target=serve, args=(server.accept()[0], context, security), daemon=True).start()


if __name__ == "__main__":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[4])
    for port, security in zip(sys.argv[1:4], ("none", "starttls", "tls"), strict=True):
        threading.Thread(target=listen, args=(int(port), context, security)).start()
