"""An empty POP3 mailbox and a token service: ``fleet_servers.py PLAIN TLS TOKENS CERTIFICATE LIFETIME``.

It takes everybody, does as little as possible, and runs in a process of its own, so that the workers are measured and
not the servers. Tokens last LIFETIME seconds.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import ssl
import sys

REPLIES = {
    b"CAPA": b"+OK\r\nUSER\r\nUIDL\r\nPIPELINING\r\nSASL XOAUTH2 PLAIN\r\n.\r\n",
    b"STAT": b"+OK 0 0\r\n",
    b"LIST": b"+OK\r\n.\r\n",
    b"UIDL": b"+OK\r\n.\r\n",
    b"QUIT": b"+OK bye\r\n",
}
NUMBERS = itertools.count(1)


async def poll(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one session."""
    try:
        writer.write(b"+OK empty\r\n")
        while line := await reader.readline():
            words = line.upper().split() or [b""]
            if words[0] == b"AUTH" and len(words) == 2:
                writer.write(b"+ \r\n")
                await reader.readline()
            writer.write(REPLIES.get(words[0], b"+OK\r\n"))
            if words[0] == b"QUIT":
                break
        await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def renew(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lifetime: int) -> None:
    """Answer one request for a token with a new one."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n")[0]))
        tokens = {"access_token": f"{next(NUMBERS)}-{'a' * 1_500}", "refresh_token": f"{next(NUMBERS)}-{'r' * 1_000}"}
        body = json.dumps({**tokens, "token_type": "Bearer", "expires_in": lifetime}).encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def serve(plain: int, tls: int, tokens: int, certificate: str, lifetime: int) -> None:
    """Serve until killed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    await asyncio.start_server(poll, "127.0.0.1", plain, backlog=512)
    await asyncio.start_server(poll, "127.0.0.1", tls, backlog=512, ssl=context)
    await asyncio.start_server(lambda *each: renew(*each, lifetime), "127.0.0.1", tokens, backlog=512)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(*map(int, sys.argv[1:4]), sys.argv[4], int(sys.argv[5])))
